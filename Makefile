# What a person and CI do with a clone. `make help` lists it.
#
# Everything Python goes into .venv, from the locks in requirements/, each file
# proved by its hash. A stamp in .venv says which lock is installed: a second
# run installs nothing.

PYTHON ?= python3
# Tests at once: the limits below were set on two cores.
TEST_WORKERS ?= 2
# The whole suite has ten minutes on two cores; one that needs twice that has hung.
TEST_SECONDS_MAX ?= 1200
TESTS ?= tests
STRICT ?=

BIN := .venv/bin
UV := $(BIN)/uv
DECLARED := pyproject.toml engine/noodle_engine/__init__.py
LOCKS := core dev bench fuzz

.DEFAULT_GOAL := help
.PHONY: help demo test clauses clauses-mutate mutate check format specs bench crashes fuzz lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  PYTHON=python3.12 chooses the interpreter for a new .venv (3.11 or later)"

demo: .venv/.core ## Adopt a running shop, upgrade it, kill that, resume it, verify, roll back
	@$(BIN)/noodle demo

test: .venv/.dev ## Run the whole suite; STRICT=1 fails where a system package is missing
	@STRICT="$(STRICT)" timeout --foreground $(TEST_SECONDS_MAX) \
		$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup $(TESTS)

check: .venv/.dev ## Style, types, layers and dependencies, as CI does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry engine journal policies

format: .venv/.dev ## Format the code and fix what can be fixed safely
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clauses: .venv/.dev ## List the settings that no test is named for; their number comes last
	@$(BIN)/python -m tests.clauses

clauses-mutate: .venv/.dev ## Take each setting out, one at a time: its test must fail (minutes)
	@$(BIN)/python -m tests.clauses.mutate $(if $(SECONDS_MAX),--seconds-max $(SECONDS_MAX)) $(KEYS)

mutate: .venv/.dev ## Change the machine and the journal's core, one thing at a time: a test must fail (long)
	@$(BIN)/python -m tests.mutation.run $(if $(SECONDS_MAX),--seconds-max $(SECONDS_MAX))

specs: .venv/.dev ## Check the model of the machine (needs Spin and a C compiler)
	@specs/run

bench: .venv/.bench ## Measure against the floors and write benchmarks/RESULTS.md
	@$(BIN)/python benchmarks/run.py

crashes: .venv/.dev ## Every crash point, ten times the law's examples (hours); TEST_SWEEP=wide: half an hour
	@TEST_SWEEP="$(or $(TEST_SWEEP),full)" STRICT="$(STRICT)" \
		$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup tests/crashes tests/laws

fuzz: .venv/.fuzz ## Bytes chosen by coverage into every reader of the journal, for SECONDS (60)
	@$(BIN)/python -m tests.fuzz $(or $(SECONDS),60)

lock: .venv/.uv ## Resolve the dependencies anew and write requirements/*.txt
	$(UV) pip compile $(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(UV) pip compile $(COMPILE) requirements/build.in -o requirements/build.txt
	$(UV) pip compile $(COMPILE) pyproject.toml -o requirements/core.txt
	$(UV) pip compile $(COMPILE) pyproject.toml --group dev \
		-c requirements/core.txt -c requirements/build.txt -o requirements/dev.txt
	$(UV) pip compile $(COMPILE) pyproject.toml --group bench \
		-c requirements/core.txt -o requirements/bench.txt
	$(UV) pip compile $(COMPILE) pyproject.toml --group fuzz \
		-c requirements/core.txt -o requirements/fuzz.txt

clean: ## Remove .venv, caches and what was built
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist

# --- the environment -----------------------------------------------------------

# No header, no annotation, no index: a lock names packages and hashes, no address.
COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-header --no-annotate
INSTALL := $(UV) pip install --quiet --python $(BIN)/python

.venv/.uv: requirements/uv.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		set -e; \
		command -v $(PYTHON) >/dev/null || { \
			echo "Noodle needs Python 3.11 or later and finds no $(PYTHON)."; \
			echo "On Debian: apt-get install python3 python3-venv"; exit 1; } >&2; \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
			echo "Noodle needs Python 3.11 or later; $(PYTHON) is not."; \
			echo "Name another one: make PYTHON=python3.12 ..."; exit 1; } >&2; \
		$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
			echo "$(PYTHON) cannot make virtual environments."; \
			echo "On Debian: apt-get install python3-venv"; exit 1; } >&2; \
		echo "making .venv"; $(PYTHON) -m venv --clear .venv; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --only-binary :all: -r requirements/uv.txt
	@touch $@

# The environment holds the core, or the core and one set more: the versions of the
# core are the same in every lock, so installing another set only adds to it.
$(LOCKS:%=.venv/.%): .venv/.%: requirements/%.txt requirements/build.txt $(DECLARED) .venv/.uv
	@echo "installing requirements/$*.txt into .venv"
	@$(INSTALL) --require-hashes -r requirements/$*.txt
	@$(INSTALL) --no-deps --build-constraints requirements/build.txt --require-build-hashes \
		--editable .
	@touch $@
