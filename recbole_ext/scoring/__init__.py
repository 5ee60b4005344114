"""The score of item vectors: a suite's benchmark of one source, and the card that is made of its records."""

from __future__ import annotations

from recbole_ext.scoring.names import name_of
from recbole_ext.scoring.score import CARDS, PUBLISHED, Scored, resolve_score, score_source

__all__ = ["CARDS", "PUBLISHED", "Scored", "name_of", "resolve_score", "score_source"]
