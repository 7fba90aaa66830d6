# The same verbs for a person and for CI. Needs Python 3.11 or newer and make; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# pandas, pyarrow and numpy are asked for by chdb-core-lite and never imported by Parsec: 350 MB that stay out.
UNUSED := pandas pyarrow numpy six python-dateutil pytz tzdata
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
TESTS := $(BIN)/python -m pytest --durations=15
WORKERS := -n 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run build test test-verbose test-cover test-integration check docs bench soak lock clean up up-all down

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## install what is missing and serve on 127.0.0.1:8080 (ARGS="--port 9000")
	@exec $(BIN)/parsec serve $(ARGS)

build: $(VENV)/.dev bin/processor ## a wheel in dist/ and bin/processor
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

bin/processor: Makefile
	@mkdir -p bin
	@printf '%s\n' '#!/bin/sh' '# The same as `parsec serve`.' \
	  'exec "$$(dirname "$$(readlink -f "$$0")")/../$(BIN)/parsec" serve "$$@"' > $@
	@chmod +x $@

test: $(VENV)/.dev ## all tests that need nothing but this machine and a few minutes
	$(TESTS) $(WORKERS) -m "not integration and not soak" $(ARGS)

test-verbose: $(VENV)/.dev ## the same, test by test
	$(TESTS) $(WORKERS) -v -m "not integration and not soak" $(ARGS)

test-cover: $(VENV)/.dev ## the same, with the lines that no test runs
	$(BIN)/python -m coverage run -m pytest -m "not integration and not soak" $(ARGS)
	$(BIN)/python -m coverage report --show-missing --skip-covered

test-integration: $(VENV)/.dev ## the long ones: whole processes, killed, stopped and started again
	$(TESTS) $(WORKERS) -m integration $(ARGS)

soak: $(VENV)/.dev ## the long forms of tests, then half an hour of load; results under bench/results/
	$(TESTS) -m soak
	$(BIN)/python bench/soak.py $(ARGS)

check: $(VENV)/.dev ## style, types, who imports whom, docs in step with the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@for topic in settings metrics; do \
	  $(BIN)/parsec reference $$topic | diff -u docs/$$topic.md - || { echo "docs/$$topic.md: run make docs"; exit 1; }; \
	done
	@$(BIN)/parsec reference api < docs/api.md | diff -u docs/api.md - || { echo "docs/api.md: run make docs"; exit 1; }
	@$(BIN)/parsec reference openapi | diff -u openapi.yaml - || { echo "openapi.yaml: run make docs"; exit 1; }

docs: $(VENV)/.dev ## write docs/settings.md, docs/metrics.md, openapi.yaml and the tables of docs/api.md anew
	for topic in settings metrics; do $(BIN)/parsec reference $$topic > docs/$$topic.md || exit 1; done
	$(BIN)/parsec reference openapi > openapi.yaml
	$(BIN)/parsec reference api < docs/api.md > docs/api.md.new && mv docs/api.md.new docs/api.md

bench: $(VENV)/.dev ## every file of bench/ but the soak, one claim each
	@for file in $(filter-out bench/soak.py,$(wildcard bench/[a-z]*.py)); do echo "== $$file"; $(BIN)/python $$file $(ARGS) || exit 1; done

up: ## start Kafka, ClickHouse and Redis on 127.0.0.1, by docker compose
	docker compose up --detach --wait

up-all: ## the same, and Parsec on them
	docker compose --profile parsec up --build --detach --wait

down: ## stop what up or up-all started; volumes keep the data
	docker compose --profile parsec down

lock: $(VENV)/.dev ## renew both lock files
	$(PIP_INSTALL) uv
	echo 'setuptools>=77' > $(VENV)/build.in
	$(BIN)/uv pip compile --upgrade --output-file requirements.lock --extra all $(LOCK_FLAGS)
	$(BIN)/uv pip compile --upgrade --output-file requirements-dev.lock --extra all --extra dev \
	  --constraint requirements.lock $(LOCK_FLAGS)

LOCK_FLAGS := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
  --no-emit-index-url --no-emit-find-links $(addprefix --no-emit-package ,$(UNUSED)) pyproject.toml $(VENV)/build.in

clean: ## remove what make and the tests left, but neither .venv nor data
	rm -rf bin build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests bench -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Parsec needs Python 3.11 or newer: make PYTHON=python3.13 ...")'
	$(PYTHON) -m venv $(VENV)

# A stamp is newer than what was installed from; while it is, nothing is installed and no pip is started.
$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "installing from requirements.lock"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "installing from requirements-dev.lock"
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
