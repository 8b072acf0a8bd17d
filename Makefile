# The two commands are `make demo` and `make test`; both install what is missing, and say so.
SHELL := /bin/bash
PYTHON := .venv/bin/python
# Tests wait for hosts about as long as they compute.
TESTERS ?= $(shell echo $$(( $$(nproc) + 1 )))

.PHONY: help environment lab demo test unit lint bench chaos container lock pictures messages lab-up lab-down clean molecule

help:  ## Show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

environment:
	@scripts/environment

lab: environment
	@$(PYTHON) -m tests.lab prepare

demo: lab  ## Take three simulated OBProxy hosts over and watch it
	@$(PYTHON) -m tests.lab.demo

test: lab lint  ## Run the linters and all tests
	@$(PYTHON) -m pytest tests --numprocesses=$(TESTERS) --dist=loadfile $(ARGS)

unit: environment  ## Run the tests that need nothing but Python
	@$(PYTHON) -m pytest tests/unit $(ARGS)

lint: environment .config/javascript/node_modules  ## Run every linter and type checker
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports
	@$(PYTHON) -m scripts.prose
	@.venv/bin/deptry .
	@.venv/bin/oxlint --config .config/javascript/oxlintrc.json service/pages/static
	@PATH=$(CURDIR)/.venv/bin:$$PATH .config/javascript/node_modules/.bin/tsc --project .config/javascript
	@.venv/bin/yamllint --strict . && PATH=$(CURDIR)/.venv/bin:$$PATH .venv/bin/ansible-lint --strict

.config/javascript/node_modules: .config/javascript/package-lock.json | environment
	@PATH=$(CURDIR)/.venv/bin:$$PATH npm --prefix $(@D) ci --silent --no-audit --no-fund
	@touch $@

molecule: lab  ## Test one role alone on a host: make molecule ROLE=check_command
	@cd roles/$(ROLE) && PATH=$(CURDIR)/.venv/bin:$$PATH molecule test

bench: lab  ## Measure side by side: ours, bare Ansible, generic modules
	@$(PYTHON) -m tests.bench

chaos: lab  ## Kill every part of the service at every subtask
	@CHAOS=all $(PYTHON) -m pytest tests/lab/test_chaos.py -s $(ARGS)

container: lab  ## Build deploy/Containerfile and take a lab host over from within it
	@CONTAINER=1 $(PYTHON) -m pytest tests/lab/test_containerfile.py -s $(ARGS)

lock: environment  ## Pin the newest versions that fit pyproject.toml
	@.cache/uv-venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.12 --generate-hashes \
	    --no-header --group dev --extra otel pyproject.toml -o requirements.lock

pictures: lab  ## Take a picture of every page, in both themes and languages and three widths, into pictures/
	@$(PYTHON) -m tests.browser.pictures pictures

messages: environment  ## Bring the catalogs of the pages' languages up to date with what is said
	@.venv/bin/pybabel -q extract -F service/http/locale/babel.cfg --no-location --sort-output -o .cache/messages.pot service
	@.venv/bin/pybabel -q update -i .cache/messages.pot -o service/http/locale/zh_CN.po -l zh_CN --no-fuzzy-matching \
	    --ignore-obsolete --ignore-pot-creation-date -w 120

lab-up: lab  ## Start a lab host to play with: make lab-up NAME=odp-1 STATE=running
	@$(PYTHON) -m tests.lab up $(or $(NAME),odp-1) --state $(or $(STATE),running)

lab-down:  ## Remove the hosts of make lab-up
	@$(PYTHON) -m tests.lab down

clean:  ## Remove what the other targets made in this directory
	@rm -rf .config/javascript/node_modules .venv .cache .lab data pictures bench-results.json bench-results.html
