"""RecBole's own dataset of some files under some keys, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_ext.data.config import NUMBER_INTERVALS
from recbole_ext.data.files import reads_knowledge
from recbole_ext.errors import ConfigurationError


class Keys(dict[str, Any]):
    """RecBole's keys as its datasets ask for them: one that nobody sets is ``None``."""

    def __missing__(self, key: str) -> None:
        return None


def stock_keys(name: str, folder: Path, settings: Mapping[str, Any]) -> Keys:
    """What a RecBole dataset of the files in ``folder`` is made from."""
    suffixes = settings["additional_feat_suffix"]
    as_list = [suffixes] if isinstance(suffixes, str) else suffixes
    return Keys({**settings, "dataset": name, "data_path": str(folder), "additional_feat_suffix": as_list})


def stock_dataset(name: str, folder: Path, settings: Mapping[str, Any], cut: bool = False) -> Any:
    """The dataset read and filtered by RecBole, its features still data frames.

    Args:
        cut: as the protocol ``temporal`` of ``settings`` has it read, see
            :class:`recbole_ext.data.temporal_dataset.TemporalSplit`.

    Raises:
        ConfigurationError: RecBole refuses the keys, or its filters leave nothing; with ``cut``, also where no
            interaction trains or nobody is asked for one.
    """
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole.data.dataset import Dataset, KnowledgeBasedDataset

    from recbole_ext.data.given import given
    from recbole_ext.data.temporal_dataset import temporal

    kind = KnowledgeBasedDataset if reads_knowledge(settings) else Dataset
    if settings["benchmark_filename"] is not None:
        kind = given(kind)
    elif cut:
        kind = temporal(kind)
    with refusing(name):
        return kind(stock_keys(name, folder, settings))


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Turn what RecBole raises over its keys into an error that names the dataset."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError) as error:
        if "feat is empty" in str(error):
            raise ConfigurationError(
                f"{name}: filters leave nothing of this dataset. Widen {', '.join(NUMBER_INTERVALS)} or val_interval, "
                "whichever is set, or leave it out."
            ) from error
        raise ConfigurationError(
            f"{name}: RecBole can't read this dataset under these keys: {type(error).__name__}: {error}"
        ) from error
