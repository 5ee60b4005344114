"""What a conversion kept, and what it did not."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ConversionReport:
    """Counts of one conversion; ``NAME.conversion.json`` holds the same.

    Attributes:
        name: the dataset's name.
        format: the source's format.
        users: distinct users in ``.inter``.
        items: distinct items in ``.inter``.
        interactions: rows of ``.inter``.
        repeats: rows of ``.inter`` whose user has had the item before.
        exact_repeats: those of them that equal an earlier row in every column.
        described_items: rows of ``.item``.
        items_without_text: items in ``.inter`` that have no text in ``.item``, no row or an empty one.
        items_without_row: those of them that have no row.
        items_without_interaction: rows of ``.item`` whose item is not in ``.inter``.
        duplicate_items: descriptions left out because their item has an earlier one.
        empty_fields: field of ``.item`` to the number of rows where it is empty.
        cleaned_fields: field of ``.item`` to the number of rows whose text cleaning changed (HTML, control characters,
            surplus space; see :func:`recbole_ext.text.clean`).
        dropped: reason to count of what else was left out.
        read_as: field of the source to the field of ``.item`` that it was read as, where the names differ.
        not_read: field of the source that was not read, to how many rows or items have it.
        not_in_seconds: the times are so large that they must be in a smaller unit, such as milliseconds.
    """

    name: str
    format: str
    users: int
    items: int
    interactions: int
    described_items: int
    repeats: int = 0
    exact_repeats: int = 0
    items_without_text: int = 0
    items_without_row: int = 0
    items_without_interaction: int = 0
    duplicate_items: int = 0
    empty_fields: dict[str, int] = field(default_factory=dict)
    cleaned_fields: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    read_as: dict[str, str] = field(default_factory=dict)
    not_read: dict[str, int] = field(default_factory=dict)
    not_in_seconds: bool = False

    def lines(self) -> list[str]:
        """The report in words, one fact a line; what didn't happen isn't mentioned, but a loss always is."""
        lines = [
            f"{self.name}: {self.users:,} users, {self.items:,} items, {self.interactions:,} interactions; "
            f"{self.described_items:,} items described"
        ]
        if self.repeats:
            lines.append(
                f"interactions that repeat an item of their user: {self.repeats:,} ({self.exact_repeats:,} of them the "
                "same row again); with a single one, rank_seen_items: auto ranks what users have had, for all of them. "
                f"If repeats mean nothing here, say rm_dup_inter: first in dataset_configs/{self.name}.yaml, which "
                "keeps the first of each, and correct `expected` there if it has one"
            )
        if self.not_in_seconds:
            lines.append(
                "times: as seconds, half of them are after the year 5000. If they are in milliseconds, divide them in "
                "the source by 1000 and convert again, since dates and cuts in time are read as seconds"
            )
        if self.items_without_text:
            lines.append(
                f"items without text: {self.items_without_text:,} "
                f"({self.items_without_row:,} without a description, "
                f"{self.items_without_text - self.items_without_row:,} with an empty one); "
                "`missing`, or item_embedding_missing, says what stands for it"
            )
        if self.items_without_interaction:
            lines.append(f"items described but never interacted with, kept: {self.items_without_interaction:,}")
        empty = [f"{name} {count:,}" for name, count in self.empty_fields.items() if count]
        if empty:
            lines.append(f"empty fields: {', '.join(empty)}")
        cleaned = [f"{name} {count:,}" for name, count in self.cleaned_fields.items() if count]
        if cleaned:
            lines.append(f"cleaned of HTML, control characters and surplus space: {', '.join(cleaned)}")
        if self.read_as:
            lines.append(f"read: {', '.join(f'{theirs} as {ours}' for theirs, ours in self.read_as.items())}")
        if self.not_read:
            fields = [f"{name} ({count:,})" for name, count in self.not_read.items()]
            lines.append(f"not read: the fields {', '.join(fields)}")
        if self.duplicate_items:
            lines.append(f"dropped: {self.duplicate_items:,} further descriptions of an item (the first is kept)")
        lines += [f"dropped: {count:,} {reason}" for reason, count in self.dropped.items() if count]
        if not self.duplicate_items and not any(self.dropped.values()):
            lines.append("dropped: nothing")
        return lines
