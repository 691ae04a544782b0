# `make help` lists the targets. Each builds the virtual environment it needs; a second run starts at once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# What was compiled once is not compiled again, by no process of the thousands that the tests start.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One more than there are cores: a test that waits for a process of its own leaves its core idle.
JOBS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2) + 1 )))
TESTS ?= tests
ARGS ?=
STAMP := $(VENV)/.ready
PROVIDER := $(VENV)/provider/.ready
PIP := python -m pip -qq --disable-pip-version-check

# $(call install-lock,ENVIRONMENT,LOCK): exactly the packages of a lock; by pip where pip alone knows the index.
install-lock = $(BIN)/uv pip sync --quiet --no-config --compile-bytecode --python $(1)/bin/python --require-hashes $(2) 2> $(1)/uv.log \
	|| $(1)/bin/$(PIP) install --no-deps --require-hashes -r $(2)
# $(call resolve,OPTIONS,LOCK): hashes, no addresses.
resolve = $(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-header --no-emit-index-url $(1) --output-file $(2)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(STAMP) ## Build .venv from requirements.lock (any Python >= 3.11: make venv PYTHON=python3.12)

$(VENV)/.packages: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "OpenEPM needs Python 3.11 or newer; set PYTHON=/path/to/python3")'
	@echo "building $(VENV) from requirements.lock (once)"
	@$(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/$(PIP) install --no-deps --require-hashes -r $(VENV)/uv.lock || true
	@$(call install-lock,$(VENV),requirements.lock)
	@touch $@

$(STAMP): $(VENV)/.packages pyproject.toml
	@$(BIN)/$(PIP) install --no-deps --no-build-isolation --editable . 2> $(VENV)/pip.log || { cat $(VENV)/pip.log >&2; exit 1; }
	@$(BIN)/python -m compileall -q auditchain elevation epmctl agent_stub fleet services protos/gen # a quick start, even where PYTHONDONTWRITEBYTECODE is set
	@touch $@

.PHONY: lock
lock: ## Resolve pyproject.toml again into the lock files (hashes, no addresses)
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/$(PIP) install uv; }
	@$(call resolve,pyproject.toml --extra server --group dev,requirements.lock)
	@$(call resolve,pyproject.toml --constraint requirements.lock,deploy/agent.lock)
	@$(call resolve,pyproject.toml --constraint requirements.lock --extra server,deploy/server.lock)
	@$(call resolve,--group build --constraint requirements.lock,deploy/build.lock)
	@! grep -n '://' requirements.lock deploy/*.lock

.PHONY: generate
generate: $(STAMP) ## Generate protos/gen from the contracts under protos/epm
	@$(BIN)/python protos/generate.py
	@cd protos && ../$(BIN)/buf format --write

.PHONY: schema
schema: $(STAMP) ## Make the JSON Schema of documents from the tables that the loader reads by
	@$(BIN)/python -m epmctl.schema.make

.PHONY: baseline
baseline: $(STAMP) ## Accept the contracts as they are: what `buf breaking` compares with from now on
	@cd protos && ../$(BIN)/buf build --exclude-source-info --output baseline.binpb

# The identity provider of the tests runs on Node; where there is none, the tests that need it are skipped and say so.
$(PROVIDER): tests/provider/package.json tests/provider/package-lock.json $(STAMP)
	@{ command -v node && command -v npm; } > /dev/null || { echo "no node and npm: tests against a real identity provider will be skipped" >&2; exit 0; }; \
	mkdir -p $(VENV)/provider && cp tests/provider/package*.json $(VENV)/provider \
	&& npm ci --prefix $(VENV)/provider --ignore-scripts --no-audit --no-fund --loglevel=error > $(VENV)/npm.log \
	&& touch $@ || echo "$(VENV)/npm.log tells why there is no identity provider; tests against it will be skipped" >&2

.PHONY: test
test: $(STAMP) $(PROVIDER) ## Run the tests (make test TESTS=tests/unit ARGS='-k words')
	@$(BIN)/pytest -q -n $(JOBS) --dist loadgroup $(ARGS) $(TESTS)

.PHONY: fleet
fleet: $(STAMP) ## Run fifty virtual agents through every fault, on SQLite and on PostgreSQL
	@$(BIN)/pytest -q -n0 tests/journeys/test_fleet.py

.PHONY: soak
soak: $(STAMP) ## Kill the server and agents that report for two minutes, on SQLite and on PostgreSQL; nothing is lost or stored twice
	@EPM_SOAK_SECONDS=$${EPM_SOAK_SECONDS:-120} $(BIN)/pytest -q -n0 --log-cli-level=INFO tests/journeys/test_reporting_kills.py

.PHONY: lint
lint: lint-python lint-protos lint-deploy ## Run every static check: style, types, import rules, contracts, deployment files

.PHONY: lint-python
lint-python: $(STAMP) ## Check style (ruff), import rules (import-linter) and types (mypy strict)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "run \`make format\`" >&2; exit 1; }
	@$(BIN)/lint-imports .importlinter > $(VENV)/imports.log || { cat $(VENV)/imports.log >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary .

.PHONY: lint-protos
lint-protos: $(STAMP) ## Check the contracts: style, format, nothing broken since the baseline, generated code fresh
	@cd protos && ../$(BIN)/buf lint
	@cd protos && ../$(BIN)/buf format --diff --exit-code
	@cd protos && ../$(BIN)/buf breaking --against baseline.binpb
	@$(BIN)/python protos/generate.py --check

.PHONY: lint-deploy
lint-deploy: $(STAMP) ## Check the Dockerfile and the compose file
	@$(BIN)/hadolint deploy/Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml

.PHONY: format
format: $(STAMP) ## Format the code and the contracts
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .
	@cd protos && ../$(BIN)/buf format --write

.PHONY: bench
bench: $(STAMP) ## Run the benchmarks; each prints a table
	@for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark; done

.PHONY: demo
demo: $(STAMP) ## Show the whole system at work on this machine, in under a minute
	@$(BIN)/epm demo

.PHONY: wheel-check
wheel-check: $(STAMP) ## Build the wheel, install it bare, start the agent without the server's libraries
	@rm -rf build/bare dist && mkdir -p build
	@$(BIN)/hatchling build --target wheel > /dev/null
	@$(PYTHON) -m venv build/bare
	@$(call install-lock,build/bare,deploy/agent.lock)
	@build/bare/bin/$(PIP) install --no-deps --no-index dist/openepm-*.whl
	@cd build && bare/bin/python -I ../.ci/check_bare_install.py

.PHONY: ci
ci: ## Do what continuous integration does
	@.ci/run

.PHONY: clean
clean: ## Delete what the other targets made, the virtual environment included
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
