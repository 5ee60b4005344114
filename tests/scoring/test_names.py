from __future__ import annotations

from typing import Any

import pytest

from recbole_ext.scoring import name_of


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (None, "random"),
        ({"encoder": "minilm"}, "minilm"),
        ({"encoder": "/models/my encoder/", "layers": 3}, "my-encoder-layers3"),
        ({"encoder": "intfloat/e5-base-v2", "pooling": "mean"}, "e5-base-v2-poolingmean"),
        ({"lexical": "tfidf", "dim": "64"}, "tfidf-dim64"),
        ({"shuffled": {"encoder": "minilm"}}, "shuffled-minilm"),
        ({"gaussian": {"lexical": "tfidf"}, "seed": 7}, "gaussian-tfidf-seed7"),
        ({"fused": [{"encoder": "minilm"}, {"of": {"cooccurrence": "ppmi"}, "transform": ["center"]}]}, "minilm+ppmi"),
        ({"store": "stores/{dataset}", "made_by": "me"}, "dataset"),
    ],
)
def test_a_card_is_called_after_its_source_and_the_settings_given(source: dict[str, Any] | None, name: str) -> None:
    assert name_of(source) == name


def test_long_names_are_cut_and_still_differ() -> None:
    names = {name_of({"encoder": "minilm", "prompt": "a sentence " * 20 + end}) for end in ("one", "two")}
    assert len(names) == 2 and all(len(name) <= 67 for name in names)
