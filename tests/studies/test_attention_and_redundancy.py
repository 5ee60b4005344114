"""The studies that look into encoders: known answers on made-up maps, and real runs on tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.errors import ConfigurationError
from recbole_ext.recformer.encoder import load_behaviour_encoder
from recbole_ext.recformer.item_tokens import ItemTokens
from recbole_ext.studies import run_study
from recbole_ext.studies.attention import attention_shares
from recbole_ext.studies.reading import observe
from recbole_ext.studies.redundancy import LayerAlignment, head_distances
from recbole_ext.studies.settings import StudySettings, read_settings
from recbole_ext.studies.written import refuse_other_settings

ATTRIBUTES = [[("title", f"thing number {n}"), ("brand", "acme")] for n in range(8)]
SEQUENCES = [np.array([1, 2, 3]), np.array([4])]


@pytest.fixture(scope="module")
def batch(tokenizer: Any) -> dict[str, torch.Tensor]:
    return ItemTokens.of(ATTRIBUTES, tokenizer).batch(SEQUENCES)


def uniform(batch: dict[str, torch.Tensor], layers: int = 2, heads: int = 3) -> list[torch.Tensor]:
    inside = batch["attention_mask"].float()
    row = (inside / inside.sum(1, keepdim=True))[:, None, None, :]
    return [row.expand(-1, heads, inside.shape[1], -1)] * layers


def test_uniform_attention_gives_every_target_its_share_of_the_tokens(batch: dict[str, torch.Tensor]) -> None:
    shares, n_words = attention_shares(uniform(batch), batch)
    kind, inside = batch["token_type_ids"], batch["attention_mask"].bool()
    words = inside & (kind > 0)
    assert n_words == int(words.sum())
    per_row = words.sum(1) / inside.sum(1)
    for name, of_kind in (("start", 0), ("keys", 1), ("values", 2)):
        expected = (per_row * (inside & (kind == of_kind)).sum(1)).sum()
        torch.testing.assert_close(shares[name], expected.expand(2, 3), rtol=1e-4, atol=1e-4)


def test_the_targets_part_all_attention_and_so_do_items_and_distances(batch: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    inside = batch["attention_mask"].bool()
    scores = torch.randn(2, 2, inside.shape[1], inside.shape[1]).masked_fill(~inside[:, None, None], float("-inf"))
    shares, n_words = attention_shares([scores.softmax(-1)], batch)
    whole = torch.full((1, 2), float(n_words))
    torch.testing.assert_close(shares["start"] + shares["keys"] + shares["values"], whole, rtol=1e-4, atol=1e-4)
    to_words = shares["keys"] + shares["values"]
    torch.testing.assert_close(shares["own item"] + shares["other items"], to_words, rtol=1e-4, atol=1e-4)
    by_distance = sum(value for name, value in shares.items() if name.startswith("distance"))
    torch.testing.assert_close(by_distance, to_words, rtol=1e-4, atol=1e-4)


def test_a_head_that_looks_at_its_own_token_looks_at_its_own_item_at_no_distance(
    batch: dict[str, torch.Tensor],
) -> None:
    length = batch["input_ids"].shape[1]
    shares, n_words = attention_shares([torch.eye(length).expand(2, 1, -1, -1)], batch)
    assert float(shares["own item"]) == n_words == float(shares["distance ≤ 1"])
    assert float(shares["other items"]) == float(shares["start"]) == 0


def test_identical_heads_are_at_distance_zero_and_disjoint_ones_at_one_bit(batch: dict[str, torch.Tensor]) -> None:
    length = batch["input_ids"].shape[1]
    first, second = torch.zeros(length), torch.zeros(length)
    first[0], second[1] = 1, 1
    maps = torch.stack([first, first, second]).view(1, 3, 1, length).expand(2, 3, length, length)
    n_queries = batch["attention_mask"].sum()
    distances = {name: value / n_queries for name, value in head_distances([maps, maps], batch).items()}
    expected = torch.tensor([[0.0, 0, 1], [0, 0, 1], [1, 1, 0]])
    torch.testing.assert_close(distances["heads_jensen_shannon"][0], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(distances["heads_cosine"][0], 1 - expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(distances["layers_jensen_shannon"], torch.zeros(2, 2), rtol=1e-4, atol=1e-4)


def test_cka_of_batches_is_that_of_all_tokens_one_for_a_rotation_and_small_for_independent_outputs() -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 8)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8))
    layers = [x + 100, 3 * x @ rotation + 1, torch.randn(500, 5), x**3]
    alignment = LayerAlignment()
    for begin in range(0, 500, 99):  # batches of which the last is short
        alignment.add([layer[begin : begin + 99] for layer in layers])
    found = alignment.similarities()
    assert found[0, 1] == pytest.approx(1, abs=1e-4) and found[0, 2] < 0.1
    x, y = (layer - layer.mean(dim=0) for layer in (layers[0], layers[3]))
    wanted = (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    assert found[0, 3] == found[3, 0] == pytest.approx(float(wanted), rel=1e-4)
    np.testing.assert_allclose(found.diagonal(), 1)


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert", "longformer", "gpt2"])
def test_maps_of_every_architecture_are_distributions_over_the_tokens(
    tiny_encoders: dict[str, Path], name: str
) -> None:
    encoder, tokenizer, _ = load_behaviour_encoder(resolve_encoder(str(tiny_encoders[name])))
    tokens = ItemTokens.of(ATTRIBUTES, tokenizer)
    reading = observe(encoder, tokens.batch(SEQUENCES))
    inside = reading.batch["attention_mask"].bool()
    assert len(reading.attention) == 2 and len(reading.hidden) == 3
    for layer in reading.attention:
        rows = layer.transpose(1, 2)[inside]
        torch.testing.assert_close(rows.sum(-1), torch.ones(rows.shape[:2]), rtol=1e-4, atol=1e-4)
        assert float((layer * ~inside[:, None, None]).transpose(1, 2)[inside].abs().max()) < 1e-6
    if name == "gpt2":
        assert float(reading.attention[0].triu(1).abs().max()) == 0


def test_the_longformers_maps_give_its_outputs(tiny_encoders: dict[str, Path]) -> None:
    encoder, tokenizer, _ = load_behaviour_encoder(resolve_encoder(str(tiny_encoders["longformer"])))
    reading = observe(encoder, ItemTokens.of(ATTRIBUTES, tokenizer).batch(SEQUENCES))
    layer = encoder.base.encoder.layer[0].attention
    with torch.no_grad():
        values = layer.self.value(reading.hidden[0]).unflatten(-1, (2, -1)).transpose(1, 2)
        context = (reading.attention[0] @ values).transpose(1, 2).flatten(-2)
        attended = layer.output(context, reading.hidden[0])
        found = encoder.base.encoder.layer[0].ff_chunk(attended)
    inside = reading.batch["attention_mask"].bool()
    inside[:, 0] = False  # the first token has its own values
    torch.testing.assert_close(found[inside], reading.hidden[1][inside], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("study", ["attention", "redundancy"])
def test_a_study_leaves_numbers_a_figure_and_a_sentence_made_from_them(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path, study: str
) -> None:
    encoders = {"one": str(tiny_encoders["bert"]), "two": str(tiny_encoders["longformer"])}
    overrides = {"dataset": "tiny", "encoders": encoders, "sequences": 8, "data_path": str(atomic_folder)}
    found = run_study(study, None, overrides, tmp_path, f"recbole-ext study {study}")
    folder, table = found.folder, found.to_pandas()
    assert set(table["encoder"]) == {"one", "two"}
    if study == "attention":
        by_head = table[table["target"].isin(["start", "keys", "values"])].groupby(["encoder", "layer", "head"])
        np.testing.assert_allclose(by_head["share_of_attention"].sum(), 1, atol=2e-4)
    else:
        assert (table.loc[table["head"].notna(), "head"] < table["other_head"].dropna()).all()
        assert table["value"].between(-1, 1.001).all()
    content = json.loads((folder / "study.json").read_text())
    assert content["name"] == study and content["settings"]["sequences"] == 8
    assert "one:" in content["sentence"] and "two:" in content["sentence"]
    assert (folder / f"{study}.png").stat().st_size > 5000
    assert "| one | 1 |" in (folder / "text.md").read_text()
    from recbole_ext.report.studies import load_studies

    assert [found.name for found in load_studies(tmp_path)] == [study]
    with pytest.raises(ConfigurationError, match=r"sequences: 8 \(now 9\), and the new one would"):
        run_study(study, None, {**overrides, "sequences": 9}, tmp_path, "test")
    refuse_other_settings(read_settings(StudySettings, study, None, {**overrides, "data_path": "elsewhere"}), folder)


def test_what_a_study_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="colour"):
        run_study("attention", None, {"colour": "red"}, tmp_path, "test")
    with pytest.raises(ConfigurationError, match="no such file"):
        run_study("attention", tmp_path / "nothing.yaml", {}, tmp_path, "test")


@pytest.mark.parametrize("encoders", ["minilm", ["minilm", "folder/of/mine"], {"minilm": "minilm"}])
def test_encoders_may_be_given_by_their_names_alone(encoders: Any) -> None:
    settings = read_settings(StudySettings, "attention", None, {"encoders": encoders})
    assert settings.encoders["minilm"] == "minilm"
    assert settings.encoders.get("mine", "folder/of/mine") == "folder/of/mine"


def test_two_encoders_of_one_name_have_to_be_told_apart() -> None:
    with pytest.raises(ConfigurationError, match=r"encoders: 'a/base' and 'b/base' are both called base.*\{"):
        read_settings(StudySettings, "attention", None, {"encoders": ["a/base", "b/base"]})
