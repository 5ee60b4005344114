# Three commands on a fresh machine, `make leaderboard`, `make score` and `make test`, and `make docs`; with a GPU also `make test-gpu`.
# All make their own .venv.
#
# PYTHON   the interpreter to build .venv with: 3.11, 3.12, 3.13 or 3.14
# TORCH    how pip is to get torch, installed before everything else; a CPU build is enough. Examples:
#          make test TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
#          make test TORCH="torch==2.13.0"
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo $(p))))
TORCH ?= torch
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet

.PHONY: leaderboard score test test-gpu docs clean
.DEFAULT_GOAL := leaderboard

leaderboard: .venv/installed-minilm
	$(BIN)/recbole-ext run

# One score card. SOURCE is a text encoder: a Hugging Face name, or a folder.
SOURCE ?= minilm
score: .venv/installed-minilm
	$(BIN)/recbole-ext score $(SOURCE) --suite quick

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

# On a machine with a GPU: does it compute what the CPU does?
test-gpu: .venv/installed-test
	$(BIN)/python -m pytest -m gpu tests/gpu

# The reference from the code, then the site: open build/site/index.html.
docs: .venv/installed-docs
	$(BIN)/python .ci/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet -f .mkdocs.yml
	@echo "Open build/site/index.html"

clean:
	rm -rf .venv

# RecBole's own requirements are left out: pyproject.toml lists what it really needs.
.venv/installed-%: pyproject.toml | .venv/bin/python
	$(PIP) --upgrade pip
	$(PIP) --no-warn-conflicts $(TORCH)
	$(PIP) --no-warn-conflicts --editable ".[$*]"
	$(PIP) --no-deps recbole==1.2.1
	touch $@

.venv/bin/python:
	@$(or $(strip $(PYTHON)),false) -c '$(SUPPORTED)' 2>/dev/null || { \
	  echo "This needs Python 3.11, 3.12, 3.13 or 3.14;" \
	    "$(if $(strip $(PYTHON)),$(PYTHON) is none of them,none of them is on the PATH)." \
	    "Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13" >&2; exit 1; }
	$(PYTHON) -m venv .venv
