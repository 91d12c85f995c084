# PORT: the API's port in `make run`. PYTHON: the interpreter to make the virtual environment with;
# its minor version is the one that a deployed Lambda runs.
PORT ?= 8000
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: run test

run: $(INSTALLED)
	@PORT=$(PORT) $(BIN)/python -m dev.run

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest --cov --cov-report=term

$(INSTALLED): requirements.txt requirements-dev.txt
	@echo "Making the virtual environment $(VENV) (the first time takes a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
