"""What training and evaluation cost here, against stock RecBole in the same process and run."""

from __future__ import annotations

from recbole_ext.bench.contest import Contest, run_contest

__all__ = ["Contest", "run_contest"]
