"""Where a dataset's item text lies."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from recbole_ext.errors import SourceDataError


def locate_item_file(dataset: str, data_path: Path | str | None = None) -> Path:
    """The ``.item`` file of ``dataset``, found as RecBole finds it: ``data_path/dataset/dataset.item``.

    ml-100k is RecBole's own exception: whatever ``data_path`` says, it is read from RecBole's wheel.

    Args:
        data_path: RecBole's ``data_path``; its default is ``dataset`` in the working folder.

    Raises:
        SourceDataError: there is no such file.
    """
    folder = Path(data_path or "dataset").expanduser() / dataset
    if dataset == "ml-100k":
        recbole = importlib.util.find_spec("recbole")
        if recbole is None or recbole.origin is None:
            raise SourceDataError("ml-100k lies in RecBole's wheel, and RecBole isn't installed: pip install recbole.")
        folder = Path(recbole.origin).parent / "dataset_example" / dataset
    path = folder / f"{dataset}.item"
    if not path.is_file():
        raise SourceDataError(
            f"{path}: no such file, so dataset {dataset!r} has no item text. Make it with `recbole-ext "
            "convert`, or point data_path to the folder that holds the dataset's folder."
        )
    return path
