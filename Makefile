# Every command that people and CI type. `make help` lists them.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
SANDBOX := $(PYTHON) -m workbench.sandbox
CACHE := $(or $(VLLM_EVAL_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vllm-eval)
UV_VERSION := 0.9.5
SOURCES := __main__.py components monitoring eval workbench tests

.PHONY: help up down status logs doctor preview shell ui test test-unit test-settings test-e2e test-context test-all drill check lint fmt lock docs tools clean root venv bench-runner bench-statistics bench-preview bench-alerts

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Only as typed: people export a CONTEXT or STACK for scripts of their own, and `up` must not follow it to production.
ifneq ($(origin CONTEXT),command line)
unexport CONTEXT
endif
ifneq ($(origin STACK),command line)
unexport STACK
endif
ifneq ($(origin STANDINS),command line)
unexport STANDINS
endif
ifneq ($(origin KIND),command line)
unexport KIND
endif

up: root venv  ## deploy everything and print the scores, on a cluster on this machine; CONTEXT=name is one of yours (STACK=dev)
	@$(SANDBOX) up

# Before anything is changed, the virtual environment too.
root:
	@[ "$$(id -u)" = 0 ] || [ "$(origin CONTEXT)" = "command line" ] || { echo 'error: this user is not root: namespaces and mounts need it; run `sudo make up`' >&2; exit 2; }

down:  ## end the sandbox and remove all that it left on this machine but the caches
	@python3 -m workbench.sandbox.down down

status: venv  ## print the sandbox's processes, pods and scores
	@$(SANDBOX) status

logs: venv  ## print the evaluation's last lines, and where the sandbox's processes write theirs
	@$(SANDBOX) logs

doctor: venv  ## tell whether this machine, or the cluster of CONTEXT=name, has what `make up` needs; changes nothing
	@$(SANDBOX) doctor

preview: venv  ## show what an update would change: STACK=local is the sandbox's, any other one is yours
	@case "$(STACK)" in \
	  "") echo 'error: STACK is not set: make preview STACK=dev' >&2; exit 2 ;; \
	  local) $(SANDBOX) preview ;; \
	  *) pulumi preview --diff --stack '$(STACK)' ;; \
	esac

shell: venv  ## open a shell inside the sandbox (kubectl, pulumi, helm at hand)
	@$(SANDBOX) shell

ui: venv  ## show Argo CD, Prometheus and Alertmanager on ports of this machine until Ctrl-C (UI_PORTS=…)
	@$(SANDBOX) ui

test:  ## within an hour from cold: lint and types, then the end-to-end suite on a sandbox of its own, beside it the unit tests
	@python3 tests/run.py venv:60 tools:1380 lint:60 test-e2e:1740,test-unit:1200

check: venv lint test-unit  ## lint, types and the tests that need no cluster

test-unit: venv tools
	@$(PYTHON) tests/side_by_side.py

test-settings: venv tools  ## change each setting on the real engine and a real API server (some ten minutes)
	@$(PYTHON) -m pytest -q -m slow tests/integration/components

test-e2e: venv tools  ## the end-to-end suite, on a sandbox that it starts and ends; KIND=name is a cluster of kind's
	@$(PYTHON) -m pytest -m e2e --durations=8 tests/e2e

test-context: venv  ## with CONTEXT=name: the main job on that cluster, which must be free of the stack
	@$(PYTHON) -m pytest -m e2e tests/e2e/test_context.py

test-all: test  ## `make test`, then what takes longer: every setting on the engine, kills at every stage of `make up`, two clones, a node like kind's
	@$(PYTHON) -m pytest -m slow

drill: venv tools  ## let a model get worse, better, unreachable, and watch the alerts arrive (some ten minutes)
	@$(PYTHON) -m pytest -q -s -m e2e tests/e2e/test_drill.py

bench-runner: venv tools  ## measure the runner (half an hour) against a raw load generator and lm_eval itself
	@PATH="$(CACHE)/bin:$$PATH" PYTHONPATH=.:eval/evalchemy $(PYTHON) -m tests.bench.bench_runner

bench-statistics: venv  ## simulate years of verdicts (some ten minutes): false alarms and drops found
	@PYTHONPATH=.:eval/evalchemy $(PYTHON) -m tests.bench.bench_statistics --years 20

bench-preview: venv tools  ## measure a preview against a bare program with the same resources
	@$(PYTHON) -m pytest -q -s -m bench tests/bench/test_bench_preview.py

bench-alerts: venv tools  ## play years of noise, drops and slips to the alert rules (twenty minutes), beside a plain rule
	@$(PYTHON) -m pytest -q -s -m bench tests/bench tests/integration/monitoring

lint: venv tools  ## ruff, mypy, yamllint, actionlint, zizmor
	@$(PYTHON) -m ruff check --quiet .
	@$(PYTHON) -m ruff format --quiet --check .
	@$(PYTHON) -m mypy --no-error-summary $(SOURCES)
	@$(VENV)/bin/yamllint --strict .
	@$(CACHE)/bin/actionlint
	@$(VENV)/bin/zizmor --offline --quiet --persona auditor .github

fmt: venv  ## format the Python sources
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix-only --quiet .

docs: venv  ## re-make the settings' JSON schema, docs/settings.md and the table of docs/tasks.md
	@PYTHONPATH=.:eval/evalchemy $(PYTHON) -m components.settings.schema
	@PYTHONPATH=.:eval/evalchemy $(PYTHON) -m components.settings.reference
	@PYTHONPATH=.:eval/evalchemy $(PYTHON) -m vllm_eval.coverage eval/evalchemy/requirements.txt docs/tasks.md

tools: venv  ## build the pinned tools into the cache
	@$(SANDBOX) tools

clean: down  ## `down`, and remove the caches and the virtual environment
	@python3 -m workbench.sandbox.down clean
	@rm -rf $(VENV)

venv: $(VENV)/.complete

REFUSED := { echo 'error: the Python packages could not be installed: name a package index that this machine may use (`pip config set global.index-url …` and UV_DEFAULT_INDEX), or a proxy in HTTPS_PROXY, and run the same again' >&2; exit 2; }
# uv only fills the virtual environment; it is not one of our packages.
$(VENV)/.complete: requirements-dev.txt
	@echo "• Python packages …"
	@rm -rf $(VENV) && python3 -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || $(REFUSED)
	@$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --require-hashes -r requirements-dev.txt || $(REFUSED)
	@sync; touch $@

COMPILE := $(VENV)/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11
lock: venv  ## re-make the hashed requirements files from the .in files
	@$(COMPILE) -o eval/evalchemy/requirements.txt eval/evalchemy/requirements.in
	@$(COMPILE) -o requirements.txt requirements.in
	@$(COMPILE) -o requirements-dev.txt requirements-dev.in -c requirements.txt -c eval/evalchemy/requirements.txt
	@$(COMPILE) -o docker/evalchemy-requirements.txt docker/evalchemy-requirements.in
	@$(COMPILE) -o workbench/sandbox/images/model/requirements.txt workbench/sandbox/images/model/requirements.in
