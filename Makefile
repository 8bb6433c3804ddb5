# The only front door: every task of the project is a target here, locally and in CI. `make help` lists them.
# `run` and `test` set everything up; they need Python ≥ 3.11 and make, nothing else.

PYTHON := $(shell for each in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	  $$each -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UNIT := tests/unit
REST := tests/integration tests/contracts tests/faults tests/e2e

.DEFAULT_GOAL := help
.PHONY: help run test check fmt bench faults screenshots lock clean

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{printf "  %-11s %s\n", $$1, $$2}'

run: $(READY) ## Start the whole system with demo workspaces; prints a sign-in link per workspace.
	@exec $(BIN)/audit-log up

test: $(READY) ## Run all tests, on a real Kafka, a real engine and a real browser.
	$(BIN)/python -m pytest -q -n 2 $(UNIT)
	$(BIN)/python -m pytest -q --durations=10 $(REST)

check: $(READY) ## Style, types, layers, dependencies, spelling.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/codespell

fmt: $(READY) ## Put the code into shape.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Measure emitting, the Events API, ingestion, reading and exports beside their peers (about 45 minutes); writes .data/bench/.
	$(BIN)/python -m tests.bench

faults: $(READY) ## Run only the fault tests.
	$(BIN)/python -m pytest -q --durations=10 tests/faults

screenshots: $(READY) ## Write the states of the page as PNG to docs/images/.
	$(BIN)/python -m tests.e2e.screenshots

lock: $(READY) ## Resolve the dependencies anew and pin them with hashes.
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra local --group dev pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  pyproject.toml -o requirements/sdk.txt

clean: ## Delete what was built and installed; data of the local stack stays (audit-log reset deletes it).
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (Debian: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)
