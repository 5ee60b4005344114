"""How an encoder may be told to read: prompts, averaged layers, fewer dimensions, adapters, GGUF files."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from test_encoder import last_hidden_states

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.bases import check_base
from recbole_ext.encoders.source import ResolvedEncoder, width_here
from recbole_ext.encoding import EncodingSettings, load_encoder, resolve_encoder
from recbole_ext.encoding.encoder import encoding_options
from recbole_ext.errors import ConfigurationError, EncoderError
from recbole_ext.vectors.encoder import Encoder

TEXTS = ["a red car", "the lake"]


def encoded(folder: Path, texts: list[str] = TEXTS, adapter: Path | None = None, **given: Any) -> torch.Tensor:
    settings = EncodingSettings(**given)
    model = load_encoder(resolve_encoder(str(folder), str(adapter) if adapter else None), settings, "cpu")
    vectors = model.encode(texts, convert_to_tensor=True, **encoding_options(model, settings))
    return torch.as_tensor(vectors).clone()


@pytest.fixture
def with_prompts(tiny_bert: Path, tmp_path: Path) -> Path:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_bert), device="cpu", prompts={"query": "find ", "item": "show "})
    model.save_pretrained(str(tmp_path / "prompted"), create_model_card=False)
    return tmp_path / "prompted"


# --- prompts ---


def test_a_prompt_stands_before_every_text(tiny_bert: Path) -> None:
    expected = encoded(tiny_bert, ["show " + text for text in TEXTS])
    torch.testing.assert_close(encoded(tiny_bert, prompt="show "), expected)
    assert not torch.allclose(encoded(tiny_bert), expected)


@pytest.mark.parametrize("pooling", [None, "mean"])
def test_an_encoders_own_prompt_is_named(with_prompts: Path, pooling: str | None) -> None:
    by_name = encoded(with_prompts, prompt_name="item", pooling=pooling)
    torch.testing.assert_close(by_name, encoded(with_prompts, prompt="show ", pooling=pooling))


def test_a_prompt_that_the_encoder_does_not_have_is_refused_and_its_own_are_listed(
    with_prompts: Path, tiny_bert: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"no prompt 'itm'; it has query, item"):
        encoded(with_prompts, prompt_name="itm")
    for name in ("item", "query"):  # sentence-transformers has an empty prompt of this name for every model
        with pytest.raises(ConfigurationError, match="it has no prompt of its own"):
            encoded(tiny_bert, prompt_name=name)


# --- layers and width ---


def hidden_states(folder: Path, text: str) -> tuple[torch.Tensor, ...]:
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        return AutoModel.from_pretrained(folder).eval()(**tokens, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("layers", [(1, 2), (0, -1), (2,), (0, 1, 2)])
def test_several_layers_are_averaged_before_pooling(tiny_bert: Path, layers: tuple[int, ...]) -> None:
    for pooling in ("mean", None):
        got = encoded(tiny_bert, average_layers=layers, pooling=pooling)
        expected = [
            torch.stack([hidden_states(tiny_bert, text)[layer][0] for layer in layers]).mean(0).mean(0)
            for text in TEXTS
        ]
        torch.testing.assert_close(got, torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_layers_that_are_cut_off_are_not_averaged(tiny_bert: Path) -> None:
    torch.testing.assert_close(
        encoded(tiny_bert, layers=1, average_layers=(0, 1)), encoded(tiny_bert, average_layers=(0, 1))
    )
    with pytest.raises(ConfigurationError, match="there is no layer 2; the encoder has 1"):
        encoded(tiny_bert, layers=1, average_layers=(2,))


def test_fewer_dimensions_are_the_first_ones(tiny_bert: Path) -> None:
    torch.testing.assert_close(encoded(tiny_bert, dim=7), encoded(tiny_bert)[:, :7])


def test_what_is_published_at_unit_length_has_it_again_when_cut() -> None:
    cut = encoded(Path("minilm"), dim=64)
    torch.testing.assert_close(cut.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(cut, torch.nn.functional.normalize(encoded(Path("minilm"))[:, :64]))


def test_a_width_above_the_encoders_is_refused(tiny_bert: Path) -> None:
    with pytest.raises(ConfigurationError, match="dim: 33 is more than the width of encoder .*, 32"):
        encoded(tiny_bert, dim=33)


def test_the_width_is_known_without_loading(tiny_encoders: dict[str, Path], tiny_bert: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    assert [width_here(str(folder), whole=True) for folder in tiny_encoders.values()] == [32] * 5
    assert width_here("minilm", whole=True) == 384
    assert width_here(str(tmp_path / "nowhere"), whole=True) is None
    model = SentenceTransformer(str(tiny_bert), device="cpu")
    projected = SentenceTransformer(modules=[*model, Dense(32, 5)], device="cpu")
    projected.save_pretrained(str(tmp_path / "dense"), create_model_card=False)
    assert width_here(str(tmp_path / "dense"), whole=True) == 5 == encoded(tmp_path / "dense").shape[1]
    assert width_here(str(tmp_path / "dense"), whole=False) == 32
    averaged = encoded(tmp_path / "dense", average_layers=(1, 2))
    unread = Dataset.named("unread", tmp_path, configs=tmp_path)
    source = Encoder(encoder=str(tmp_path / "dense"), average_layers=(1, 2))
    assert source.width(unread) == 5 == averaged.shape[1], "only another pooling takes modules out"
    cases: list[tuple[dict[str, Any], int]] = [
        ({"objective": "pairs"}, 5),
        ({"objective": "pairs", "pooling": "mean"}, 32),
        ({"objective": "pairs", "after": {"objective": "pairs", "sources": ["a"], "pooling": "cls"}}, 32),
        ({"objective": "mlm"}, 32),
    ]
    for settings, width in cases:
        tuned = Encoder.checked({"encoder": str(tmp_path / "dense"), "tune": {**settings, "sources": ["a"]}}, "test")
        assert tuned.width(unread) == width, settings


# --- code that comes with a model ---


def test_code_that_comes_with_an_encoder_runs_only_when_the_user_says_so(tiny_bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "custom"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own-bert", "architectures": ["OwnBert"]}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnBert"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(
        "from pathlib import Path\n"
        "from transformers import BertConfig, BertModel\n"
        f"Path({str(tmp_path / 'it-ran')!r}).touch()\n"
        "class OwnConfig(BertConfig):\n    model_type = 'own-bert'\n"
        "class OwnBert(BertModel):\n    config_class = OwnConfig\n"
    )
    with pytest.raises(EncoderError, match="comes with Python code of its own.*set trust_remote_code"):
        encoded(folder)
    assert not (tmp_path / "it-ran").exists()
    torch.testing.assert_close(encoded(folder, trust_remote_code=True), encoded(tiny_bert))
    assert (tmp_path / "it-ran").exists()


# --- adapters ---


def lora(base: Path, folder: Path, name: str | None = None) -> Path:
    """A random LoRA adapter of the encoder in ``base``."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    torch.manual_seed(1)
    config = peft.LoraConfig(target_modules=["query", "value"], init_lora_weights=False)
    peft.get_peft_model(AutoModel.from_pretrained(base), config).save_pretrained(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": name or str(base)}))
    return folder


def test_an_adapter_changes_the_vectors_as_peft_does(tiny_bert: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModel, AutoTokenizer

    adapter = lora(tiny_bert, tmp_path / "adapter")
    model = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(tiny_bert), adapter).eval()
    tokens = AutoTokenizer.from_pretrained(tiny_bert)(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        expected = model(**tokens).last_hidden_state[0].mean(0)
    torch.testing.assert_close(encoded(tiny_bert, adapter=adapter)[0], expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(encoded(tiny_bert)[0], expected, atol=1e-2)
    assert resolve_encoder(str(tiny_bert), str(adapter)).identity != resolve_encoder(str(tiny_bert)).identity


def test_an_adapter_of_another_base_is_refused(tiny_bert: Path, tiny_encoders: dict[str, Path], tmp_path: Path) -> None:
    adapter = lora(tiny_bert, tmp_path / "adapter", name="org/another-bert")
    with pytest.raises(EncoderError, match="is one of org/another-bert, and the encoder is"):
        encoded(tiny_bert, adapter=adapter)
    for name in ("gpt2", "bert"):
        other = lora(tiny_bert, tmp_path / f"of-{name}", name=str(tiny_encoders[name]))
        if name == "gpt2":
            with pytest.raises(EncoderError, match="one of another base, or damaged"):
                encoded(tiny_encoders[name], adapter=other)


def of_base(folder: Path, base: str | None) -> ResolvedEncoder:
    """An adapter that names this base; its weights are not looked at."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return resolve_encoder("minilm", str(folder)).adapter  # type: ignore[return-value]


def on_the_hub(name: str) -> ResolvedEncoder:
    return ResolvedEncoder(name, name, revision="abc")


def test_full_names_of_hugging_face_are_compared_whole(hub: dict[str, Any], tmp_path: Path) -> None:
    hub["renamed/model"] = SimpleNamespace(id="org/model", sha="abc")
    check_base(of_base(tmp_path / "same", "org/model"), on_the_hub("org/model"))
    check_base(of_base(tmp_path / "earlier", "renamed/model"), on_the_hub("org/model"))
    check_base(of_base(tmp_path / "packaged", "sentence-transformers/all-MiniLM-L6-v2"), resolve_encoder("minilm"))
    for base, own in [("other/model", "org/model"), ("org/model-v2", "org/model"), ("bert-large", "google/bert-base")]:
        with pytest.raises(EncoderError, match=f"is one of {base}, and the encoder is '{own}'"):
            check_base(of_base(tmp_path / "other", base), on_the_hub(own))
    with pytest.raises(EncoderError, match="is one of somebody/all-MiniLM-L6-v2"):
        check_base(of_base(tmp_path / "other", "somebody/all-MiniLM-L6-v2"), resolve_encoder("minilm"))


def test_an_adapter_on_the_hub_is_asked_for_its_base_by_its_commit(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = []

    def download(name: str, file: str, **how: Any) -> str:
        asked.append((name, file, how))
        if name == "org/no-adapter":
            raise OSError("404")
        return str(Path(of_base(tmp_path / "cached", "other/model").location) / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    adapter = ResolvedEncoder("org/lora", "org/lora", revision="abc", offline=True)
    with pytest.raises(EncoderError, match="'org/lora' is one of other/model, and the encoder is 'org/model'"):
        check_base(adapter, on_the_hub("org/model"))
    assert asked == [("org/lora", "adapter_config.json", {"revision": "abc", "local_files_only": True})]
    with pytest.raises(EncoderError, match=r"'org/no-adapter': its adapter_config.json can't be had"):
        check_base(on_the_hub("org/no-adapter"), on_the_hub("org/model"))


def test_of_a_folder_its_weights_or_its_origin_prove_the_base_and_a_name_alone_is_told(
    hub: dict[str, Any],
    tiny_bert: Path,
    tiny_encoders: dict[str, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    source = resolve_encoder(str(folder))
    check_base(of_base(tmp_path / "a", str(tiny_bert)), source)  # other names, the same weights
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": "org/model"}))
    check_base(of_base(tmp_path / "a", "org/model"), source)
    assert caplog.messages == []
    with pytest.raises(EncoderError, match="is one of other/model"):
        check_base(of_base(tmp_path / "a", "other/model"), source)
    other = Path(shutil.copytree(tiny_encoders["bert"], tmp_path / "elsewhere" / "model"))
    with pytest.raises(EncoderError, match="is one of .*elsewhere/model"):
        check_base(of_base(tmp_path / "a", str(other)), source)
    check_base(of_base(tmp_path / "a", "/gone/model"), source)
    check_base(of_base(tmp_path / "a", None), source)
    assert "nothing but the name says" in caplog.messages[0] and "doesn't say which base" in caplog.messages[1]
    assert hub["asked"] == []


def test_a_folder_that_holds_no_adapter_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"has no adapter_config\.json"):
        encoded(tiny_bert, adapter=tmp_path)


def test_without_peft_an_adapter_says_how_to_get_it(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (tmp_path / "adapter_config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setitem(sys.modules, "peft.tuners.tuners_utils", None)
    with pytest.raises(EncoderError, match="pip install peft"):
        encoded(tiny_bert, adapter=tmp_path)


# --- GGUF ---


def test_several_gguf_files_in_a_folder_have_to_be_told_apart(tmp_path: Path) -> None:
    for name in ("one.gguf", "two.gguf"):
        (tmp_path / name).write_bytes(name.encode())
    with pytest.raises(EncoderError, match=r"one\.gguf, two\.gguf.*name one"):
        resolve_encoder(str(tmp_path))
    one, two = (resolve_encoder(str(tmp_path / name)) for name in ("one.gguf", "two.gguf"))
    assert one.gguf_file == "one.gguf" and one.identity != two.identity
    (tmp_path / "two.gguf").unlink()
    assert resolve_encoder(str(tmp_path)).gguf_file == "one.gguf"


def test_what_is_read_beside_a_gguf_file_identifies_the_encoder_and_other_files_do_not(tmp_path: Path) -> None:
    (tmp_path / "one.gguf").write_bytes(b"weights")
    found = [resolve_encoder(str(tmp_path / "one.gguf")).identity]
    assert found == [f"sha256:{hashlib.sha256(b'weights').hexdigest()}"]
    for name in ("two.gguf", "README.txt", "whole/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("something else", encoding="utf-8")
    assert resolve_encoder(str(tmp_path / "one.gguf")).identity == found[0]
    for name, content in [
        ("config_sentence_transformers.json", '{"default_prompt_name": "item"}'),
        ("modules.json", '[{"path": "", "type": "Transformer"}, {"path": "1_Pooling", "type": "Pooling"}]'),
        ("1_Pooling/config.json", '{"pooling_mode_cls_token": true}'),
        ("1_Pooling/config.json", '{"pooling_mode_cls_token": false}'),
    ]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
        found.append(resolve_encoder(str(tmp_path / "one.gguf")).identity)
    assert len({*found}) == 5


def test_modules_beside_a_gguf_file_that_are_no_list_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one.gguf").write_bytes(b"weights")
    (tmp_path / "modules.json").write_text('["1_Pooling"]', encoding="utf-8")
    with pytest.raises(EncoderError, match=r"modules\.json: not a list of modules"):
        resolve_encoder(str(tmp_path / "one.gguf"))


def test_a_file_that_is_no_gguf_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF nonsense")
    with pytest.raises(EncoderError, match="broken.gguf.*pip install gguf|can't be loaded"):
        load_encoder(resolve_encoder(str(tmp_path / "broken.gguf")), device="cpu")


def test_a_gguf_model_gives_the_vectors_of_its_weights(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    from gguf_models import write_tiny_llama

    folder = write_tiny_llama(gguf, tmp_path)
    got = encoded(tmp_path / "tiny.gguf", ["a b", "c"], pooling="last")
    expected = torch.stack([last_hidden_states(folder, text)[-1] for text in ("a b", "c")])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)
