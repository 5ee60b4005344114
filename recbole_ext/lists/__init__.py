"""Lists in and out: what a finished run recommends, and what any other system recommended, under one protocol."""

from __future__ import annotations
