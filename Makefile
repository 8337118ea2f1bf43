# `make demo` and `make test` do everything on a bare machine with python >= 3.10, from creating .venv on.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint types layers unit experiments figures docs format bench clean

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt $(wildcard CMakeLists.txt native/*)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch" "numpy"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,dev]"
	@touch $@

demo: $(STAMP)  ## the story in a minute, on real data, no downloads
	@$(BIN)/fanin demo

test: lint types layers unit  ## every check that a change must pass

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/pytest -q -n 2

experiments: $(STAMP)  ## the classic experiments, each with its verdict; figures and CSV in build/experiments
	$(BIN)/fanin experiment all --out build/experiments

figures: $(STAMP)  ## the pictures of README and docs
	$(BIN)/python docs/_pictures.py

docs: $(STAMP)  ## the pages that are made from the registries
	@for page in docs/_*.py; do echo $$page; $(BIN)/python $$page; done

format: $(STAMP)  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## ratios against rivals, interleaved in one process; wants a quiet machine
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build
