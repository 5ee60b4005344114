"""Sources on the command line and from Python: every setting is an option, and nothing is silently ignored."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from recbole_ext.encoding import Compute
from recbole_ext.errors import ConfigurationError
from recbole_ext.vectors import SOURCES, parse_source
from recbole_ext.vectors.options import add_source_options, compute_of, source_of


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_source_options(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([], {"encoder": "minilm"}),
        (["--pooling", "mean"], {"encoder": "minilm", "pooling": "mean"}),
        (
            [
                "--encoder",
                "x",
                "--drop",
                "2",
                "3.1",
                "--drop",
                "4",
                "--trust-remote-code",
                "--average-layers",
                "0",
                "-1",
            ],
            {"encoder": "x", "drop": ("2", "3.1", "4"), "trust_remote_code": True, "average_layers": (0, -1)},
        ),
        (["--template", "{title}", "Brand: {brand}"], {"encoder": "minilm", "template": ("{title}", "Brand: {brand}")}),
        (["--lexical", "tfidf", "--dim", "64"], {"lexical": "tfidf", "dim": 64}),
        (["--item2vec", "skipgram", "--learning_rate", "1e-2"], {"item2vec": "skipgram", "learning_rate": 0.01}),
        (
            ["--shuffled", "{encoder: minilm, dim: 3}", "--seed", "7"],
            {"shuffled": {"encoder": "minilm", "dim": 3}, "seed": 7},
        ),
        (["--shuffled", "x"], {"shuffled": {"encoder": "x"}}),
        (["--fused", "x", "{lexical: tfidf}"], {"fused": [{"encoder": "x"}, {"lexical": "tfidf"}]}),
        (
            ["--fused", "{lexical: tfidf}", "{of: {cooccurrence: ppmi}, transform: [center]}", "--how", "sum"],
            {"fused": [{"lexical": "tfidf"}, {"of": {"cooccurrence": "ppmi"}, "transform": ["center"]}], "how": "sum"},
        ),
        (
            ["--fused", "{of: x, transform: [center]}", "{shuffled: y}"],
            {"fused": [{"of": {"encoder": "x"}, "transform": ["center"]}, {"shuffled": {"encoder": "y"}}]},
        ),
        (
            ["--tune", "{objective: pairs, sources: [a, b], epochs: 2}"],
            {"encoder": "minilm", "tune": {"objective": "pairs", "sources": ["a", "b"], "epochs": 2}},
        ),
        (["--store", "x.csv", "--ids", "item"], {"store": "x.csv", "ids": "item"}),
    ],
)
def test_options_say_what_yaml_says(arguments: list[str], settings: dict[str, Any]) -> None:
    assert source_of(parse(*arguments)) == parse_source(settings, "test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lexical", "tfidf", "--pooling", "mean"], "command line: pooling: unknown key"),
        (["--lexical", "tfidf", "--encoder", "x"], "command line: encoder and lexical are two sources"),
        (["--dim", "wide"], "command line: dim: .*got 'wide'"),
        (["--shuffled", "{encoder"], "shuffled: a mapping is needed here"),
    ],
)
def test_options_that_do_not_fit_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        source_of(parse(*arguments))


def test_every_setting_of_every_source_is_an_option_with_help() -> None:
    parser = argparse.ArgumentParser()
    add_source_options(parser)
    options = {action.dest: action.help for action in parser._actions if action.help != argparse.SUPPRESS}
    for source in SOURCES.values():
        for name in source.model_fields:
            assert (name in options) is (name not in source.yaml_only)
            assert name in source.yaml_only or options[name]
    parser.format_help()


def test_how_vectors_are_computed_is_no_part_of_the_source() -> None:
    options = parse("--batch-size", "3", "--devices", "cpu", "cpu")
    assert compute_of(options) == Compute(batch_size=3, devices=("cpu", "cpu"))
    assert source_of(options) == parse_source({"encoder": "minilm"}, "test")
    with pytest.raises(ConfigurationError, match="batch_size"):
        compute_of(parse("--batch-size", "0"))
