"""A tiny dataset and RecBole models on it, for every test that needs real RecBole."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import yaml
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny, and pytest's workers share the cores
import torch  # noqa: E402

from recbole_ext.encoders.source import _hub_encoder, _unreachable, resolve_encoder

LEAVE_ONE_OUT: dict[str, Any] = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "rank_seen_items": True,
    "metrics": ["Recall", "NDCG", "MRR"],
    "valid_metric": "NDCG@10",
    "metric_decimal_place": 8,
    "eval_batch_size": 512,
    "MAX_ITEM_LIST_LENGTH": 50,
}


@pytest.fixture(scope="session")
def atomic_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data_path`` of the made-up datasets ``tiny`` and ``rich``.

    ``tiny``: 40 users with 5 to 30 of 60 items, titles for all. ``rich``: the same interactions with ratings, features
    of users and items, a knowledge graph, and vectors of its entities and relations, 16 wide.
    """
    folder = tmp_path_factory.mktemp("atomic")
    (folder / "tiny").mkdir()
    draw = random.Random(7)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(40):
        items = draw.sample(range(60), draw.randint(5, 30))
        lines += [f"u{user}\ti{item}\t{time}" for time, item in enumerate(items)]
    (folder / "tiny" / "tiny.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    titles = ["item_id:token\ttitle:token_seq", *(f"i{item}\tthing number {item}" for item in range(60))]
    (folder / "tiny" / "tiny.item").write_text("\n".join(titles) + "\n", encoding="utf-8")
    _write_rich(folder / "rich", lines[1:])
    return folder


def _write_rich(folder: Path, interactions: list[str]) -> None:
    draw = random.Random(8)

    def vector() -> str:
        return " ".join(f"{draw.gauss(0, 1):.4f}" for _ in range(16))

    files = {
        "inter": ["user_id:token\titem_id:token\ttimestamp:float\trating:float"],
        "user": ["user_id:token\tage:token", *(f"u{user}\t{20 + user % 7}" for user in range(40))],
        "item": ["item_id:token\tclass:token_seq\tyear:token"],
        "kg": ["head_id:token\trelation_id:token\ttail_id:token"],
        "link": ["item_id:token\tentity_id:token", *(f"i{item}\te{item}" for item in range(60))],
        "ent": ["ent_id:token\tent_emb:float_seq", *(f"e{item}\t{vector()}" for item in range(60))],
        "rel": ["rel_id:token\trel_emb:float_seq", *(f"r{relation}\t{vector()}" for relation in range(3))],
    }
    files["inter"] += [f"{line}\t{draw.randint(1, 5)}" for line in interactions]
    files["item"] += [f"i{item}\tc{item % 5} c{item % 3}\t{1990 + item % 4}" for item in range(60)]
    files["kg"] += [f"e{item}\tr{item % 3}\te{(item * 7 + step) % 80}" for item in range(60) for step in (1, 2, 3)]
    folder.mkdir()
    for kind, lines in files.items():
        (folder / f"rich.{kind}").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def build(atomic_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SimpleNamespace]:
    """``build(model, dataset="tiny", **config)``: config, loaders and a freshly initialised model."""
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole.utils import init_seed

    from recbole_ext.models import recbole_config
    from recbole_ext.training import load

    checkpoints = tmp_path_factory.mktemp("checkpoints")

    def build(model: str, dataset: str = "tiny", **settings: Any) -> SimpleNamespace:
        defaults = {
            **LEAVE_ONE_OUT,
            "data_path": str(atomic_folder),
            "checkpoint_dir": str(checkpoints),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "train_neg_sample_args": None,
            "show_progress": False,
            "hidden_size": 16,
            "embedding_size": 16,
            "inner_size": 32,
            "topk": [5, 10],
            "epochs": 2,
        }
        config = recbole_config(model, dataset, {**defaults, **settings})
        init_seed(config["seed"], True)
        loaders = load(config)
        init_seed(config["seed"], True)
        built = config.model_class(config, loaders.train._dataset)
        return SimpleNamespace(
            config=config, loaders=loaders, model=built, dataset=loaders.dataset, checkpoint=checkpoints / "best.pth"
        )

    return build


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    # A machine that has too little room for the encoder itself names a folder with its tokenizer.
    folder = os.environ.get("RECBOLE_EXT_TEST_TOKENIZER") or resolve_encoder("minilm").location
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="session")
def tiny_encoders(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> dict[str, Path]:
    """Folders of a ``bert``, ``roberta``, ``modernbert``, ``longformer`` and ``gpt2``, 2 layers of width 32."""
    from transformers import (
        BertConfig,
        BertModel,
        GPT2Config,
        GPT2Model,
        LongformerConfig,
        LongformerModel,
        ModernBertConfig,
        ModernBertModel,
        RobertaConfig,
        RobertaModel,
    )

    torch.manual_seed(0)
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": 300,
    }
    models = {
        "bert": BertModel(BertConfig(**common)),
        "roberta": RobertaModel(RobertaConfig(**common, type_vocab_size=1)),
        "modernbert": ModernBertModel(ModernBertConfig(**common, cls_token_id=101, sep_token_id=102)),
        "longformer": LongformerModel(LongformerConfig(**common, attention_window=8, type_vocab_size=1)),
        "gpt2": GPT2Model(GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=300)),
    }
    folder = tmp_path_factory.mktemp("encoders")
    for name, model in models.items():
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:  # biases and norms: zeros and ones would hide mistakes
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return {name: folder / name for name in models}


@pytest.fixture
def no_room() -> Callable[[int], AbstractContextManager[None]]:
    """``with no_room(size)``: every file that this process writes ends after ``size`` bytes, as on a full disk."""

    @contextmanager
    def no_room(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return no_room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """``small_disk(kilobytes)`` mounts an empty disk of that size; skips where this user may not mount one."""
    folder = tmp_path / "small disk"

    def mount(kilobytes: int) -> Path:
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a disk of a few kilobytes needs the right to mount one (root on Linux)")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


TINY: dict[str, Any] = {
    "name": "trial",
    "datasets": ["tiny"],
    "models": {"SASRec": {"hidden_size": 16, "inner_size": 32, "n_layers": 1}},
    "initialisations": {"random": {}},
    "seeds": [1],
    "config": {"epochs": 2, "train_batch_size": 256, "topk": [1, 5, 10], "show_progress": False, "use_gpu": False},
}


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory, atomic_folder: Path) -> Callable[..., Path]:
    """``described(folder, **keys)`` writes a benchmark file that keeps all it makes below ``folder``."""

    def described(folder: Path, **keys: Any) -> Path:
        own = {
            "data_path": str(atomic_folder),
            "dataset_configs": str(folder / "configs"),
            "results": str(folder / "results"),
            "artifacts": str(folder / "artifacts"),
        }
        path = folder / "benchmark.yaml"
        path.write_text(yaml.safe_dump({**TINY, **own, **keys}, sort_keys=False), encoding="utf-8")
        return path

    return described


@pytest.fixture(scope="session")
def store_of() -> Callable[..., Path]:
    """``store_of(items, path)`` saves a store of random vectors, 16 wide."""
    import torch

    from recbole_ext.store import ItemEmbeddingStore

    def store_of(items: list[str], path: Path, seed: int = 0) -> Path:
        vectors = torch.randn(len(items), 16, generator=torch.Generator().manual_seed(seed))
        ItemEmbeddingStore(vectors, items, {}).save(path)
        return path

    return store_of


@pytest.fixture
def own_data(atomic_folder: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that a test may change."""
    return Path(shutil.copytree(atomic_folder, tmp_path / "data"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the Hub answers: a commit, all it says, or an exception to raise; unknown names aren't found. Its cache is
    empty, and it has the files of the folders that ``folders`` holds by name."""
    answers: dict[str, Any] = {"asked": [], "folders": {}}

    def model_info(self: Any, name: str, **kwargs: Any) -> SimpleNamespace:
        answers["asked"].append(name)
        answer = answers.get(name, answers.get("*"))
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise RepositoryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]
        return answer if isinstance(answer, SimpleNamespace) else SimpleNamespace(id=name, sha=answer)

    def download(name: str, file: str, **kwargs: Any) -> str:
        folder = answers["folders"].get(name)
        if folder is None or not (folder / file).is_file():
            raise EntryNotFoundError(f"{name} has no {file}")
        return str(folder / file)

    _hub_encoder.cache_clear()  # a name's commit is asked for once in a process
    _unreachable.clear()
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return answers
