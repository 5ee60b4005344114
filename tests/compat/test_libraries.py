"""What RecBole asks of numpy and scipy and newer ones no longer have."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import dok_matrix

from recbole_ext.compat import make_recbole_work
from recbole_ext.compat.libraries import restore_numpy_names, silence_deprecations

Build = Callable[..., SimpleNamespace]
NAMES = ["bool", "int", "long", "float", "float_", "complex_", "object", "unicode_"]


@pytest.fixture
def numpy_without_old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy as it will be: none of the names, whatever this version still has and RecBole has set."""
    for name in NAMES:
        monkeypatch.setitem(np.__dict__, name, None)
        monkeypatch.delitem(np.__dict__, name)


@pytest.mark.usefixtures("numpy_without_old_names")
def test_a_config_is_made_on_a_numpy_without_the_old_names(build: Build) -> None:
    restore_numpy_names()
    assert build("SASRec").config["model"] == "SASRec"


@pytest.mark.usefixtures("numpy_without_old_names")
@pytest.mark.parametrize("name", NAMES)
def test_numpy_has_the_names_that_recbole_uses_before_its_first_config(name: str) -> None:
    with pytest.raises(AttributeError):
        getattr(np, name)
    restore_numpy_names()
    assert np.zeros(2, dtype=getattr(np, name)).shape == (2,)


def test_nobody_is_warned_of_what_only_recbole_can_change(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from recbole_ext.runs.trial import try_recbole; "
    code += "print(try_recbole(Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    warned = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert warned == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="before 3.12 nobody is warned of it")
@pytest.mark.parametrize(("package", "warnings_shown"), [("recbole", 0), ("recbole_ext", 1)])
def test_nobody_is_warned_of_escapes_in_recbole_s_docstrings(package: str, warnings_shown: int) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        silence_deprecations()
        compile(r"'\p'", f"/site-packages/{package}/model/dien.py", "exec")
    assert len(shown) == warnings_shown


def test_names_that_numpy_has_are_left_alone() -> None:
    before = {name: getattr(np, name) for name in ("float64", "bool_", "str_")}
    restore_numpy_names()
    assert {name: getattr(np, name) for name in before} == before


def test_a_dok_matrix_takes_a_dict_of_entries() -> None:
    make_recbole_work()
    matrix = dok_matrix((2, 3), dtype=np.float32)
    matrix._update({(0, 1): 1, (1, 2): 2})
    assert matrix.toarray().tolist() == [[0, 1, 0], [0, 0, 2]]


@pytest.mark.parametrize("name", ["LightGCN", "NGCF", "GCMC", "SpectralCF", "NCL"])
def test_a_model_of_the_interaction_graph_is_built(build: Build, name: str) -> None:
    """KGIN and MCCLK fill their graph in the same way, but need torch-scatter."""
    pairs = {"distribution": "uniform", "sample_num": 1, "dynamic": False}
    built = build(name, train_neg_sample_args=pairs)
    users, items = built.dataset.user_num, built.dataset.item_num
    interactions = built.loaders.train._dataset.inter_matrix().toarray()
    graph = np.block([[np.zeros((users, users)), interactions], [interactions.T, np.zeros((items, items))]])
    if name == "LightGCN":
        degree = (graph > 0).sum(axis=1) + 1e-7
        expected = graph / np.sqrt(degree[:, None] * degree[None, :])
        assert built.model.norm_adj_matrix.to_dense().cpu().numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a process with threads be forked")
def test_workers_of_loaders_work_whatever_the_python_starts_processes_by(build: Build) -> None:
    """Python 3.14 by a fork server, earlier ones by forking."""
    method = multiprocessing.get_start_method()
    multiprocessing.set_start_method("forkserver", force=True)
    try:
        loaders = build("SASRec", worker=1).loaders
        assert [len(list(loader)) for loader in (loaders.valid, loaders.test)] == [1, 1]
    finally:
        multiprocessing.set_start_method(method, force=True)
