# Thin targets over scripts/setup.sh. A torch that $(PYTHON) has is used as it is, never replaced.
#
#   make bench                      set up what is missing, run the quick suite
#   make bench ARGS="CONFIG ..."    the same with arguments of `trnbench run`
#   make check                      set up what is missing; formatting, lint, types, imports, and the
#                                   tests that need neither torch nor a process: under a minute
#   make test                       those, and the tests that train and that start processes
#   make proof                      what takes long and is seldom news: mutations, the device suite on
#                                   its stand-in, full cross products, many more random inputs
#   make coverage                   all of these, and which lines none reached
#   make test-slurm                 jobs of two nodes under a real Slurm: needs root and Slurm's daemons,
#                                   which it does not install but names
#   make test-plots                 the figures of `--plots`: installs vl-convert-python (84 MB)
#   make docs                       the site of docs/, strictly: each link and heading must be there
#   make test-xla                   torch-xla for real on its CPU client: downloads 1 GB of its own
#   make test-jobs                  jobs of `trnbench launch` by the engines' own schemas and client:
#                                   downloads 150 MB of its own
#   make test-consumers             other programs read what we export: downloads 400 MB of its own
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
RUN := PATH="$$(cd "$(VENV)/bin" && pwd):$$(cat "$(VENV)/.trnbench/tools"):$$PATH"

.PHONY: help bench check test proof coverage test-slurm test-plots docs test-xla test-jobs test-consumers static clean

help:
	@sed -n 's/^#   //p' Makefile

bench:
	@sh scripts/setup.sh run
	$(RUN) trnbench run $(ARGS)

check: static
	$(RUN) python -m pytest -q -n auto tests/pure

# torch is imported once a worker, and transformers by one worker alone (xdist_group).
test: check
	$(RUN) python -m pytest -q -n auto --dist loadgroup tests/torch tests/process tests/device

proof: static
	$(RUN) python -m pytest -q -n auto --dist worksteal tests/proof
	$(RUN) python -m pytest -q -n auto -m hypothesis --hypothesis-profile proof tests/pure
	$(RUN) python -m pytest -q docs

# Following each line doubles the time of most tests: once a week, not at every change.
coverage: static
	$(RUN) python -m pytest -q -n auto --dist worksteal --cov --cov-report=term

test-slurm:
	@sh scripts/setup.sh dev
	$(RUN) python -m pytest -q tests/slurm

test-plots:
	@sh scripts/setup.sh dev
	"$(VENV)/bin/python" -m pip install -q -c constraints.txt 'vl-convert-python>=1.9'
	$(RUN) python -m pytest -q tests/process/reports

docs: static
	$(RUN) python scripts/write_reference.py
	git diff --exit-code docs/reference
	@sh scripts/setup_docs.sh
	NO_COLOR=1 .venv-docs/bin/zensical build --strict --clean

test-xla:
	@sh scripts/setup_xla.sh
	PJRT_DEVICE=CPU .venv-xla/bin/python -m pytest -q -W default tests/xla

test-jobs:
	@sh scripts/setup_jobs.sh
	.venv-jobs/bin/python -m pytest -q -W default tests/engines

test-consumers:
	@sh scripts/setup_consumers.sh
	.venv-consumers/bin/python -m pytest -q -W default tests/consumers tests/process/reports/test_files.py

static:
	@sh scripts/setup.sh dev
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports

clean:
	[ ! -d "$(VENV)/.trnbench" ] || rm -rf "$(VENV)"
	rm -rf dist build .coverage .coverage.*
