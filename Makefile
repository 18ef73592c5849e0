# Every target sets itself up: `make test` in a fresh clone makes .venv first.
#   make setup   .venv with the extras cpu, hub, demo, dev, postgres, web under constraints.txt
#   make demo    ingest and query real photos, write demo/report.html
#   make test    the tests (PYTEST_ARGS="-k name" passes arguments on)
#   make check   ruff (lint and format), mypy and the import contracts

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/setup-stamp
PYTEST_ARGS ?=
# Processes that run tests; one thread each, so that they do not take each other's core.
PROCESSES ?= 2

export OMP_NUM_THREADS ?= 2
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 1000

.PHONY: setup demo test check clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[cpu,hub,demo,dev,postgres,web]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/interleave-index demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist worksteal $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf build dist demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
