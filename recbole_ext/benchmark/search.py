"""The search: a declared space, a sampler of Optuna, and the same number of trials for every variant of a model."""

from __future__ import annotations

import json
import math
import warnings
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recbole_ext.benchmark.keys import WITHOUT_EFFECT
from recbole_ext.errors import ConfigurationError
from recbole_ext.settings import Seed

if TYPE_CHECKING:
    import optuna

Settings = dict[str, Any]

_SAYS_NOTHING_OF_QUALITY = (*WITHOUT_EFFECT, "nproc", "worker")
"""Keys that a trial can't be better by: they change nothing, or which random numbers are drawn."""
_IN_VAIN = 1000
"""So many draws, and 20 for each point that is wanted, may bring no new one before a space is taken to have no more."""


class Interval(BaseModel):
    """A continuous range of a key."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    low: float
    """The smallest value."""
    high: float
    """The largest."""
    log: bool = False
    """Draw on a logarithmic scale."""

    @model_validator(mode="after")
    def _ascends(self) -> Interval:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low should be below high, and above 0 where log is true")
        return self


class Search(BaseModel):
    """What is tried for each variant, on validation, with the first seed.

    All trials are known before the first one runs, so their runs have a fixed identity and ``--plan`` can count them.
    That is why the samplers are those of Optuna that do not look at results: ``grid`` (the full cross), ``random`` and
    ``qmc`` (scrambled Sobol points, which cover a space more evenly than random ones).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    space: dict[str, list[Any] | Interval] = Field(default_factory=dict)
    """Key: its values, or an interval ``{low, high, log}``. ``"a, b": [...]`` gives both keys the same value."""
    sampler: Literal["grid", "random", "qmc"] = "grid"
    """The full cross, random points, or points that cover the space more evenly than random ones."""
    trials: int | None = Field(default=None, ge=1)
    """How many points; by default, and for ``grid`` always, the full cross."""
    sampler_seed: Seed = 0
    """Of ``random`` and ``qmc``."""

    @field_validator("space", mode="after")
    @classmethod
    def _values(cls, space: dict[str, list[Any] | Interval]) -> dict[str, list[Any] | Interval]:
        taken: set[str] = set()
        for key, values in space.items():
            names = _keys(key)
            if without := [name for name in names if name in _SAYS_NOTHING_OF_QUALITY]:
                raise ValueError(
                    f"{without[0]}: says where or how a run is computed, so that no trial is better by it; set it for "
                    "all trials alike"
                )
            for name in names:
                if name in taken:
                    raise ValueError(f"{name}: the space names it twice; name each key once")
                taken.add(name)
            if isinstance(values, list) and not values:
                raise ValueError(f"{key}: name at least one value")
            if isinstance(values, list) and len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
                raise ValueError(f"{key}: {values} names a value twice; two equal trials would cost twice")
        return space

    @model_validator(mode="after")
    def _budget(self) -> Search:
        continuous = [key for key, values in self.space.items() if isinstance(values, Interval)]
        if self.sampler == "grid":
            if continuous:
                raise ValueError(f"{continuous[0]}: a grid needs a list of values; or set sampler: random or qmc")
            if self.trials not in (None, self._cross):
                raise ValueError(
                    f"trials: a grid tries its full cross of {self._cross} points; leave trials out, or set sampler: "
                    "random or qmc"
                )
        elif self.trials is None:
            raise ValueError(f"trials: sampler {self.sampler} needs the number of trials")
        elif not continuous and self.trials > self._cross:
            raise ValueError(f"trials: {self.trials} are more than the {self._cross} points that the space has")
        return self

    @property
    def keys(self) -> list[str]:
        """The keys that are searched over."""
        return [key for names in self.space for key in _keys(names)]

    def points(self) -> list[Settings]:
        """Every trial as a mapping of keys to values, all different, in a fixed order; ``[{}]`` for an empty space.

        Raises:
            ConfigurationError: the space does not have so many different points; names its intervals.
        """
        if not self.space:
            return [{}]
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        wanted = self._cross if self.sampler == "grid" else self.trials
        assert wanted is not None
        found: dict[str, Settings] = {}

        def draw(trial: optuna.Trial) -> float:
            point = {key: value for name in self.space for key, value in self._drawn(name, trial).items()}
            found.setdefault(json.dumps(point, sort_keys=True), point)
            return 0.0

        study = optuna.create_study(sampler=self._sampler())
        in_vain = 0
        while len(found) < wanted:  # a drawn point may come again
            before, draws = len(found), wanted - len(found)
            study.optimize(draw, n_trials=draws)
            in_vain = in_vain + draws if len(found) == before else 0
            if in_vain > _IN_VAIN + 20 * wanted:
                raise ConfigurationError(self._too_few(len(found)))
        return sorted(found.values(), key=self._order) if self.sampler == "grid" else list(found.values())

    def in_words(self) -> str:
        """Space, sampler and number of trials, in one line; empty where nothing is searched."""
        if not self.space:
            return ""
        dimensions = [
            f"{name} in {values}" if isinstance(values, list) else f"{name} from {values.low:g} to {values.high:g}"
            for name, values in self.space.items()
        ]
        n_points = len(self.points())
        return f"{n_points} trials ({self.sampler}): {' × '.join(dimensions)}"

    def _too_few(self, found: int) -> str:
        intervals = ", ".join(
            f"{name} from {values.low:g} to {values.high:g}"
            for name, values in self.space.items()
            if isinstance(values, Interval)
        )
        return (
            f"search: trials: {self.trials} are wanted and {found} different points are found: {intervals} has too few "
            "values of four digits. Widen it, or lower trials."
        )

    @property
    def _cross(self) -> int:
        return math.prod(len(values) for values in self.space.values() if isinstance(values, list))

    def _drawn(self, name: str, trial: optuna.Trial) -> Settings:
        """The value of one dimension, for each key that it sets."""
        values = self.space[name]
        if isinstance(values, list):
            # Optuna's categories are plain values; ours may be lists, so they go by their number.
            value = values[trial.suggest_int(name, 0, len(values) - 1)]
        else:
            value = float(f"{trial.suggest_float(name, values.low, values.high, log=values.log):.4g}")
        return dict.fromkeys(_keys(name), value)

    def _sampler(self) -> optuna.samplers.BaseSampler:
        from optuna.samplers import GridSampler, QMCSampler, RandomSampler

        if self.sampler == "grid":
            numbers = {
                name: list(range(len(values))) for name, values in self.space.items() if isinstance(values, list)
            }
            return GridSampler(numbers, seed=self.sampler_seed)
        if self.sampler == "random":
            return RandomSampler(seed=self.sampler_seed)
        with warnings.catch_warnings():  # that the sampler is experimental
            warnings.simplefilter("ignore")
            return QMCSampler(scramble=True, seed=self.sampler_seed, warn_independent_sampling=False)

    def _order(self, point: Settings) -> list[int]:
        """The place of a point of a grid in reading order."""
        return [values.index(point[_keys(name)[0]]) for name, values in self.space.items() if isinstance(values, list)]


def _keys(names: str) -> list[str]:
    return [key.strip() for key in names.split(",")]
