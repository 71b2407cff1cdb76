# Every target works alone on a machine with only Python >= 3.11, git and make.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-benchmark
EVENTS ?= 3000
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: demo test test-slow lint docs check benchmark clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       simulate, train, evaluate; ends with the path of a report (EVENTS=$(EVENTS))"
	@echo "make test       the quick tests"
	@echo "make test-slow  the tests that simulate, train or kill processes"
	@echo "make lint       ruff, mypy, import layers, spelling, habits of the scientific-python guide"
	@echo "make docs       the documentation, into build/docs; a warning is an error"
	@echo "make check      lint and all tests"
	@echo "make benchmark  the network and the data engine against their peers (half an hour)"

demo: $(VENV)/installed-demo
	$(BIN)/aot demo --events $(EVENTS)

test: $(VENV)/installed-dev
	$(PYTEST) -n auto -m "not slow"

test-slow: $(VENV)/installed-dev
	$(PYTEST) -n auto -m slow

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/repo-review .

docs: $(VENV)/installed-dev
	$(BIN)/python -m sphinx -c docs . build/docs --fail-on-warning --keep-going --nitpicky --quiet
	@echo "documentation build/docs/index.html"

check: lint docs test test-slow

benchmark: $(PEERS)/installed
	$(PEERS)/bin/python benchmarks/model_speed.py
	$(PEERS)/bin/python benchmarks/data_engine.py

$(PEERS)/installed: $(VENV)/created pyproject.toml constraints.txt
	@echo "Installing the package and its peers into an environment of their own (about a minute) ..."
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet \
	  --constraint constraints.txt pip
	$(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet \
	  --constraint constraints.txt --editable '.[all]' weaver-core==0.5.3
	@touch $@

$(VENV)/created:
	@test -n "$(PYTHON)" || \
	  { echo "Python >= 3.11 is needed and was not found: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt pip
	@touch $@

$(VENV)/installed-demo: $(VENV)/created pyproject.toml constraints.txt
	@echo "Installing the package with its simulation and report extras (about a minute) ..."
	$(PIP) install --quiet --constraint constraints.txt --editable '.[sim,report]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/created pyproject.toml constraints.txt
	@echo "Installing the package with all extras and the development tools (about a minute) ..."
	$(PIP) install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	@touch $@ $(VENV)/installed-demo

clean:
	rm -rf $(VENV) $(PEERS) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis htmlcov
