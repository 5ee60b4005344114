# Two commands on a fresh machine: `make leaderboard` and `make test`. Both make their own .venv.
#
# PYTHON   the interpreter to build .venv with; RecBole 1.2.1 needs 3.10 or 3.11
# TORCH    how pip is to get torch, installed before everything else; a CPU build is enough. Examples:
#          make test TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
#          make test TORCH="torch==2.13.0"
PYTHON ?= $(firstword $(foreach p,python3.11 python3.10 python3,$(shell $(p) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null && echo $(p))))
TORCH ?= torch
BIN := .venv/bin

.PHONY: leaderboard test clean
.DEFAULT_GOAL := leaderboard

leaderboard: .venv/installed-minilm
	$(BIN)/recbole-ext run

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

clean:
	rm -rf .venv

.venv/installed-%: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23" "setuptools>=68,<81" wheel
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@

.venv/bin/python:
	@$(or $(strip $(PYTHON)),false) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null || { \
	  echo "RecBole 1.2.1 needs Python 3.10 or 3.11 (its ray <= 2.6.3 has no wheel for later ones);" \
	    "$(if $(strip $(PYTHON)),$(PYTHON) is another,neither python3.11, python3.10 nor python3 is one)." \
	    "Install one and name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
