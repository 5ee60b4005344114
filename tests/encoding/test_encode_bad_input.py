"""What the stage refuses, and what its message says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from encode_runs import Encoded, run
from tiny_models import write_items

from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.errors import ConfigurationError, EncoderError, SourceDataError, StoreError
from recbole_ext.store import ItemEmbeddingStore


def test_a_missing_item_file_is_named(tmp_path: Path, tiny_bert: Path) -> None:
    with pytest.raises(SourceDataError, match=r"tiny/tiny\.item: no such file.*recbole-ext convert"):
        run(tmp_path, tiny_bert, tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_without_any_text_is_refused(tmp_path: Path, tiny_bert: Path) -> None:
    data_path = write_items(tmp_path / "data", [("a", "", "acme"), ("b", "", "")])
    with pytest.raises(SourceDataError, match=r"no item has any text with the template \['{title}'\]"):
        run(data_path, tiny_bert, tmp_path / "store", template=["{title}"])


def test_items_without_text_are_reported(data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    made = run(data_path, tiny_bert, tmp_path / "store")
    assert "items without text, which get no vector: 1" in made.lines()[2]
    assert ItemEmbeddingStore.load(tmp_path / "store").rows(["d"]).tolist() == [-1]


def test_an_unknown_template_field_is_refused(data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="colour"):
        run(data_path, tiny_bert, tmp_path / "store", template=["{colour}"])


def test_an_unknown_encoder_is_refused_before_anything_is_written(data_path: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="nowhere"):
        run(data_path, tmp_path / "nowhere", tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_something_else_in_the_place_of_the_store_is_left_alone_before_any_work(
    data_path: Path, tiny_bert: Path, tmp_path: Path, encoded: Encoded
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").write_text("all my work")
    with pytest.raises(StoreError, match="is no item embedding store"):
        run(data_path, tiny_bert, tmp_path / "store")
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["thesis.tex"]
    assert encoded.texts == []


def test_something_else_in_the_place_of_the_partial_folder_is_left_alone(
    data_path: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "thesis.tex").write_text("all my work")
    with pytest.raises(StoreError, match=r"store\.partial is needed"):
        run(data_path, tiny_bert, tmp_path / "store")
    assert (tmp_path / "store.partial" / "thesis.tex").exists()


def test_an_encoder_that_overflows_is_refused_and_the_text_named(
    data_path: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    def overflow(model: Any, texts: list[str], **options: Any) -> torch.Tensor:
        return torch.tensor([[torch.inf if text.startswith("blue") else 0.0] for text in texts])

    monkeypatch.setattr(SentenceTransformer, "encode", overflow)
    with pytest.raises(EncoderError, match="NaN or infinite.*'blue car with a roof"):
        run(data_path, tiny_bert, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"batch_size": 0}, "batch_size: .*got 0"),
        ({"shard_size": -1}, "shard_size: .*got -1"),
        ({"pooling": "max"}, "pooling: one of cls, mean or last is needed; got 'max'"),
        ({"precision": "int8"}, "precision: one of float32, float16 or bfloat16 is needed; got 'int8'"),
        ({"layers": True}, "layers: yes and no mean nothing"),
        ({"drop": [2.1]}, "drop"),
        ({"prompt": "a", "prompt_name": "b"}, "prompt and prompt_name exclude each other"),
        ({"batchsize": 3}, "batchsize: unknown key"),
        ({"devices": []}, "devices: the list is empty"),
        ({"devices": ["abacus"]}, "devices: 'abacus'"),
        ({"devices": ["cuda:99"]}, "devices: 'cuda:99'"),
    ],
)
def test_an_option_out_of_range_is_named(
    option: dict[str, Any], message: str, data_path: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run(data_path, tiny_bert, tmp_path / "store", **option)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("name", ["minilmm", "miniLM", "all-MiniLM"])
def test_a_slip_in_the_embedded_encoder_s_name_is_answered_with_it(
    data_path: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def offline(*_: Any, **__: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", offline)
    with pytest.raises(EncoderError, match=r"Did you mean 'minilm', the embedded encoder"):
        run(data_path, name, tmp_path / "store")


@pytest.mark.parametrize("name", ["minilmm", "minlm", "MiniLM"])
def test_a_slip_in_it_is_answered_without_asking_hugging_face(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", asked)
    with pytest.raises(EncoderError, match="Did you mean 'minilm'"):
        resolve_encoder(name)


def test_loading_an_encoder_draws_no_bar(
    data_path: Path, tiny_bert: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    run(data_path, tiny_bert, tmp_path / "store")
    assert "Loading weights" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled()


@pytest.mark.parametrize("max_tokens", [1, 2])
def test_no_more_tokens_than_the_tokenizer_puts_around_a_text_are_refused(
    max_tokens: int, data_path: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=rf"max_tokens: {max_tokens} .* reads 3 to 64 tokens, of which 2 are"):
        run(data_path, tiny_bert, tmp_path / "store", max_tokens=max_tokens)
    run(data_path, tiny_bert, tmp_path / "store", max_tokens=3)


def test_an_encoder_that_gives_all_texts_the_same_vector_is_refused_and_nothing_is_left(
    data_path: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match="one and the same vector for all 5 different texts.*shorten the prompt"):
        run(data_path, tiny_bert, tmp_path / "store", prompt="abcdefgh", max_tokens=6)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
