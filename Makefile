# Main targets: `make demo` and `make test`. Both install what is missing.
# Targets that need each other's results say so; the others run side by side: the linters, and the preparation of the lab.
# Several targets of one command run in their order: `make clean demo`.
ifeq ($(word 2,$(MAKECMDGOALS)),)
MAKEFLAGS += --jobs=$(shell nproc)
endif
SHELL := /bin/bash
# Where it is set, every program that a test starts compiles all of its modules.
unexport PYTHONDONTWRITEBYTECODE
PYTHON := .venv/bin/python
OPENAPI := .config/openapi/node_modules/.bin
# Two more than the processors: tests wait for hosts about half of their time.
TESTERS ?= $(shell echo $$(( $$(nproc) + 2 )))
# In the order of the folders, the long tests first: at the end the short ones keep every process busy.
ALL_TESTS := tests --numprocesses=$(TESTERS) --dist=loadfile --no-loadscope-reorder

.PHONY: help environment lab demo test unit flaky coverage mutants lint lint-python lint-pages lint-openapi lint-ansible bench chaos container units lock openapi pictures messages lab-up lab-down clean molecule

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

environment:
	@scripts/environment

lab: environment
	@$(PYTHON) -m tests.lab prepare

demo: lab  ## Take three simulated OBProxy hosts over and show the progress
	@$(PYTHON) -m tests.lab.demo

test: lab lint  ## Run the linters and all tests
	@$(PYTHON) -m pytest $(ALL_TESTS) $(ARGS)

unit: environment  ## Run the unit tests, which need only Python
	@$(PYTHON) -m pytest tests/unit --numprocesses=$(shell nproc) --dist=worksteal $(ARGS)

flaky: environment  ## Run test files repeatedly beside busy processes: make flaky FILES="tests/unit" RUNS=10
	@$(PYTHON) -m scripts.flaky --runs $(or $(RUNS),10) $(FILES)

mutants: environment  ## Change code and queries, list what no test notices: make mutants MODULES="service/outcome service/store/sql"
	@$(PYTHON) -m scripts.mutants $(MODULES)

coverage: lab  ## Measure the branch coverage of all tests, or of some: make coverage FILES=tests/unit
	@.venv/bin/coverage erase && .venv/bin/coverage run -m pytest $(or $(FILES),$(ALL_TESTS)) $(ARGS)
	@.venv/bin/coverage combine --quiet && $(PYTHON) -m scripts.coverage_report $(FILES)

lint: lint-python lint-pages lint-openapi lint-ansible  ## Run every linter and type checker

lint-python: environment
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports
	@$(PYTHON) -m scripts.prose && $(PYTHON) -m scripts.commit_subjects
	@.venv/bin/deptry .

lint-pages: environment .config/javascript/node_modules
	@.venv/bin/oxlint --config .config/javascript/oxlintrc.json service/pages/static
	@PATH=$(CURDIR)/.venv/bin:$$PATH .config/javascript/node_modules/.bin/tsc --project .config/javascript

lint-openapi: environment .config/openapi/node_modules
	@.venv/bin/openapi-spec-validator docs/openapi.json
	@REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true PATH=$(CURDIR)/.venv/bin:$$PATH $(OPENAPI)/redocly lint docs/openapi.json --config .config/openapi/redocly.yaml
	@PATH=$(CURDIR)/.venv/bin:$$PATH $(OPENAPI)/spectral lint docs/openapi.json \
	    --ruleset .config/openapi/spectral.yaml --fail-severity hint --quiet

lint-ansible: environment
	@.venv/bin/yamllint --strict . && PATH=$(CURDIR)/.venv/bin:$$PATH .venv/bin/ansible-lint --strict

.config/%/node_modules: .config/%/package-lock.json | environment
	@PATH=$(CURDIR)/.venv/bin:$$PATH npm --prefix $(@D) ci --silent --no-audit --no-fund
	@touch $@

molecule: lab  ## Test one role on a lab host: make molecule ROLE=check_command
	@cd roles/$(ROLE) && PATH=$(CURDIR)/.venv/bin:$$PATH molecule test

bench: lab  ## Benchmark the service against bare Ansible and generic modules
	@$(PYTHON) -m tests.bench

chaos: lab  ## Kill each component at each subtask; with RANDOM=10, let faults happen at random for ten minutes
	@CHAOS=all CHAOS_MINUTES=$(RANDOM) $(PYTHON) -m pytest $(if $(RANDOM),tests/lab/test_random_chaos.py,tests/lab/test_chaos.py tests/lab/test_discovery_chaos.py) -s $(ARGS)

container: lab  ## Build deploy/Containerfile and run a takeover from the container
	@CONTAINER=1 $(PYTHON) -m pytest tests/lab/test_containerfile.py -s $(ARGS)

units: lab  ## Start the systemd units of deploy/ on a Debian and take a host over with them
	@UNITS=1 $(PYTHON) -m pytest tests/lab/test_service_units.py -s $(ARGS)

lock: environment  ## Pin the newest versions that pyproject.toml allows
	@.cache/uv-venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.12 --generate-hashes \
	    --no-header --group dev --extra otel pyproject.toml -o requirements.lock

pictures: lab  ## Save screenshots of every page to pictures/, in both themes and languages and four widths
	@$(PYTHON) -m tests.browser.pictures pictures

openapi: environment  ## Write the OpenAPI document to docs/openapi.json
	@$(PYTHON) -m scripts.openapi

messages: environment  ## Update the message catalogs of the pages
	@.venv/bin/pybabel -q extract -F service/http/locale/babel.cfg --no-location --sort-output -o .cache/messages.pot service
	@.venv/bin/pybabel -q update -i .cache/messages.pot -o service/http/locale/zh_CN.po -l zh_CN --no-fuzzy-matching \
	    --ignore-obsolete --ignore-pot-creation-date -w 120

lab-up: lab  ## Start a lab host: make lab-up NAME=odp-1 STATE=running
	@$(PYTHON) -m tests.lab up $(or $(NAME),odp-1) --state $(or $(STATE),running)

lab-down:  ## Remove the lab hosts of make lab-up
	@$(PYTHON) -m tests.lab down

clean:  ## Remove the files that the other targets create in this directory
	@rm -rf .config/*/node_modules .venv .cache .lab data pictures bench-results.json bench-results.html
