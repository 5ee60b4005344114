"""``evaluate``: lists of any other system become rows of a benchmark's leaderboard, with ranks per user."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.hashing import sha256_of, sha256_of_file
from recbole_ext.lists.given import GivenLists, read_lists, rows_of
from recbole_ext.lists.split import Split, require_full_ranking, split_of
from recbole_ext.machine import without_home
from recbole_ext.records import LISTS, Lists, RunRecord
from recbole_ext.records.ranks import packed, ranks_beside, write_ranks
from recbole_ext.records.record import Fingerprints
from recbole_ext.wording import some
from recbole_ext.writing import NAMES_OF_FILES, can_name_files

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

OF_LISTS = ("rec.topk", "rec.items", "data.num_items", "data.num_users", "data.count_items", "data.count_users")
"""What a metric may need of RecBole's evaluation and lists can give; and this package's vectors of items."""


@dataclass(frozen=True)
class Evaluation:
    """What became of lists: a record for each file, below the benchmark's folder."""

    folder: Path
    records: list[RunRecord]

    def to_pandas(self) -> pd.DataFrame:
        """A row for each file: its number, what is known of its lists, and its metrics."""
        import pandas

        rows = []
        for record in self.records:
            assert record.lists is not None
            known = record.lists.model_dump(include={"file", "users", "left_out", "longest", "shorter", "seen"})
            rows.append({"seed": record.seed, **known, **record.lists.test})
        return pandas.DataFrame(rows)

    def lines(self) -> list[str]:
        """The metrics and what to know of the lists, for the terminal."""
        lines = []
        for record in self.records:
            assert record.lists is not None
            metrics = "  ".join(f"{name} {value:.4f}" for name, value in record.lists.test.items())
            lines += [f"{record.lists.file}: {metrics}", f"  {'; '.join(record.lists.remarks)}"]
        return lines


def evaluate(
    lists: Path | str | pd.DataFrame | Sequence[Path | str | pd.DataFrame],
    benchmark: Path | str | Mapping[str, Any] | None,
    name: str,
    *,
    dataset: str | None = None,
    protocol: str | None = None,
    baseline: tuple[str, str] | None = None,
    source: str = "",
    overrides: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> Evaluation:
    """Test lists of another system on the split of a benchmark, and put them beside the benchmark's rows.

    Args:
        lists: tables (csv, tsv, parquet, or data frames) with columns user, item and rank or score; several are the
            system's seeds.
        benchmark: as for :func:`recbole_ext.run`; its protocol, metrics and cutoffs count.
        name: what to call the system, other than a model of the benchmark; an earlier row of lists of that name is
            replaced, and the log says so.
        dataset: of the benchmark, where it has several.
        protocol: the same.
        baseline: model and initialisation of the row that the system is compared with, and that is asked for the same
            users.
        source: the system and how its lists were made, in words.
        overrides: keys above the benchmark's.
        command: what makes the row again; by default this call.

    Where users have several test items, lists are tested as RecBole tests the row that they are compared with (see
    :func:`recbole_ext.lists.split.split_of`): for each test item by itself where its model is sequential, so that a
    user's one list is tested several times; for all of a user's together where it is general.

    A user with a test item and without a list is a miss; so are the places that a short list lacks. Nothing is
    reported beyond the longest list. Listed items that the protocol leaves out, because their user has seen them, keep
    the places they take. Users without a test item are not counted. All of it is said in the record and in the report.

    Raises:
        SourceDataError: lists that can't be right; see :func:`recbole_ext.lists.given.read_lists`.
        ConfigurationError: what is asked for does not fit the benchmark, or it does not rank all items.
        WriteError: the results can't be written.
    """
    import pandas

    if not can_name_files(name):
        raise ConfigurationError(f"--name: {name!r} can't be part of a file name; {NAMES_OF_FILES}.")
    given = [lists] if isinstance(lists, str | Path | pandas.DataFrame) else list(lists)
    if not given:
        raise ConfigurationError("evaluate: no lists are given.")
    files = [each if isinstance(each, pandas.DataFrame) else Path(each) for each in given]
    like = None if baseline is None else (baseline[0], baseline[1])
    split = split_of(benchmark, dataset, protocol, overrides, command or "recbole_ext.evaluate(…)", like)
    require_full_ranking(split)
    _check_names(split, name, baseline)
    hashes = [_hash(each) for each in files]
    read = [read_lists(each, split.users, split.items) for each in files]
    if len({tuple(part.tobytes() for part in vars(each).values()) for each in read}) < len(read):
        raise SourceDataError("evaluate: two of the files hold the same lists; seeds of a system differ.")
    tested = [_tested(split, lists_of_seed) for lists_of_seed in read]
    folder = split.resolved.benchmark.folder
    records = []
    for seed, (each, digest, (made, ranks)) in enumerate(zip(files, hashes, tested, strict=True), 1):
        said: dict[str, Any] = {
            "source": source,
            "file": each.name if isinstance(each, Path) else "a data frame",
            "sha256": digest,
        }
        record = _record(split, name, seed, Lists(**made, **said), baseline)
        _write(folder, record, ranks)
        records.append(record)
    _remove_earlier(folder, records)
    return Evaluation(folder, records)


def _hash(lists: Path | pd.DataFrame) -> str:
    import pandas

    if isinstance(lists, Path):
        if not lists.is_file():
            raise SourceDataError(f"{lists}: no such file.")
        return sha256_of_file(lists)
    return sha256_of([list(map(str, lists.columns)), *map(int, pandas.util.hash_pandas_object(lists, index=False))])


def _check_names(split: Split, name: str, baseline: tuple[str, str] | None) -> None:
    rows = {(row.key.model, row.key.variant) for row in split.rows}
    if name in split.resolved.benchmark.models or (name, LISTS) in rows:
        raise ConfigurationError(
            f"--name: {name} is a model of the benchmark, and lists of that name would read as its run. Choose "
            f"another, such as {name}-elsewhere."
        )
    if baseline is not None and tuple(baseline) not in rows:
        there = some(sorted(f"{model},{variant}" for model, variant in rows), 12)
        raise ConfigurationError(f"--baseline: the benchmark has no row {','.join(baseline)}, but {there}.")


def _tested(split: Split, lists: GivenLists) -> tuple[dict[str, Any], np.ndarray | None]:
    """What a record says of these lists; the ranks ``[rankings]`` or ``[rankings, 2]`` where each has one test item.

    There are as many rankings as RecBole evaluates for the split's model: of a sequential one each test item has its
    own, and so a user's list is tested once for each; of a general one all test items of a user are found in one.
    """
    import torch

    from recbole_ext.compat.times import KEEP_EXACT_TIMES
    from recbole_ext.machine import versions
    from recbole_ext.runs.recorded import recorded_config
    from recbole_ext.training.evaluation import PLACES, LeaveOneOutCollector, RankKeepingEvaluator

    pooled = not split.loaders.test.is_sequential
    user, item = _targets(split, pooled)
    who, ranking, n_targets = user, np.arange(len(user)), np.ones_like(user)
    if pooled:
        who, ranking, n_targets = np.unique(user, return_inverse=True, return_counts=True)
    lengths = np.zeros(len(split.users), dtype=np.int64)
    lengths[: len(lists.lengths)] = lists.lengths
    is_tested = np.zeros(len(split.users), dtype=bool)
    is_tested[who] = True
    longest = int(lengths[is_tested].max(initial=0))
    config, n_items = _config_of(split, lists, who, longest), len(split.items)
    k = max(config["topk"])
    collector, evaluator = LeaveOneOutCollector(config), RankKeepingEvaluator(config)
    collector.data_collect(split.loaders.train)
    row = rows_of(lists, n_items)(user, item)
    place = np.where(row >= 0, lists.place[row], 0)
    places = np.stack([np.where(row >= 0, lists.first[row], 0), np.where(row >= 0, lists.spread[row], 1)], axis=1)
    hits = np.zeros((len(who), k + 1), dtype=np.int32)
    hits[:, -1] = n_targets
    found = (place > 0) & (place <= k)
    hits[ranking[found], place[found] - 1] = 1
    one_each = bool((n_targets == 1).all())
    collector.data_struct.update_tensor("rec.topk", torch.from_numpy(hits))
    if one_each:
        collector.data_struct.update_tensor(PLACES, torch.from_numpy(places))
    if collector.register.need("rec.items"):
        collector.data_struct.update_tensor("rec.items", torch.from_numpy(_top_items(lists, who, k)))
    metrics = dict(evaluator.evaluate(collector.get_data_struct()))
    statistics, popularity = _of_split(split)
    made: dict[str, Any] = {
        "statistics": statistics,
        "popularity": popularity,
        "versions": versions(),
        "config": {key: value for key, value in recorded_config(config).items() if key != KEEP_EXACT_TIMES},
        "test": {metric: float(value) for metric, value in metrics.items()},
        "tied": int((places[:, 1] > 1).sum()) if one_each else None,
        "valid_metric": str(config["valid_metric"]).lower(),
        "tested": len(item),
        "pooled": pooled,
        "users": int(is_tested.sum()),
        "left_out": int((lengths[is_tested] == 0).sum()),
        "not_tested": int((lengths[~is_tested] > 0).sum()),
        "longest": longest,
        "shorter": int(((lengths > 0) & (lengths < k))[is_tested].sum()),
        "seen": _seen(split, lists, n_items),
    }
    ranks = packed(evaluator.ranks, k) if one_each and evaluator.ranks is not None else None
    return made, ranks


def _config_of(split: Split, lists: GivenLists, who: np.ndarray, longest: int) -> Any:
    """The benchmark's configuration with the cutoffs that the ``longest`` list has and the metrics that lists decide.

    Args:
        who: the user of each ranking.
    """
    config = copy.copy(split.config)
    config.final_config_dict = dict(split.config.final_config_dict)
    if not longest:
        raise SourceDataError("the lists have none of the users with a test item; these are in `export-split`'s test.")
    cutoffs = [k for k in config["topk"] if k <= longest]
    if not cutoffs:
        raise SourceDataError(
            f"the longest list has {longest} items, fewer than the smallest cutoff of the benchmark, "
            f"{min(config['topk'])}."
        )
    if len(cutoffs) < len(config["topk"]):
        log.warning("the longest list has %d items: nothing is reported at larger cutoffs", longest)
    k = max(cutoffs)
    filled = np.bincount(lists.user[lists.place <= k], minlength=len(split.users))[who]
    config["topk"] = cutoffs
    config["metrics"] = _metrics(config["metrics"], whole=bool((filled == k).all()))
    return config


def _of_split(split: Split) -> tuple[Any, Any]:
    """Counts, and the file that tells how popular the test items are, which runs on the same split share."""
    from recbole_ext.runs.popularity import keep_popularity
    from recbole_ext.runs.recorded import statistics_of

    folder = split.resolved.benchmark.folder
    return statistics_of(split.dataset, split.spec), keep_popularity(split.loaders, split.spec.dataset, folder)


def _targets(split: Split, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Every test item with its user, internal ids ``[targets]``, by user; with ``pooled`` a user's item once."""
    test = split.loaders.test._dataset
    users, items = (np.asarray(test.inter_feat[field]) for field in (test.uid_field, test.iid_field))
    if pooled:
        users, items = np.unique(np.stack([users, items]), axis=1)
        return users, items
    order = np.argsort(users, kind="stable")
    return users[order], items[order]


def _metrics(metrics: Sequence[str], whole: bool) -> list[str]:
    """The metrics that lists decide; the others are left out, with a word of warning.

    ``whole``: every tested user has an item at every place, so that what is listed can be counted.
    """
    from recbole.evaluator import register

    from recbole_ext.training.evaluation import USERS_OF_ITEM, VECTORS

    kept = []
    for metric in metrics:
        needs = set(register.metric_information[metric.lower()])
        if needs - {*OF_LISTS, VECTORS, USERS_OF_ITEM}:
            log.warning("%s is left out: it needs the scores of all items, and lists have the best alone", metric)
        elif "rec.items" in needs and not whole:
            log.warning("%s is left out: users without a list, or lists shorter than the cutoff", metric)
        else:
            kept.append(metric)
    if not kept:
        raise ConfigurationError(f"metrics: none of {', '.join(metrics)} can be computed from these lists.")
    return kept


def _top_items(lists: GivenLists, who: np.ndarray, k: int) -> np.ndarray:
    """The items at the first ``k`` places of these users, who have one at each: int64 ``[rankings, k]``."""
    inside = lists.place <= k
    inside &= np.isin(lists.user, who)
    return lists.item[inside].reshape(-1, k)[np.unique(who, return_inverse=True)[1]]


def _seen(split: Split, lists: GivenLists, n_items: int) -> int:
    """How many listed items their user had before the test item, where the protocol leaves these out."""
    if split.config["rank_seen_items"]:
        return 0
    loader, find, seen = split.loaders.test, rows_of(lists, n_items), 0
    for interaction, masked, *_ in loader:
        if masked is None:
            return 0
        # An item that a user has seen twice is masked twice.
        rows, items = np.unique(np.stack([np.asarray(part) for part in masked]), axis=1)
        seen += int((find(interaction[loader.uid_field].numpy()[rows], items) >= 0).sum())
    return seen


def _record(split: Split, name: str, seed: int, lists: Lists, baseline: tuple[str, str] | None) -> RunRecord:
    from recbole_ext.machine import git_revision

    spec = split.spec
    identity = sha256_of([name, lists.sha256, spec.dataset_fingerprint, spec.protocol, lists.config["eval_args"]])
    return RunRecord(
        run=f"{spec.dataset}-{name}-{LISTS}-{spec.protocol}-s{seed}-{identity[:12]}",
        benchmark=spec.benchmark,
        dataset=spec.dataset,
        model=name,
        variant=LISTS,
        mode="-",
        protocol=spec.protocol,
        seed=seed,
        trial={},
        status="done",
        command=without_home(split.resolved.command),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        git_revision=git_revision(),
        fingerprints=Fingerprints(run=identity, dataset=spec.dataset_fingerprint),
        lists=lists,
        baseline=baseline,
    )


def _write(folder: Path, record: RunRecord, ranks: np.ndarray | None) -> None:
    path = folder / record.kept_in / f"{record.run}.json"
    if ranks is not None:
        write_ranks(path, ranks)
    record.write(path)


def _remove_earlier(folder: Path, records: Sequence[RunRecord]) -> None:
    """Earlier lists of the same row go; what was just written stays."""
    keep = {record.run for record in records}
    for path in sorted((folder / "lists").glob("[!.]*.json")):
        if path.stem in keep:
            continue
        earlier = RunRecord.read(path)
        if earlier.row == records[0].row:
            file = earlier.lists.file if earlier.lists else path.name
            log.info("the earlier row %s, of %s, is replaced: its record of %s goes", earlier.model, file, earlier.date)
            path.unlink()
            ranks_beside(path).unlink(missing_ok=True)
