# Every target sets up what it needs; a fresh Debian or Ubuntu needs only Python >= 3.11 and make.
#   make demo [DATA=DIR] [ARGS=--exit]   the main job on embedded defaults
#   make test [ARGS='-m "not image"']    all tests, their peers installed first
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
DATA ?=

.PHONY: setup setup-dev peers demo test lint format bench docs clean

setup: $(VENV)/.base
setup-dev: $(VENV)/.dev

$(BIN)/python:
	@sh docker/make-venv.sh $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	@echo "setup: installing the base packages (no torch) into $(VENV)"
	@$(BIN)/python -m pip install --quiet --quiet -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "setup: installing test and training packages into $(VENV) (torch: a few GB, about two minutes)"
	@$(BIN)/python -m pip install --quiet --quiet -e '.[dev,train]'
	@touch $(VENV)/.base $@

peers:
	@sh tests/install-peers.sh

demo: setup
	@$(BIN)/ecg-gateway demo $(if $(DATA),--data "$(DATA)") $(ARGS)

test: setup-dev peers
	@$(BIN)/pytest $(ARGS)

lint: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup-dev peers
	@$(BIN)/python -m benchmarks $(ARGS)

docs: setup-dev
	@$(BIN)/pytest -q tests/unit/test_docs.py

clean:
	rm -rf $(VENV) build dist *.egg-info
