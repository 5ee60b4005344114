"""A split written down by tokens: the very rows that other systems must train on and are tested with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.errors import ConfigurationError
from recbole_ext.lists import FORMATS
from recbole_ext.lists.split import Split, split_of
from recbole_ext.wording import some
from recbole_ext.writing import replacing_file, replacing_folder

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = 2**19
SPLITS = ("train", "valid", "test")
PARTS = (*SPLITS, "history", "items")
DESCRIPTION = "split.json"
"""The file that says what the split in its folder is."""

HISTORY = "rows before an item of `valid` or `test` that train, validate and test nothing: to be read, not trained on"
WITHOUT_SEEN = ", without those that the user had before the test item; if that is one of them, every item"


@dataclass(frozen=True)
class ExportedSplit:
    """What :func:`export_split` wrote: the folder, and how many rows each part has."""

    folder: Path
    rows: dict[str, int]

    def to_pandas(self) -> pd.DataFrame:
        """Columns ``part`` and ``rows``."""
        import pandas

        return pandas.DataFrame({"part": list(self.rows), "rows": list(self.rows.values())})

    def lines(self) -> list[str]:
        """For the terminal."""
        return [f"{self.folder}: {', '.join(f'{count:,} {part}' for part, count in self.rows.items())}"]


def export_split(
    benchmark: Path | str | Mapping[str, Any],
    out: Path | str,
    *,
    format: str = "csv",
    dataset: str | None = None,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ExportedSplit:
    """Write the rows that other systems must use into the folder ``out``, by tokens.

    Args:
        benchmark: as for :func:`recbole_ext.run`; or the name of a dataset, which is split by the default protocol.
        format: ``csv`` or ``parquet``.
        dataset: of the benchmark, where it has several.
        protocol: the same.
        overrides: keys above the benchmark's, such as ``data_path``.

    ``train``, ``valid``, ``test``: columns ``user``, ``item``, ``position`` (of the row in the user's history, from 0)
    and, where they are exact, ``timestamp``. ``history``, only where there are such rows: what a model may read before
    a test item but not train on. ``items``: every item that is ranked. ``split.json`` says what it is and what may be
    listed.

    Rows of pre-split files with histories in them, and samples of a dataset class of the user's own, need not be steps
    of one history, so each has its own in a column ``history``: the tokens with RecBole's ``seq_separator`` between
    them. ``position`` is how many they are.

    Raises:
        ConfigurationError: an unknown format, pyarrow is missing for parquet, or ``out`` holds something else than a
            split of before, which is replaced; else as :func:`split_of`.
        SourceDataError: the dataset is not there.
        WriteError: ``out`` can't be written.
    """
    import pandas

    from recbole_ext.lists.table import check_writable, writing_table
    from recbole_ext.training.loaders import with_whole_histories

    if format not in FORMATS:
        raise ConfigurationError(f"--format: {format!r} is unknown; choose csv or parquet.")
    out = Path(out)
    _refuse_to_replace_others(out)
    check_writable(out / f"train.{format}")
    if isinstance(benchmark, str | Path) and Path(benchmark).suffix not in (".yaml", ".yml"):
        benchmark = _default_benchmark(str(benchmark))
    split = split_of(benchmark, dataset, protocol, overrides)
    whole, parts = with_whole_histories(split.config, split.loaders)
    written: dict[str, int] = {}
    with replacing_folder(out) as folder:
        for part, columns in _columns(whole, dict(zip(SPLITS, parts, strict=True))):
            count = len(columns["user"])
            with writing_table(folder / f"{part}.{format}") as append:
                for begin in range(0, max(count, 1), ROWS_AT_ONCE):
                    piece = {name: values[begin : begin + ROWS_AT_ONCE] for name, values in columns.items()}
                    append(pandas.DataFrame(_by_token(whole, piece)))
            written[part] = count
        with writing_table(folder / f"items.{format}") as append:
            append(pandas.DataFrame({"item": split.items[1:]}))
        written["items"] = len(split.items) - 1
        with replacing_file(folder / DESCRIPTION) as temporary:
            temporary.write_text(json.dumps(_said(split, written), indent=1) + "\n", encoding="utf-8")
    return ExportedSplit(out, written)


def _by_token(dataset: Any, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """The columns with tokens in place of internal ids, a history's one after the other as atomic files hold them."""
    users, items = (dataset.field2id_token[field] for field in (dataset.uid_field, dataset.iid_field))
    told: dict[str, Any] = {**columns, "user": users[columns["user"]], "item": items[columns["item"]]}
    if "history" in columns:
        separator = dataset.config["seq_separator"]
        told["history"] = [separator.join(items[history[history > 0]]) for history in columns["history"]]
    return told


def _refuse_to_replace_others(out: Path) -> None:
    """See that the folder that a split takes the place of is not there, is empty, or holds a split and no more."""
    if not out.exists():
        return
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if not out.is_dir() or (there and DESCRIPTION not in there):
        raise ConfigurationError(f"--out {out}: there is something else than a split; choose another folder.")
    own = {DESCRIPTION, *(f"{part}.{format}" for part in PARTS for format in FORMATS)}
    if others := [name for name in there if name not in own]:
        raise ConfigurationError(
            f"--out {out}: {some(others)} beside the split of before would be lost, since the whole folder is "
            "replaced. Move it away, or choose another folder."
        )


def _default_benchmark(dataset: str) -> dict[str, Any]:
    """What splits a dataset where no benchmark says how."""
    return {"name": "split", "datasets": [dataset], "models": ["SASRec"], "initialisations": ["random"]}


def _said(split: Split, rows: dict[str, int]) -> dict[str, Any]:
    seen = bool(split.config["rank_seen_items"])
    return {
        "dataset": split.spec.dataset,
        "protocol": split.spec.protocol,
        **_how_split(split.config),
        "fingerprint": split.spec.dataset_fingerprint,
        "rows": rows,
        **({"history": HISTORY} if "history" in rows else {}),
        "ranked": "every item of `items`" + ("" if seen else WITHOUT_SEEN),
        "topk": max(split.config["topk"]),
        "lists": "for every user of `test` the best items: columns user, item and rank (from 1) or score; then "
        "`recbole-ext evaluate`",
    }


def _how_split(config: Any) -> dict[str, Any]:
    """RecBole's keys that say it."""
    if config["benchmark_filename"]:
        return {"benchmark_filename": config["benchmark_filename"]}
    return {"eval_args": {key: value for key, value in config["eval_args"].items() if key != "mode"}}


def _columns(dataset: Any, parts: dict[str, Any]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Each part's columns: ``user`` and ``item`` as internal ids, ``history``, if any, as padded lists of them."""
    from recbole.utils import ModelType

    from recbole_ext.data.sequences import SequenceViewDataset
    from recbole_ext.data.temporal_dataset import TemporalSplit

    if isinstance(dataset, SequenceViewDataset):
        history = dataset.history
        return _columns_of_histories(dataset, history[dataset.uid_field], history[dataset.iid_field], _targets(parts))
    if dataset.config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        return _columns_of_samples(parts)
    if isinstance(dataset, TemporalSplit):
        timeline, order = dataset.timeline, dataset.timeline.by_user
        return _columns_of_histories(dataset, timeline.users[order], timeline.items[order], _asked(dataset))
    return _columns_of_rows(parts)


def _targets(parts: dict[str, Any]) -> dict[str, np.ndarray]:
    """Where in the histories the rows of each part are."""
    from recbole_ext.data.sequences import training_rows

    rows = {}
    for name, part in parts.items():
        samples = part.inter_feat
        targets = (samples[part.HISTORY_START] + samples[part.item_list_length_field]).numpy()
        rows[name] = training_rows(part) if name == "train" else targets
    return rows


def _asked(dataset: Any) -> dict[str, np.ndarray]:
    """The same of a general model's data that are cut in time, whose parts hold no rows but those asked for."""
    from recbole_ext.data.temporal import TEST, TRAIN, VALID

    timeline, target = dataset.timeline, dataset.temporal.target
    place = np.argsort(timeline.by_user)
    rows = (np.flatnonzero(timeline.period == TRAIN), *(timeline.targets(period, target) for period in (VALID, TEST)))
    return {name: place[taken] for name, taken in zip(SPLITS, rows, strict=True)}


def _columns_of_histories(
    dataset: Any, users: Any, items: Any, targets: dict[str, np.ndarray]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Of all interactions by user and time, ``[rows]`` each, those that each part has, and those to be read alone."""
    users, items = np.asarray(users), np.asarray(items)
    start = np.searchsorted(users, users)
    rows, read = {name: np.sort(taken) for name, taken in targets.items()}, np.zeros(len(users), dtype=bool)
    for target in np.concatenate([rows[name] for name in ("valid", "test")]):
        read[start[target] : target] = True
    for taken in rows.values():
        read[taken] = False
    rows["history"] = np.flatnonzero(read)
    times = getattr(dataset, "times_of_history", None)
    if times is not None and (times == np.floor(times)).all() and np.abs(times).max(initial=0) < 2**53:
        times = times.astype(np.int64)
    for name, taken in rows.items():
        if name == "history" and not len(taken):
            continue
        columns = {"user": users[taken], "item": items[taken], "position": taken - start[taken]}
        yield name, columns | ({"timestamp": times[taken]} if times is not None else {})


def _columns_of_samples(parts: dict[str, Any]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Of samples that bring their own history, which stands in their row.

    What a user began with no history predicts, so it is no sample. Training reads it, and so it is a row of training,
    as :func:`recbole_ext.training.loaders.load` counts it for the items that a user has seen.
    """
    for name, part in parts.items():
        samples = part.inter_feat
        users, items = (samples[field].numpy() for field in (part.uid_field, part.iid_field))
        history = samples[part.iid_field + part.config["LIST_SUFFIX"]].numpy()
        length = samples[part.item_list_length_field].numpy()
        if name == "train":
            began = np.stack([users, history[:, 0]], axis=1)[length == 1]
            firsts = np.unique(began, axis=0)
            users, items = np.concatenate([firsts[:, 0], users]), np.concatenate([firsts[:, 1], items])
            history = np.concatenate([np.zeros((len(firsts), history.shape[1]), dtype=history.dtype), history])
            length = np.concatenate([np.zeros(len(firsts), dtype=length.dtype), length])
        order = np.lexsort((length, users))
        columns = {"user": users, "item": items, "position": length, "history": history}
        yield name, {column: values[order] for column, values in columns.items()}


def _columns_of_rows(parts: dict[str, Any]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Of a general model's data: positions count a user's rows through training, validation and test."""
    import pandas

    frames = []
    for name, part in parts.items():
        users, items = (np.asarray(part.inter_feat[field]) for field in (part.uid_field, part.iid_field))
        frames.append(pandas.DataFrame({"part": name, "user": users, "item": items}))
    whole = pandas.concat(frames, ignore_index=True)
    whole["position"] = whole.groupby("user").cumcount()
    for name in parts:
        rows = whole[whole["part"] == name]
        yield name, {column: rows[column].to_numpy() for column in ("user", "item", "position")}
