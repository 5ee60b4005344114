"""RaCT as one run."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from recbole_ext.errors import ConfigurationError


def test_a_critic_of_more_places_than_there_are_items_is_refused_by_key(build: Callable[..., SimpleNamespace]) -> None:
    settings = {"latent_dimension": 8, "mlp_hidden_size": [16]}
    with pytest.raises(ConfigurationError, match="metrics_k: RaCT's critic looks at the best 100 items, and tiny has"):
        build("RaCT", **settings)
    build("RaCT", metrics_k=10, **settings)
