# PORT: the port of the API in `make run`. PYTHON: the interpreter of the virtual environment; its
# minor version is that of the Lambda. REGION, STACK and the stack's settings: for `make deploy`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
SAM_CLI := 1.170.0

# The developer's shell has no say in what Python imports, where pip installs, and where cd goes.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PIP_TARGET PIP_PREFIX CDPATH
export PIP_USER := 0

ifneq ($(words $(VENV)),1)
$(error VENV is "$(VENV)". It must be a path without spaces)
endif
# The file says where the environment was made. It is made again if it was moved or copied, for its
# scripts name their interpreter by its path, or if that has gone or has become another version; but
# a link to one may be there.
CHECK := import os, site, sys; os.stat(site.getsitepackages()[0]); \
	print(open(sys.prefix + "/installed").read() == os.path.realpath(sys.prefix))
ifneq ($(shell $(BIN)/python -I -c '$(CHECK)' 2>/dev/null),True)
.PHONY: $(INSTALLED)
CLEAR := $(if $(wildcard $(INSTALLED)),--clear)
endif

.PHONY: run test mutants soak bench package golden examples types deploy verify audit pins secrets

run: $(INSTALLED)
	@$(BIN)/python -E -m dev.run

# SOAK=1: longer runs of the tests with faults, hostile input and load, make soak's among them.
# With CI set it also measures the coverage, which costs a minute, and runs the tests that need one.
# More processes than processors, because many tests wait. In a new environment each of them would
# compile what it imports: that is done before, once, while mypy needs only one processor.
test: COLLECT = env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest --collect-only -qq
test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	[ $(VENV)/collected -nt $(INSTALLED) ] || $(COLLECT) >$(VENV)/collected & $(BIN)/mypy && wait
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest $(if $(CI),--cov --cov-report=term) --numprocesses 4 --dist loadfile --no-loadscope-reorder

# Load by locust on the deployed stack, on the emulated AWS: 5 minutes, or LOAD_SECONDS=60.
soak: $(INSTALLED)
	SOAK=1 $(BIN)/pytest -s tests/stack/test_deployed.py -k under_load

# Mutation testing: MODULE=chalicelib.paging limits it; a run that was stopped goes on, unless the
# tests have changed: then remove build/mutants. MODULE=client tests client/api.js, by Stryker, whose
# version 10 needs Node 22.
mutants: export PYTHON_HERE := $(abspath $(BIN))/python
mutants: $(INSTALLED)
ifeq ($(MODULE),client)
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 npx --yes --package=@stryker-mutator/core@9.6.1 -- \
		stryker run tests/frontend/stryker.config.json
else
	mkdir -p build/mutants && git ls-files | tar -cT - | tar -xC build/mutants
	cd build/mutants && unset PYTHONDONTWRITEBYTECODE && "$$PYTHON_HERE" -m dev.mutants && \
		"$$PYTHON_HERE" -m mutmut run $(MODULE:%=%.*) && \
		"$$PYTHON_HERE" -m mutmut results | sed '/: not checked/d'
endif

bench: $(INSTALLED)
	$(BIN)/python -m bench.run

# Known vulnerabilities of what Lambda gets, from an advisory database on the network.
audit: $(INSTALLED)
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r requirements.txt

# Compiles requirements-dev.in; with UPGRADE=1 it also renews what that does not name. pip,
# setuptools and wheel stay those of the virtual environment.
pins: $(INSTALLED)
	$(BIN)/uv pip compile --quiet --system-certs --python-version 3.11 --no-annotate \
		$(if $(UPGRADE),--upgrade) $(addprefix --no-emit-package ,pip setuptools wheel) \
		requirements-dev.in -o requirements-dev.txt

# Secrets in tracked files. An example's line ends with the comment "pragma: allowlist secret".
secrets: $(INSTALLED)
	@files=$$(git ls-files) && $(BIN)/detect-secrets-hook --no-verify $$files

package: $(INSTALLED)
	$(BIN)/python -m dev.package

# The template that the tests expect, without the interpreter's version: review the difference.
golden: package
	sed -e 's/\( Runtime: python\).*/\1/' -e '/GenerateSecret/s/$$/  # pragma: allowlist secret/' \
		build/template.yaml >tests/stack/template.yaml

# The examples of openapi.yaml: what the app responds to the requests in the test.
examples: $(INSTALLED)
	WRITE_EXAMPLES=1 $(BIN)/pytest -q tests/api/test_openapi.py -k test_each_example

# client/api.d.ts: the types of client/api.js.
types: $(INSTALLED)
	WRITE_TYPES=1 $(BIN)/pytest -q tests/frontend/test_client.py -k test_the_types_are_those_of_the_code

# A parameter of the stack that is not on make's command line is not passed on, so it keeps its value:
# the LOG_LEVEL that a shell sets for `make run` changes no stack.
given = $(if $(filter command,$(origin $1)),$2=\"$$$1\")
PARAMETERS = $(strip \
	$(call given,ALLOWED_ORIGIN,AllowedOrigin) \
	$(call given,ALARM_EMAIL,AlarmEmail) \
	$(call given,URL_EXPIRY_SECONDS,UrlExpirySeconds) \
	$(call given,URL_WINDOW_SECONDS,UrlWindowSeconds) \
	$(call given,LOG_LEVEL,LogLevel) \
	$(call given,JOB_LIST_CONSISTENT_READ,JobListConsistentRead) \
	$(call given,RATE_LIMIT,RateLimit) \
	$(call given,BURST_LIMIT,BurstLimit))

# Each stack has an S3 prefix of its own, because `sam delete` deletes the code below the stack's.
# The SAM CLI of uvx has an environment of its own: its dependencies conflict with ours.
deploy: package
	@export SAM_CLI_TELEMETRY=0; \
	sam=$$(command -v sam) || sam="$(BIN)/uvx --quiet --system-certs --python $(BIN)/python --from aws-sam-cli==$(SAM_CLI) sam"; \
	$$sam --version || { echo "There is no sam in the PATH, and uvx could not install it. Install the AWS SAM CLI, and run make deploy again." >&2; exit 1; }; \
	region=$${REGION:-$$AWS_REGION}; \
	$$sam deploy $${STACK:+--stack-name "$$STACK" --s3-prefix "$$STACK"} $${region:+--region "$$region"} $(if $(PARAMETERS),--parameter-overrides "$(PARAMETERS)")

# Proves the stack STACK in REGION, by temporary users and their jobs.
verify: $(INSTALLED)
	@$(BIN)/python -m dev.verify

$(INSTALLED): requirements.txt requirements-dev.txt
	@echo "Making the virtual environment $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(CLEAR) $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements-dev.txt)
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python $$(cache=$$($(BIN)/uv cache dir) && mkdir -p "$$cache" 2>/dev/null && [ -w "$$cache" ] || echo --no-cache) -r requirements.txt -r requirements-dev.txt
	@printf %s "$$(cd $(VENV) && pwd -P)" > $@
