"""A dataset's files: its YAML in ``dataset_configs`` and its ``.inter``, found or fetched as RecBole does."""

from __future__ import annotations

import logging
from pathlib import Path

from recbole_ext.data.keys import DATASET_KEYS, Settings, read_yaml
from recbole_ext.errors import SourceDataError
from recbole_ext.models import recbole_folder
from recbole_ext.writing import replacing_folder

log = logging.getLogger(__name__)

DATASET_CONFIGS = Path("dataset_configs")
"""Where the dataset configs are by default: in the working folder, and those of this package below it."""

_PACKAGE = Path(__file__).parents[1]
PACKAGED_DATASET_CONFIGS = next(
    (folder for folder in (_PACKAGE / "dataset_configs", _PACKAGE.parent / "dataset_configs") if folder.is_dir()), None
)
"""Beside the package in a checkout; the wheel takes them into it."""


def recbole_keys(settings: Settings) -> Settings:
    """What of a dataset config is RecBole's."""
    return {key: value for key, value in settings.items() if key not in DATASET_KEYS}


def read_dataset_config(path: Path) -> Settings:
    """A dataset config; empty where there is none.

    Of the default folder, ``dataset_configs/NAME.yaml`` of the working folder, else the packaged one of that name.

    Raises:
        ConfigurationError: the file is not a YAML mapping.
    """
    if not path.is_file() and path.parent == DATASET_CONFIGS and PACKAGED_DATASET_CONFIGS:
        path = PACKAGED_DATASET_CONFIGS / path.name
    if not path.is_file():
        return {}
    return read_yaml(path, "a dataset config")


def interaction_file(dataset: str, data_path: str) -> Path:
    """The ``.inter`` file as RecBole finds it; ml-100k lies in RecBole's wheel."""
    folder = Path(data_path) / dataset
    if dataset == "ml-100k":
        folder = recbole_folder() / "dataset_example" / dataset
    return folder / f"{dataset}.inter"


def download_url(dataset: str, recbole_name: str | None = None) -> str | None:
    """Where RecBole downloads the dataset from, known to it by this name or by ``recbole_name``; ``None`` if not."""
    urls = read_yaml(recbole_folder() / "properties" / "dataset" / "url.yaml", "RecBole's list")
    return urls.get(recbole_name or dataset)


def require_dataset(dataset: str, data_path: str, recbole_name: str | None = None) -> None:
    """See that the dataset's files are there; one that RecBole knows, by this name or by
    ``recbole_name``, is downloaded from where RecBole does.

    (RecBole's own download waits for other processes that a single one does not have, and dies.)

    Raises:
        SourceDataError: it is not there, and RecBole does not know it or can't fetch it.
    """
    path = interaction_file(dataset, data_path)
    if path.is_file():
        return
    url = download_url(dataset, recbole_name)
    way_out = (
        f"Make it with `recbole-ext convert SOURCE --format FORMAT --name {dataset} --out {data_path}`, "
        "or set data_path to where it is."
    )
    if url is None or path.parent.exists():
        raise SourceDataError(f"{path}: no such file. {way_out}")
    try:
        _download(url, dataset, path.parent)
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceDataError(f"{dataset} can't be downloaded from {url}: {error}. {way_out}") from error
    if not path.is_file():
        raise SourceDataError(f"{url} holds no {path.name}. {way_out}")


def _download(url: str, dataset: str, folder: Path) -> None:
    from recbole.utils.url import download_url, extract_zip, rename_atomic_files

    log.info("%s: downloading %s", dataset, url)
    with replacing_folder(folder) as temporary:
        archive = Path(download_url(url, str(temporary)))
        extract_zip(str(archive), str(temporary))
        archive.unlink()
        rename_atomic_files(str(temporary), archive.stem, dataset)
