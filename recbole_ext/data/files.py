"""A dataset's files: where they lie, which of them and of their columns RecBole reads, and how they are fetched."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.compat import recbole_folder
from recbole_ext.errors import SourceDataError
from recbole_ext.wording import did_you_mean
from recbole_ext.writing import replacing_folder
from recbole_ext.yaml_files import read_yaml

if TYPE_CHECKING:
    from recbole_ext.data.tables import Table

log = logging.getLogger(__name__)

EMBEDDED = "ml-100k"
GROUPED = "item_emb.npy"
"""Beside a dataset's files: the vectors by which LDiffRec puts items into ``n_cate`` groups."""
_KNOWLEDGE = ("kg", "link")
_KNOWLEDGE_SEQUENTIAL = ("GRU4RecKG", "KSR")  # RecBole gives these sequential models a knowledge graph as well


def dataset_folder(name: str, data_path: Path) -> Path:
    """The folder of the dataset's files as RecBole finds it; ml-100k lies in RecBole's wheel."""
    if name == EMBEDDED:
        return recbole_folder() / "dataset_example" / name
    return data_path.expanduser() / name


def interaction_suffixes(settings: Mapping[str, Any]) -> list[str]:
    """Endings of the files of interactions: ``inter``, or one for each split of ``benchmark_filename``."""
    splits = settings.get("benchmark_filename")
    return ["inter"] if splits is None else [f"{split}.inter" for split in splits]


def suffixes_read(settings: Mapping[str, Any]) -> list[str]:
    """Endings of the files that RecBole opens and takes columns of, in the order in which it does.

    ``settings`` are its own with nothing left out.
    """
    additional = settings.get("additional_feat_suffix") or ()
    suffixes = ["user", "item", *([additional] if isinstance(additional, str) else additional)]
    if reads_knowledge(settings):
        suffixes += _KNOWLEDGE
    read = [suffix for suffix in suffixes if columns_read(settings, suffix) != set()]
    return [*interaction_suffixes(settings), *read]


def columns_read(settings: Mapping[str, Any], suffix: str) -> set[str] | None:
    """The columns that ``load_col`` names of a file (its ``suffix`` without the split's name); ``None`` for all."""
    load_col = settings.get("load_col")
    if load_col is None:
        return None
    columns = load_col.get(suffix, ())
    return None if columns == "*" else set(columns)


def columns_left_out(settings: Mapping[str, Any], suffix: str) -> set[str]:
    """The columns that ``unload_col`` names of a file."""
    return set((settings.get("unload_col") or {}).get(suffix, ()))


def columns_loaded(table: Table, settings: Mapping[str, Any], suffix: str) -> list[str]:
    """The columns of a file that RecBole loads, in the order of the file; ``suffix`` as for :func:`columns_read`."""
    wanted = columns_read(settings, suffix)
    if wanted is None:
        return [name for name in table.types if name not in columns_left_out(settings, suffix)]
    histories = history_column(settings) if suffix == "inter" else None  # which are loaded whatever is named
    return [name for name in table.types if name in wanted or name == histories]


def history_column(settings: Mapping[str, Any]) -> str | None:
    """The column in which rows of files that are split already may carry their history; ``None`` where it is not read:
    of other files, and where ``unload_col`` names it."""
    column = f"{settings['ITEM_ID_FIELD']}{settings['LIST_SUFFIX']}"
    is_read = settings["benchmark_filename"] is not None and column not in columns_left_out(settings, "inter")
    return column if is_read else None


def reads_knowledge(settings: Mapping[str, Any]) -> bool:
    """Whether the model of these settings reads a knowledge graph (``.kg``, ``.link``); without a model it does not."""
    return model_kind(settings) == "KNOWLEDGE" or settings.get("model") in _KNOWLEDGE_SEQUENTIAL


def model_kind(settings: Mapping[str, Any]) -> str | None:
    """The name of RecBole's type of the model of these settings, such as ``SEQUENTIAL``; ``None`` without a model."""
    kind, model = settings.get("MODEL_TYPE"), str(settings.get("model"))
    if kind is not None:
        return str(getattr(kind, "name", kind))
    found = (recbole_folder() / "model").glob(f"*_recommender/{model.lower()}.py")
    return next((path.parent.name.partition("_")[0].upper() for path in found), None)


def splits_rows(settings: Mapping[str, Any]) -> bool:
    """Whether RecBole splits the rows of the model of these settings, as for all kinds but sequential ones, of which it
    splits the samples: one fewer a user. Without a model it does not."""
    return model_kind(settings) not in (None, "SEQUENTIAL")


def stamp(paths: Iterable[Path], *asked: Any) -> str:
    """What an answer about files depends on: when and how long they were last written, and what was asked of them."""
    stats = [(str(path.resolve()), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
    return json.dumps([stats, *asked], sort_keys=True, default=str)


def download_url(dataset: str, recbole_name: str | None = None) -> str | None:
    """Where RecBole downloads the dataset from, known to it by this name or by ``recbole_name``; ``None`` if not."""
    urls = read_yaml(recbole_folder() / "properties" / "dataset" / "url.yaml", "RecBole's list")
    return urls.get(recbole_name or dataset)


def dataset_meant(name: str, folder: Path) -> str:
    """Which of the datasets beside ``folder``, or the one that is always there, is named nearly so; empty where none
    is, or where ``folder`` is there itself."""
    if folder.exists():
        return ""
    return did_you_mean(name, [*(path.name for path in folder.parent.glob("*")), EMBEDDED])


def require_files(
    name: str, data_path: Path, suffixes: Collection[str], recbole_name: str | None, download: bool = True
) -> None:
    """See that the dataset's files with these endings are there; a dataset that RecBole knows, by this name or by
    ``recbole_name``, is downloaded from where RecBole does.

    (RecBole's own download waits for other processes that a single one does not have, and dies.)

    Raises:
        SourceDataError: one is not there, and RecBole does not know the dataset or can't fetch it.
    """
    folder = dataset_folder(name, data_path)
    paths = [folder / f"{name}.{suffix}" for suffix in suffixes]
    absent = next((path for path in paths if not path.is_file()), None)
    if absent is None:
        return
    url = download_url(name, recbole_name)
    way_out = (
        f"Make it with `recbole-ext convert SOURCE --format FORMAT --name {name} --out {data_path}`, "
        "or set data_path to where it is."
    )
    if split := sorted(path.name for path in folder.glob(f"{name}.*.inter")):
        way_out = (
            f"There are {', '.join(split)}: files that are split already need their names in a protocol, such as "
            "`protocols: {given: {benchmark_filename: [train, valid, test]}}`."
        )
    if absent.name != f"{name}.inter":
        way_out = "Put it there, or take it out of the dataset's keys (benchmark_filename)."
    if url is None or folder.exists():
        said = [f"{absent}: no such file.", dataset_meant(name, folder), way_out]
        raise SourceDataError(" ".join(filter(None, said)))
    if not download:
        raise SourceDataError(f"{absent}: no such file; `run` downloads it from {url}.")
    try:
        _download(url, name, folder)
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceDataError(f"{name} can't be downloaded from {url}: {error}. {way_out}") from error
    if not absent.is_file():
        raise SourceDataError(f"{url} holds no {absent.name}. {way_out}")


def _download(url: str, dataset: str, folder: Path) -> None:
    from recbole.utils.url import download_url, extract_zip, rename_atomic_files

    log.info("%s: downloading %s", dataset, url)
    with replacing_folder(folder) as temporary:
        archive = Path(download_url(url, str(temporary)))
        extract_zip(str(archive), str(temporary))
        archive.unlink()
        rename_atomic_files(str(temporary), archive.stem, dataset)
