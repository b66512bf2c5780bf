# `make` alone says what there is. Every target works in a fresh clone.

VENV ?= .venv
BIN = $(VENV)/bin
PIP_FLAGS ?= --quiet --disable-pip-version-check
# Two workers suit the smallest machine that is supported; torch gets one thread in each.
WORKERS ?= 2
ARGS ?=

# The first Python that is new enough, the tested version first.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo env check test fmt bench gpu-check clean

help:
	@echo "make demo       install, then profile the demo zoo on this CPU and build networks out of it"
	@echo "make env        install derycc with the developers' tools into $(VENV)"
	@echo "make check      lint, format, types and layers: ruff, mypy --strict, import-linter"
	@echo "make test       make check, then all tests with branch coverage (ARGS=... goes to pytest)"
	@echo "make fmt        format the code and repair what ruff can repair"
	@echo "make bench      run the benchmarks of benchmarks/"
	@echo "make gpu-check  on a machine with an NVIDIA GPU and TensorRT: doctor, contract, profile, builds, prediction"
	@echo "make clean      remove build products and caches; keeps $(VENV) and what was measured"

# Two stamps: users wait for the runtime only, developers for both. Each is made again when its inputs change.
RUNTIME = $(VENV)/.installed-runtime
DEV = $(VENV)/.installed-dev

$(RUNTIME): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "derycc needs Python 3.11 or newer, and none was found on PATH."; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; fi
	@echo "Installing derycc into $(VENV) (several GB with torch, a few minutes; done once) ..."
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e .
	@touch $@

$(DEV): $(RUNTIME)
	@echo "Installing the developers' tools into $(VENV) ..."
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

env: $(DEV)

demo: $(RUNTIME)
	@$(BIN)/derycc demo $(ARGS)

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope $(ARGS) --cov

fmt: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)
	@ls benchmarks/*.py >/dev/null 2>&1 || { echo "There are no benchmarks in benchmarks/ yet."; exit 1; }
	@set -e; for file in benchmarks/[!_]*.py; do echo "== $$file"; $(BIN)/python $$file $(ARGS); done

gpu-check: $(DEV)
	@$(BIN)/python benchmarks/gpu_check.py $(ARGS)

clean:
	rm -rf build dist *.egg-info .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache
	find backends compiler derycc profilers targets tests -name __pycache__ -prune -exec rm -rf {} +
	@echo "Kept $(VENV) and .derycc; remove them by hand when they are not needed."
