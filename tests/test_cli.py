"""The commands from end to end on a tiny dataset, and what a user's mistake looks like."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from recbole_ext import __version__
from recbole_ext.cli import build_parser, main
from recbole_ext.records import RunRecord

BENCHMARK: dict[str, Any] = {
    "name": "trial",
    "datasets": ["tiny"],
    "models": {"SASRec": {"hidden_size": 16, "inner_size": 16, "n_layers": 1}},
    "initialisations": {"random": {}, "bert": {"encoder": "bert", "transform": ["center"], "template": ["{title}"]}},
    "seeds": [1],
    "config": {"epochs": 3, "topk": [1, 5, 10], "use_gpu": False, "show_progress": False},
    "note": "Made-up people like made-up things.",
}


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def call(*arguments: str) -> SimpleNamespace:
    """Exit code, standard output and standard error of ``recbole-ext`` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else 1
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


def process(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)


def save_tiny_bert(folder: Path) -> None:
    """A randomly initialised BERT, 16 wide, with a tokenizer of letters and digits."""
    import string

    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    letters = [prefix + letter for letter in string.ascii_lowercase + string.digits for prefix in ("", "##")]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    BertTokenizer(vocab={token: number for number, token in enumerate(vocabulary)}).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, **sizes)).save_pretrained(folder)


def write_source(folder: Path) -> None:
    """30 users with 6 of 20 items each, as CSV."""
    folder.mkdir()
    with (folder / "interactions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        rows.writerows((f"u{user}", f"i{(user * 7 + step) % 20}", step) for user in range(30) for step in range(6))
    with (folder / "items.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title"])
        rows.writerows((f"i{item}", f'thing "{item}') for item in range(20))


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The whole road: convert, encode, plan, run, report, run again; each command's outcome, and the folder of all."""
    folder = tmp_path_factory.mktemp("road")
    write_source(folder / "source")
    save_tiny_bert(folder / "bert")
    (folder / "benchmark.yaml").write_text(yaml.safe_dump(BENCHMARK, sort_keys=False))
    with working_in(folder):
        done = SimpleNamespace(folder=folder)
        done.convert = call("convert", "source", "--format", "csv", "--name", "tiny")
        done.encode = call("encode", "tiny", "--encoder", "bert", "--out", "store", "--template", "{title}")
        done.plan = call("run", "benchmark.yaml", "--epochs=1", "--plan")
        done.run = call("run", "benchmark.yaml", "--epochs=1", f"--data_path={Path.cwd() / 'artifacts' / 'data'}")
        done.report = call("report", "runs/trial")
        done.again = process(folder, "-m", "recbole_ext", "run", "benchmark.yaml", "--epochs=1")
    return done


def test_convert_writes_atomic_files_and_says_what_it_kept(road: SimpleNamespace) -> None:
    assert road.convert.code == 0
    assert "30" in road.convert.out
    lines = (road.folder / "artifacts" / "data" / "tiny" / "tiny.inter").read_text().splitlines()
    assert lines[0] == "user_id:token\titem_id:token\ttimestamp:float"
    assert len(lines) == 1 + 30 * 6


def test_encode_writes_a_store(road: SimpleNamespace) -> None:
    from recbole_ext.store import ItemEmbeddingStore

    assert road.encode.code == 0
    assert "20 items, 16 dimensions" in road.encode.out
    store = ItemEmbeddingStore.load(road.folder / "store")
    assert sorted(store.items) == sorted(f"i{item}" for item in range(20))
    assert store.meta["request"]["template"] == ["{title}"]


def test_the_plan_names_every_step_and_runs_nothing(road: SimpleNamespace) -> None:
    assert road.plan.code == 0
    for words in ("store tiny", "encoder bert", "run tiny SASRec random full", "run tiny SASRec bert full", "report"):
        assert words in road.plan.out
    assert "Nothing is missing here." in road.plan.out and "Estimates for this machine" in road.plan.out


def test_run_prints_the_leaderboard_and_the_note(road: SimpleNamespace) -> None:
    assert road.run.code == 0
    for word in ("SASRec", "random", "bert", BENCHMARK["note"]):
        assert word in road.run.out


def test_run_records_the_command_and_obeys_it_without_machine_paths(road: SimpleNamespace) -> None:
    records = [RunRecord.read(path) for path in (road.folder / "runs/trial/runs").glob("*.json")]
    assert sorted(record.variant for record in records) == ["bert", "random"]
    for record in records:
        assert record.command.startswith("recbole-ext run benchmark.yaml --epochs=1")
        assert record.done.config["epochs"] == len(record.done.curve) == 1
        assert record.done.config["data_path"] == "artifacts/data/tiny"
        assert str(road.folder) not in json.dumps(record.done.config)


def test_where_everything_is_done_it_says_so_and_how_to_do_it_again(road: SimpleNamespace) -> None:
    assert road.again.returncode == 0
    assert "nothing to do" in road.again.stderr and "--results=FOLDER" in road.again.stderr
    assert road.again.stdout == road.report.out


def test_report_prints_what_run_printed(road: SimpleNamespace) -> None:
    assert road.report.code == 0
    assert road.report.out.strip() in road.run.out
    written = {path.name for path in (road.folder / "runs" / "trial").iterdir()}
    assert {"runs", "grid.json", "leaderboard.csv", "leaderboard.md", "figures", "index.html"} <= written


def test_nothing_else_is_left_in_the_working_folder(road: SimpleNamespace) -> None:
    own = {"source", "bert", "benchmark.yaml", "store"}
    assert {path.name for path in road.folder.iterdir()} - own == {"artifacts", "runs"}


def test_a_command_that_has_nothing_to_do_loads_neither_torch_nor_recbole(road: SimpleNamespace) -> None:
    code = "import sys; from recbole_ext.cli import main; code = main(sys.argv[1:]); "
    code += "print(code, sorted({'torch', 'recbole.utils', 'matplotlib', 'sentence_transformers'} & set(sys.modules)))"
    again = ["encode", "tiny", "--encoder", "bert", "--out", "store", "--template", "{title}"]
    done = process(road.folder, "-c", code, *again)
    assert "up to date" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_the_template_comes_from_the_dataset_config(road: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text("item_text: ['A {title}']")
    with working_in(road.folder):
        done = call(
            "encode", "tiny", "--encoder", "bert", "--out", str(tmp_path / "s"), "--dataset-configs", str(tmp_path)
        )
    assert done.code == 0
    assert json.loads((tmp_path / "s" / "meta.json").read_text())["request"]["template"] == ["A {title}"]


def test_failed_runs_end_with_1_and_are_named(road: SimpleNamespace, tmp_path: Path) -> None:
    initialisations = {"random": {}, "wild": {"config": {"learning_rate": 1e30}}}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({**BENCHMARK, "initialisations": initialisations}))
    with working_in(road.folder):
        done = call("run", str(tmp_path / "b.yaml"), f"--results={tmp_path}")
    assert done.code == 1
    assert "failed: tiny-SASRec-wild-full" in done.out
    assert "nan" in done.out.lower()
    (finished,) = (tmp_path / "trial" / "runs").glob("*-random-*.json")
    assert RunRecord.read(finished).status == "done"


def test_a_report_of_benchmarks_of_which_one_has_none_ends_with_1(road: SimpleNamespace, tmp_path: Path) -> None:
    shutil.copytree(road.folder / "runs", tmp_path / "runs")
    assert call("report", str(tmp_path / "runs")).code == 0
    (tmp_path / "runs" / "unfinished").mkdir()
    grid = json.loads((tmp_path / "runs" / "trial" / "grid.json").read_text(encoding="utf-8"))
    (tmp_path / "runs" / "unfinished" / "grid.json").write_text(json.dumps(grid), encoding="utf-8")
    done = call("report", str(tmp_path / "runs"))
    assert done.code == 1
    assert "page: " in done.out and f"note: {tmp_path / 'runs' / 'unfinished'}: no report: " in done.out


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["run", "plan"])
def test_what_can_not_be_right_is_refused_by_run_and_plan_alike(
    road: SimpleNamespace, tmp_path: Path, plan: list[str]
) -> None:
    narrow = {"narrow": {"store": "store", "transform": [{"pca": 4}]}}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({**BENCHMARK, "initialisations": narrow}))
    with working_in(road.folder):
        done = call("run", str(tmp_path / "b.yaml"), f"--results={tmp_path}", *plan)
    assert done.code == 2
    assert "the vectors are 4 wide, the model's items 16" in done.err
    assert not (tmp_path / "trial").exists()


# --- paths ---

PATHS: dict[str, tuple[list[str], list[str]]] = {
    "convert": (["convert", "~/p", "--format=csv", "--name=x", "--out=~/p"], ["source", "out"]),
    "encode": (
        ["encode", "x", "--out=~/p", "--artifacts=~/p", "--data-path=~/p", "--dataset-configs=~/p"],
        ["out", "artifacts", "data_path", "dataset_configs"],
    ),
    "tune": (["tune", "x", "--out=~/p", "--checkpoint=~/p"], ["out", "checkpoint"]),
    "run": (["run", "~/p"], ["benchmark"]),
    "score": (
        ["score", "minilm", "--out=~/p", "--artifacts=~/p", "--published=~/p", "--suite=~/p"],
        ["out", "artifacts", "published", "suite"],
    ),
    "recommend": (
        ["recommend", "~/p", "--out=~/p", "--users-file=~/p", "--store=~/p", "--new-items=~/p", "--data-path=~/p"],
        ["record", "out", "users_file", "store", "new_items", "data_path"],
    ),
    "evaluate": (["evaluate", "x", "--benchmark=~/p", "--name=x"], ["benchmark"]),
    "export-split": (["export-split", "x", "--out=~/p"], ["out"]),
    "report": (["report", "~/p"], ["folder"]),
    "study": (["study", "layers", "~/p", "--out=~/p"], ["file", "out"]),
    "bench": (["bench", "--out=~/p"], ["out"]),
}


@pytest.mark.parametrize("command", PATHS)
def test_every_path_may_begin_with_the_home_folders_sign(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After ``--out=`` a shell leaves it as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments, names = PATHS[command]
    options = build_parser().parse_args(arguments)
    assert {name: getattr(options, name) for name in names} == dict.fromkeys(names, tmp_path / "p")


def test_the_home_folder_of_nobody_is_a_name_like_any_other() -> None:
    assert build_parser().parse_args(["report", "~no-such-user/x"]).folder == Path("~no-such-user/x")


# --- help ---


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["convert", "encode", "run", "report", "doctor", "--version"]),
        (["convert"], ["SOURCE", "--format", "--name", "--out", "lcrec", "csv"]),
        (
            ["encode"],
            ["DATASET", "--encoder", "--lexical", "--out", "--template", "--pooling", "--precision", "--devices"],
        ),
        (["tune"], ["DATASET", "--encoder", "--objective", "--out", "--mask-probability", "--held-out"]),
        (["run"], ["BENCHMARK.yaml", "--key=value", "embedded benchmark", "--plan"]),
        (["study"], ["STUDY.yaml", "cold-start"]),
        (["bench"], ["--dataset", "--repeats", "quality", "scale"]),
        (["recommend"], ["RUN", "--users", "--histories", "--new-items", "--topk"]),
        (["evaluate"], ["LISTS", "--benchmark", "--baseline"]),
        (["export-split"], ["BENCHMARK.yaml|DATASET", "--out"]),
        (["score"], ["ENCODER", "--suite", "quick, standard, full", "--lexical", "--shuffled", "--plan", "--name"]),
        (["report"], ["DIR", "results/encoders"]),
        (["doctor"], ["--help"]),
    ],
    ids=lambda value: value[0] if value and isinstance(value, list) else None,
)
def test_help_on_every_level(command: list[str], words: list[str]) -> None:
    done = call(*command, "--help")
    assert done.code == 0
    assert [word for word in words if word not in done.out] == []


def test_the_version_is_the_package_s() -> None:
    assert call("--version").out.strip() == __version__


# --- mistakes ---


def test_no_command_shows_what_there_is() -> None:
    done = call()
    assert done.code == 2
    assert "COMMAND" in done.err


MISTAKES = [
    (["convert", "nowhere", "--format", "csv", "--name", "x"], "nowhere"),
    (["convert", ".", "--format", "csv", "--name", "a/b"], "'a/b' can't name a dataset"),
    (["encode", "nothing", "--out", "s"], "nothing/nothing.item: no such file"),
    (["encode", "ml-100k", "--out", "s", "--encoder", "./nowhere"], "encoder './nowhere': there is no such folder"),
    (["encode", "ml-100k", "--out", "s", "--template", "{nonsense}"], "nonsense"),
    (["encode", "ml-100k", "--out", "s", "--batch-size", "0"], "batch_size: at least 1 is needed; got '0'"),
    (["run", "nothing.yaml"], "nothing.yaml: no such benchmark file"),
    (["run", "embedded.yaml", "--epoch=3"], "has no key 'epoch'. Did you mean 'epochs'?"),
    (["run", "embedded.yaml", "--epochs=many", "--plan"], "epochs: a whole number is needed; got 'many'"),
    (["run", "embedded.yaml", "--seed=3"], "'seed' is not set here but by `seeds` of the benchmark"),
    (["run", "embedded.yaml", "--epochs", "3"], "--epochs: overrides are written --key=value"),
    (["run", "embedded.yaml", "--models=[SASRek]"], "Did you mean 'SASRec'?"),
    (["recommend", "runs/nothing", "--out", "l.csv"], "runs/nothing: no such run. Give a record's path"),
    (["recommend", "x.json", "--out", "l.xlsx"], "--out l.xlsx: a table ends with .csv"),
    (["evaluate", "l.csv", "--benchmark", "nothing.yaml", "--name", "x"], "nothing.yaml: no such benchmark file"),
    (["evaluate", "l.csv", "--benchmark", "embedded.yaml", "--name", "x"], "l.csv: no such file"),
    (["evaluate", "l.csv", "--benchmark", "b.yaml", "--name", "x", "--baseline", "y"], "name model and initialisation"),
    (["export-split", "nothing", "--out", "s"], "nothing/nothing.inter: no such file"),
    (["report", "nowhere"], "nowhere: no such folder"),
    (["score", "minilm", "--suite", "quik"], "suite: quik: no such file. Name one of quick, standard, full"),
    (["score", "minilm", "--lexical", "tfidf"], "'minilm' and --lexical are two sources of item vectors"),
    (["score", "random", "--dim", "3"], "'dim' says nothing about random vectors"),
    (["score", "./nowhere"], "encoder './nowhere': there is no such folder"),
    (["score", "minilm", "--name", "a/b"], "'a/b' can't be part of a file name"),
    (["score", "minilm", "--name", "random"], "name: 'random' is an initialisation of the suite quick, version 1"),
    (["score", "minilm", "--dim", "999"], "dim: 999 is more than the width of encoder 'minilm', 384"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_ends_with_2_and_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.code == 2
    assert done.err.startswith("recbole-ext: ")
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "x", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["convert", ".", "--format", "nonsense", "--name", "x"], "invalid choice: 'nonsense'"),
        (["encode", "x"], "required: --out"),
        (["nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_a_mistake_in_the_options_shows_the_usage(arguments: list[str], message: str) -> None:
    done = call(*arguments)
    assert done.code == 2
    assert done.err.startswith("usage: ")
    assert message in done.err


@pytest.mark.parametrize("program", [["-m", "recbole_ext", "run"], ["run_benchmark.py"]], ids=" ".join)
def test_the_other_ways_to_call_it_are_the_same_program(program: list[str]) -> None:
    checkout = Path(__file__).resolve().parents[1]
    done = process(checkout, *program, "nothing.yaml", "--epochs=1")
    assert done.returncode == 2
    assert done.stderr == call("run", "nothing.yaml").err
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "the next call goes on from what is finished"),
        (OSError(28, "No space left on device", "x.json"), 2, "No space left on device: 'x.json'"),
    ],
)
def test_interruptions_end_without_a_stack_trace(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def interrupted(folder: Path) -> None:
        raise error

    monkeypatch.setattr("recbole_ext.report.folders.report_lines", interrupted)
    done = call("report", "x")
    assert done.code == code
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 1)])
def test_doctor_prints_its_findings_and_ends_by_them(monkeypatch: pytest.MonkeyPatch, works: bool, code: int) -> None:
    from recbole_ext.doctor import Finding

    monkeypatch.setattr("recbole_ext.doctor.examine", lambda: [Finding("a", True, "b"), Finding("c", works, "d")])
    done = call("doctor")
    assert (done.code, done.out.splitlines()) == (code, ["ok   a: b", f"{'ok  ' if works else 'FAIL'} c: d"])
