"""Runs: one of them, and all of a benchmark, each in a process of its own."""
