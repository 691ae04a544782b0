# `make help` lists the targets. Each builds the virtual environment it needs; a second run starts at once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(STAMP) ## Build .venv from requirements.lock (any Python >= 3.11: make venv PYTHON=python3.12)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "OpenEPM needs Python 3.11 or newer; set PYTHON=/path/to/python3")'
	@echo "building $(VENV) from requirements.lock (once)"
	@$(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements.lock > $(VENV)/uv.lock
	@$(PIP) install --no-deps --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --no-config --python $(BIN)/python --allow-empty-requirements --require-hashes requirements.lock 2> $(VENV)/uv.log \
		|| $(PIP) install --no-deps --require-hashes -r requirements.lock  # where pip alone knows the index
	@$(PIP) install --no-deps --no-build-isolation --editable . 2> $(VENV)/pip.log || { cat $(VENV)/pip.log >&2; exit 1; }
	@touch $(STAMP)

.PHONY: lock
lock: ## Resolve pyproject.toml again into requirements.lock (hashes, no addresses)
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	@$(BIN)/uv pip compile pyproject.toml --no-config --quiet --universal --python-version 3.11 \
		--extra server --group dev --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--output-file requirements.lock
	@! grep -n '://' requirements.lock

.PHONY: generate
generate: $(STAMP) ## Generate protos/gen from the contracts under protos/epm
	@$(BIN)/python protos/generate.py
	@$(BIN)/buf format --write protos

.PHONY: baseline
baseline: $(STAMP) ## Accept the contracts as they are: what `buf breaking` compares with from now on
	@cd protos && ../$(BIN)/buf build --exclude-source-info --output baseline.binpb
