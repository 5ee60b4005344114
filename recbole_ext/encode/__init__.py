"""Item text to an item embedding store."""

from __future__ import annotations

from recbole_ext.encode.encoder import load_encoder
from recbole_ext.encode.item_file import locate_item_file
from recbole_ext.encode.source import EncoderSource, resolve_encoder
from recbole_ext.encode.stage import EncodeReport, encode

__all__ = ["EncodeReport", "EncoderSource", "encode", "load_encoder", "locate_item_file", "resolve_encoder"]
