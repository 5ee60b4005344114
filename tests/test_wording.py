"""What is wrong with settings is said in words, by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recbole_ext.benchmark.search import Interval
from recbole_ext.wording import did_you_mean, duration, in_words, some


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seeds: list[int] = Field(default=[1], min_length=1)
    layers: tuple[int, ...] = ()
    keys: dict[str, int] = {}
    count: int = Field(default=1, ge=1)
    share: float = Field(default=0.5, gt=0, lt=1)
    yes: bool = True
    word: Literal["one", "two"] = "one"
    path: Path = Path()
    space: dict[str, list[Any] | Interval] = {}


def said(**given: Any) -> str:
    with pytest.raises(ValidationError) as error:
        Everything(**given)
    return in_words(error.value, lambda _: Everything.model_fields)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seeds": 42}, "seeds: a list is needed, such as [42]; got 42"),
        ({"seeds": ["a"]}, "seeds.0: a whole number is needed; got 'a'"),
        ({"seeds": []}, "seeds: at least 1 entry is needed; got []"),
        ({"layers": "all"}, "layers: a list is needed, such as [all]; got 'all'"),
        ({"keys": [1]}, "keys: a mapping is needed; got [1]"),
        ({"count": "three"}, "count: a whole number is needed; got 'three'"),
        ({"count": 1.5}, "count: a whole number is needed; got 1.5"),
        ({"count": 0}, "count: at least 1 is needed; got 0"),
        ({"share": "half"}, "share: a number is needed; got 'half'"),
        ({"share": 1}, "share: less than 1 is needed; got 1"),
        ({"share": 0}, "share: more than 0 is needed; got 0"),
        ({"yes": "perhaps"}, "yes: true or false is needed; got 'perhaps'"),
        ({"word": "three"}, "word: one of one or two is needed; got 'three'"),
        ({"path": 3}, "path: a path is needed; got 3"),
        ({"cont": 3}, "cont: unknown key. Did you mean 'count'?"),
        ({"space": {"rate": 3}}, "space.rate: a list is needed, such as [3]; got 3, or a mapping is needed; got 3"),
        ({"count": 0, "word": "a"}, "count: at least 1 is needed; got 0; word: one of one or two is needed; got 'a'"),
    ],
)
def test_the_key_what_is_wanted_and_what_was_given(given: dict[str, Any], words: str) -> None:
    assert said(**given) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.4, "3 s"), (119, "119 s"), (121, "2 min"), (7300, "2.0 h"), (200_000, "2.3 days")]
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_word_in_another_case_is_the_closest() -> None:
    assert did_you_mean("sasrec", ["Caser", "SASRec"]) == "Did you mean 'SASRec'?"
    assert did_you_mean("SASReC", ["SASRecF", "SASRec"]) == "Did you mean 'SASRec'?"
    assert did_you_mean("SASRex", ["Caser", "SASRec"]) == "Did you mean 'SASRec'?"


def test_of_many_the_first_few_are_named() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(range(2000), 2) == "0, 1 and 1,998 more"
