# Every target sets itself up: `make test` in a fresh clone makes .venv first.
#   make setup   .venv with the extras cpu, hub, demo, dev, postgres, web under constraints.txt
#   make stores  adds what the tests of S3 want; botocore among it asks for python-dateutil 2
#   make demo    ingest and query real photos, write demo/report.html
#   make test    the tests (PYTEST_ARGS="-k name" passes arguments on)
#   make check   ruff (lint and format), mypy and the import contracts
#   make coverage  the tests, and how much of ingest, query and storage they reach
#   make mutation  which small changes of storage and score no test notices (hours; SAMPLE=100 tries that many)

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/setup-stamp
PYTEST_ARGS ?=
# Processes that run tests, half as many again as there are cores, since tests wait for servers, browsers and files; one
# thread each, so that they do not take each other's core.
PROCESSES ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 8 ? cores + cores / 2 : 12)))
# Mutants of the storage that are tried.
SAMPLE ?= 300

export OMP_NUM_THREADS ?= 2
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 1000
# Tests start many processes: what was compiled once is kept, whatever the environment says.
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup stores demo test check coverage mutation clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[cpu,hub,demo,dev,postgres,web]"
	touch $(STAMP)

stores: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[remote,store-tests]"

demo: $(STAMP)
	$(BIN)/interleave-index demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist worksteal $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

coverage: $(STAMP)
	rm -f .coverage .coverage.*
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest --numprocesses $(PROCESSES) --dist worksteal $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage json --quiet -o .coverage.json
	$(BIN)/python tools/coverage_of_packages.py .coverage.json

mutation: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tools/mutation.py --sample $(SAMPLE)

clean:
	rm -rf build dist demo mutants .coverage* *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
