# PORT: the API's port in `make run`. PYTHON: what makes the virtual environment; its minor version
# is the one that a deployed Lambda runs. REGION, STACK, ALLOWED_ORIGIN, ALARM_EMAIL: of `make deploy`.
PORT ?= 8000
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
export PORT REGION STACK ALLOWED_ORIGIN ALARM_EMAIL

.PHONY: run test package deploy

run: $(INSTALLED)
	@$(BIN)/python -m dev.run

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest --cov --cov-report=term

package: $(INSTALLED)
	$(BIN)/python -m dev.package

deploy: package
	$(BIN)/python -m dev.deploy

$(INSTALLED): requirements.txt requirements-dev.txt
	@echo "Making the virtual environment $(VENV) (the first time takes a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
