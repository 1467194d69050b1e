# Every command that people and CI type. `make help` lists them.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
WORKBENCH := $(PYTHON) -m workbench
# tests/run.py adds PYTEST_OPTIONS: what failed is remembered, and runs again.
PYTEST := $(PYTHON) -m pytest -q $(PYTEST_OPTIONS)
CACHE := $(or $(VLLM_EVAL_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vllm-eval)
UV_VERSION := 0.9.5
SOURCES := __main__.py components monitoring eval workbench tests

.PHONY: help up down status logs doctor verify preview render shell ui reports test quick test-unit test-rest test-browser pictures grafana-picture prometheus-page chromium test-settings test-e2e test-context test-all drill check lint coverage fmt lock docs generate release tools small-tools clean root venv bench-runner bench-statistics bench-properties bench-preview bench-alerts vllm test-vllm

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Only as typed: people export a CONTEXT or a MODEL for scripts of their own, and `up` must not follow it to production.
typed = $(if $(filter command line,$(origin $(1))),--$(2)='$(subst ','\'',$($(1)))')
OPTIONS = $(call typed,CONTEXT,context) $(call typed,STACK,stack) $(call typed,STANDINS,standins) \
  $(call typed,MODEL_ENDPOINT,model-endpoint) $(call typed,MODEL,model) $(call typed,MODEL_TAG,model-tag) \
  $(call typed,LIMIT,limit) $(call typed,SERVER,server) $(call typed,UI_PORTS,ports) $(call typed,TO,to) \
  $(call typed,ALERT,alert)
# Compiled modules lie beside their sources; without them each of the many processes here compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

up: root venv  ## deploy everything and print the scores, on a cluster on this machine; CONTEXT=name is one of yours (STACK=dev)
	@$(WORKBENCH) up $(OPTIONS)

# Before anything is changed, even the virtual environment.
root:
	@python3 -m workbench may-start $(OPTIONS)

down:  ## end the sandbox and remove all that it left on this machine but the caches
	@python3 -m workbench down $(OPTIONS)

status: venv  ## print the sandbox's processes, pods and scores
	@$(WORKBENCH) status $(OPTIONS)

logs: venv  ## print the evaluation's last lines, and where the sandbox's processes write theirs
	@$(WORKBENCH) logs $(OPTIONS)

doctor: venv  ## tell whether this machine, or the cluster of CONTEXT=name, has what `make up` needs; changes nothing
	@$(WORKBENCH) doctor $(OPTIONS)

verify: venv  ## tell step by step whether the stack on the cluster of CONTEXT=name works, up to a test alert (STACK=dev, ALERT=0: none)
	@$(WORKBENCH) verify $(OPTIONS)

preview: venv  ## show what an update would change: STACK=local is the sandbox's, any other one is yours
	@$(WORKBENCH) preview $(OPTIONS)

render: venv  ## write the manifests of STACK=… to DIR=… (rendered/STACK), without a cluster or Pulumi's state
	@$(PYTHON) -m components.render $(call typed,STACK,stack) $(call typed,DIR,folder)

shell: venv  ## open a shell inside the sandbox (kubectl, pulumi, helm at hand)
	@$(WORKBENCH) shell $(OPTIONS)

ui: venv  ## show scores, reports, alerts and Argo CD's state in a browser until Ctrl-C (UI_PORTS=…)
	@$(WORKBENCH) ui $(OPTIONS)

reports: venv  ## copy the last runs' reports out of the cluster CONTEXT=name (STACK=…) into the folder TO=results
	@$(WORKBENCH) reports $(OPTIONS)

quick: venv  ## in two minutes, without root and without tools: format, lint, types and the unit tests
	@HYPOTHESIS_PROFILE=quick $(MAKE) --no-print-directory -j 2 lint test-unit

check: quick small-tools  ## `make quick`, and what needs only Git and small tools: workflows, manifests, the runner's processes
	@$(CACHE)/bin/actionlint
	@$(PYTEST) -n 2 --dist loadfile tests/integration/small

test:  ## within an hour from cold: lint and types, then the end-to-end suite on a sandbox of its own, beside it the unit tests
	@python3 tests/run.py --again venv:60 tools:1380 lint:60 test-e2e:1740,test-rest:1200

# Everything but the end-to-end suite, which `make test` runs beside it.
test-rest: venv tools
	@$(PYTHON) -m tests.support.sealed $(PYTEST) -n 2 --dist loadfile

test-unit: venv
	@$(PYTEST) -n 2 --dist loadfile tests/unit

test-browser: chromium  ## the report, the dashboard and the sandbox's page in a headless Chromium
	@$(PYTEST) -s -m browser tests/browser

pictures: chromium  ## take the pictures of the documentation anew, in that Chromium
	@$(PYTHON) -m tests.browser.pictures

grafana-picture: chromium  ## show the dashboard in the Grafana at GRAFANA=http://…:3000, which must be one for trials, and take its picture
	@$(PYTHON) -m tests.browser.grafana $(call typed,GRAFANA,grafana)

prometheus-page: venv  ## build Prometheus' own page for `make ui`, from npm's registry (Node 20, five minutes, 400 MB meanwhile)
	@$(PYTHON) -m workbench.toolchain.prometheus_page

# The machine's own, or Debian's unpacked into the cache; the dashboard needs Prometheus besides.
chromium: venv tools
	@$(PYTHON) -m workbench.toolchain.chromium

test-settings: venv tools  ## change each setting on the real engine and a real API server (some ten minutes)
	@$(PYTHON) -m pytest -q -m slow tests/integration/components

test-e2e: venv tools  ## the end-to-end suite, on a sandbox that it starts and ends; KIND=name is a cluster of kind's
	@$(PYTHON) -m pytest -m e2e --durations=8 $(PYTEST_OPTIONS) $(call typed,KIND,kind) tests/e2e

test-context: venv  ## with CONTEXT=name: the main job on that cluster, which must be free of the stack
	@$(PYTHON) -m pytest -m e2e $(call typed,CONTEXT,context) tests/e2e/test_context.py

test-vllm: venv  ## the runner's main paths on vLLM itself, for CPUs, with a small real model (some twenty minutes, 8 GB of memory)
	@$(PYTHON) -m pytest -q -m vllm --durations=5 tests/vllm

test-all: test test-browser test-vllm  ## `make test`, then what takes longer: the pages in a browser, vLLM itself, every setting on the engine, kills at every stage of `make up`, two clones, a node like kind's
	@$(PYTHON) -m pytest -m slow

drill: venv tools  ## let a model get worse, better, unreachable, and watch the alerts arrive (some ten minutes)
	@$(PYTHON) -m pytest -q -s -m e2e -k "not second_stack" tests/e2e/test_drill.py

bench-runner: venv tools  ## measure the runner (half an hour) against a raw load generator and lm_eval itself
	@PATH="$(CACHE)/bin:$$PATH" $(PYTHON) -m tests.bench.bench_runner

bench-statistics: venv  ## simulate years of verdicts (some ten minutes): false alarms and drops found
	@$(PYTHON) -m tests.bench.bench_statistics --years 20

bench-properties: venv  ## try 10,000 examples of each property of items, numbers and answers (some ten minutes)
	@HYPOTHESIS_PROFILE=bench $(PYTEST) $(addprefix tests/unit/eval/,test_items.py test_any_text.py test_numbers.py) -k "any or number or notation"

bench-preview: venv tools  ## measure a preview against a bare program with the same resources
	@$(PYTHON) -m pytest -q -s -m bench tests/bench/test_bench_preview.py

bench-alerts: venv tools  ## play years of noise, drops and slips to the alert rules (twenty minutes), beside a plain rule
	@$(PYTHON) -m pytest -q -s -m bench tests/bench tests/integration/monitoring

vllm: venv  ## serve the small model by vLLM itself on port 18555 of 127.0.0.1 until Ctrl-C (OPTIONS_OF_VLLM=…)
	@exec $(PYTHON) -m workbench.toolchain.vllm.serve $(call typed,OPTIONS_OF_VLLM,options)

lint: venv  ## ruff, mypy, import-linter, vulture, shellcheck, yamllint, zizmor; `make check` adds actionlint
	@$(PYTHON) -m ruff check --quiet .
	@$(PYTHON) -m ruff format --quiet --check .
	@$(PYTHON) -m mypy --no-error-summary $(SOURCES)
	@told=$$($(VENV)/bin/lint-imports --no-logo) || { echo "$$told"; exit 1; }
	@$(VENV)/bin/vulture
	@$(VENV)/bin/shellcheck $(shell find workbench -name '*.sh') workbench/cluster/language/pulumi-language-python
	@$(VENV)/bin/yamllint --strict .
	@$(VENV)/bin/zizmor --offline --quiet --persona auditor .github

coverage: venv  ## list the lines that no unit test runs
	@$(PYTHON) -m coverage run -m pytest -q tests/unit
	@$(PYTHON) -m coverage report

fmt: venv  ## format the Python sources
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix-only --quiet .

docs: venv $(VENV)/docs/.complete  ## build the documentation as a site, English and Korean; a link that leads nowhere is an error
	@$(PYTHON) -m workbench.ci.docs $(VENV)/docs/bin/zensical

release: venv  ## name what is unreleased after VERSION=1.2.0, commit and tag it; nothing is pushed
	@$(PYTHON) -m workbench.ci.release $(call typed,VERSION,version)

generate: venv  ## re-make every committed file that is made: schemas, docs/settings.md, alert rules, dashboard, data
	@$(PYTHON) -m workbench.ci.generate

tools: venv  ## build the pinned tools into the cache
	@$(WORKBENCH) tools

small-tools: venv
	@$(WORKBENCH) tools --small

clean: down  ## `down`, and remove the caches and the virtual environment
	@python3 -m workbench clean $(OPTIONS)
	@rm -rf $(VENV)

venv: $(VENV)/.complete

REFUSED := { echo 'error: the Python packages could not be installed: name a package index that this machine may use (`pip config set global.index-url …` and UV_DEFAULT_INDEX), or a proxy in HTTPS_PROXY, and run the same again' >&2; exit 2; }
# uv only fills the virtual environment; it is not one of our packages. The runner is a package of its own: editable, so
# that the program, the tools and the tests import the working tree; its requirements are among ours.
RUNNER := $(VENV)/bin/uv pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation -e eval/evalchemy
$(VENV)/.complete: requirements-dev.txt
	@echo "• Python packages …"
	@rm -rf $(VENV) && python3 -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || $(REFUSED)
	@$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --require-hashes -r requirements-dev.txt || $(REFUSED)
	@$(RUNNER)
	@sync; touch $@

$(VENV)/docs/.complete: docs/requirements.txt | $(VENV)/.complete
	@echo "• the documentation's generator …"
	@rm -rf $(@D) && python3 -m venv --without-pip $(@D)
	@$(VENV)/bin/uv pip install --quiet --python $(@D)/bin/python --require-hashes -r docs/requirements.txt || $(REFUSED)
	@touch $@

# Each file says at its top how it was made, which Renovate reads (.github/renovate.json): options with `=`. It knows no
# `--override`, so that vLLM's stays with us.
COMPILE := $(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version=3.11
lock: venv  ## re-make the hashed requirements files from the .in files
	@$(COMPILE) --output-file=eval/evalchemy/requirements.txt eval/evalchemy/requirements.in
	@$(COMPILE) --output-file=requirements.txt requirements.in
	@$(COMPILE) --constraint=requirements.txt --constraint=eval/evalchemy/requirements.txt --output-file=requirements-dev.txt requirements-dev.in
	@$(COMPILE) --output-file=docker/evalchemy-requirements.txt docker/evalchemy-requirements.in
	@$(COMPILE) --output-file=workbench/sandbox/images/model/requirements.txt workbench/sandbox/images/model/requirements.in
	@$(COMPILE) --output-file=docs/requirements.txt docs/requirements.in
	@$(COMPILE) --no-header --override=workbench/toolchain/vllm/overrides.txt --output-file=workbench/toolchain/vllm/requirements.txt workbench/toolchain/vllm/requirements.in
