# The only commands to know. `make demo` makes a synthetic genome, trains on it and scores a VCF; `make real` does the same with yours.
#
#   make demo                               everything from nothing, CPU, no network after the install
#   make real DATA=../shared/data/grch37    the same assets over real files
#   make ui [PROFILE=demo] [DATA=...]       look at what a run made (Dagster, http://localhost:3000)
#   make test                               what CI runs

SHELL := /bin/bash
PYTHON ?= python3.11
VENV ?= .venv
PROFILE ?= demo
PORT ?= 3000
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: env demo real ui test lint format clean

env: $(STAMP)

# Reinstalls only when what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e '.[pipeline,dev]' -c constraints.txt
	touch $@

demo: env
	$(BIN)/python -m geno_pipeline run --profile demo

real: env
	@test -n "$(DATA)" || { echo "make real needs DATA=FOLDER (a reference.fa.gz and VCFs, see README), e.g. make real DATA=../shared/data/grch37" >&2; exit 2; }
	$(BIN)/python -m geno_pipeline run --profile real --data "$(DATA)"

ui: env
	$(BIN)/python -m geno_pipeline ui --profile "$(PROFILE)" --port $(PORT) $(if $(DATA),--data "$(DATA)")

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

# Two processes of one thread each: most of the time is that of programs that start. A file stays in one process.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Removes what was built, never data/: that holds runs.
clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './data/*' -prune -exec rm -rf {} +
