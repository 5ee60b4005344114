"""One split in each layout of files that are split already: plain, with histories in the rows (UniSRec's), mixed."""

from __future__ import annotations

Lines = list[str]
HEADER = "user_id:token\titem_id:token\ttimestamp:float"
LISTED = "user_id:token\titem_id_list:token_seq\titem_id:token"
NAMES = ["train", "valid", "test"]

# 128 seconds are one step of single precision, so that only the exact times order u1's and u2's rows.
T = 1_700_000_000
FIRST = [("u1", "b", 2), ("u1", "a", 1), ("u2", "c", 0), ("u2", "d", 3), ("u1", "c", 3), ("u4", "f", 1), ("u4", "g", 2)]
PLAIN = {
    "train.inter": [HEADER, *(f"{user}\t{item}\t{T + time}" for user, item, time in FIRST)],
    "valid.inter": [HEADER, f"u1\td\t{T + 9}", f"u2\ta\t{T + 8}"],
    "test.inter": [HEADER, f"u2\tb\t{T + 12}", f"u1\te\t{T + 12}", f"u1\ta\t{T + 11}", f"u3\ta\t{T}"],
}
UNISREC = {
    "train.inter": [LISTED, "u1\ta\tb", "u1\ta b\tc", "u2\tc\td", "u4\tf\tg"],
    "valid.inter": [LISTED, "u1\ta b c\td", "u2\tc d\ta"],
    "test.inter": [LISTED, "u1\ta b c d\ta", "u1\ta b c d a\te", "u2\tc d a\tb"],
}
MIXED = {**UNISREC, "train.inter": PLAIN["train.inter"]}
WANTED = [
    [("u1", "b", "a"), ("u1", "c", "a b"), ("u2", "d", "c"), ("u4", "g", "f")],
    [("u1", "d", "a b c"), ("u2", "a", "c d")],
    [("u1", "a", "a b c d"), ("u1", "e", "a b c d a"), ("u2", "b", "c d a")],
]
LAYOUTS = {"plain": PLAIN, "UniSRec's": UNISREC, "plain training": MIXED}
