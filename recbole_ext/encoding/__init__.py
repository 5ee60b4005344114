"""Texts to vectors: which encoder a name means, how it reads a text, and all texts through it."""

from __future__ import annotations

from recbole_ext.encoders.source import ResolvedEncoder, resolve_encoder
from recbole_ext.encoding.encoder import load_encoder
from recbole_ext.encoding.settings import Compute, EncodingSettings
from recbole_ext.encoding.stage import Encoded, encode_texts

__all__ = [
    "Compute",
    "Encoded",
    "EncodingSettings",
    "ResolvedEncoder",
    "encode_texts",
    "load_encoder",
    "resolve_encoder",
]
