# Thin targets over scripts/setup.sh. A torch that $(PYTHON) has is used as it is, never replaced.
#
#   make bench                      set up what is missing, run the quick suite
#   make bench ARGS="CONFIG ..."    the same with arguments of `trnbench run`
#   make test                       set up what is missing; formatting, lint, types, imports, and
#                                   every test with coverage
#   make check                      the same with the fast tests alone
#   make clean                      remove what set-up made
#
#   make PYTHON=/path/to/python3 …  start from another interpreter than the active environment's
#   make TORCH=torch==2.9.0 …       another torch, where there is none yet. On Linux x86-64 the
#                                   package index has the CUDA build; PyTorch's own CPU builds:
#                                   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make …

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
ARGS ?=
export PYTHON VENV TORCH

# Vendors put their compilers beside the interpreter that has their torch.
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$(dirname "$$(command -v "$(PYTHON)")"):$$PATH"
NEEDS := scripts/setup.sh pyproject.toml constraints.txt

.PHONY: help bench test check static clean

help:
	@sed -n 's/^#   //p' Makefile

bench: $(VENV)/.ready-run
	$(RUN) trnbench run $(ARGS)

test: static
	$(RUN) python -m pytest -q --cov --cov-report=term

check: static
	$(RUN) python -m pytest -q -m "not slow" tests/unit

static: $(VENV)/.ready-dev
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports

clean:
	rm -rf "$(VENV)" dist build .coverage .coverage.*

$(VENV)/.ready-run: $(NEEDS)
	@sh scripts/setup.sh run
	@touch "$@"

$(VENV)/.ready-dev: $(NEEDS)
	@sh scripts/setup.sh dev
	@touch "$(VENV)/.ready-run" "$@"
