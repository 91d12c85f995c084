# PORT: the API's port in `make run`. PYTHON: what makes the virtual environment; its minor version
# is the one that a deployed Lambda runs. REGION, STACK, ALLOWED_ORIGIN, ALARM_EMAIL: of `make deploy`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: run test soak bench package deploy audit secrets

run: $(INSTALLED)
	@$(BIN)/python -m dev.run

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest --cov --cov-report=term --numprocesses 2 --dist loadfile

# The long run of the faults, the hostile input and the load: about eight minutes.
soak: $(INSTALLED)
	SOAK=1 $(BIN)/pytest tests/test_faults.py tests/test_hostile.py tests/test_load.py tests/test_deployed.py

bench: $(INSTALLED)
	$(BIN)/python -m bench.run

# Known vulnerabilities of what Lambda gets; it asks an advisory database over the network.
audit: $(INSTALLED)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements.txt

# Secrets in what git tracks, beside those that .secrets.baseline knows to be examples. It fails too
# where their lines have moved, and writes the new ones: look, and commit.
secrets: $(INSTALLED)
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline

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
