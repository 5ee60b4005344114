"""Classes of a user's own: found by their path, and known by their code."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from recbole.evaluator.metrics import Recall

from recbole_ext.beyond_accuracy import Novelty
from recbole_ext.errors import ConfigurationError
from recbole_ext.named_classes import class_at, code_of_class


def test_a_class_is_known_by_the_code_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "mine_by_code.py"
    file.write_text("class Mine:\n    pass\n")
    found = class_at("mine_by_code.Mine", "metrics")
    before = code_of_class(found, "metrics")
    file.write_text("class Mine:\n    x = 1\n")
    assert before is not None and code_of_class(found, "metrics") != before


@pytest.mark.parametrize("found", [Recall, Novelty])
def test_recboles_and_this_package_s_classes_have_versions_instead(found: type) -> None:
    assert code_of_class(found, "metrics") is None


def test_a_class_without_a_file_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("in_no_file")
    exec("class Mine:\n    pass\n", module.__dict__)
    monkeypatch.setitem(sys.modules, "in_no_file", module)
    with pytest.raises(ConfigurationError, match="metrics: in_no_file.Mine: its code is in no file"):
        code_of_class(class_at("in_no_file.Mine", "metrics"), "metrics")


def test_an_unknown_class_is_answered_with_the_closest() -> None:
    with pytest.raises(ConfigurationError, match="has no class Recal.*Did you mean 'Recall'"):
        class_at("recbole.evaluator.metrics.Recal", "metrics")
