# What each verb does: make help. Options: TO=local|aws|gcp|azure PROFILE=dev|production NAME=...
.DEFAULT_GOAL := help
.PHONY: help setup deploy destroy serve test check fmt fuzz bench eval docs screenshots clean lock

SET_UP = @python3 infra/toolchain.py
BIN = .venv/bin
TARGET = $(if $(TO),--to $(TO))
DEPLOYMENT = $(TARGET) $(if $(PROFILE),--profile $(PROFILE)) $(if $(NAME),--name $(NAME))

help: ## print the verbs
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## everything that work on the bot needs, in .venv, .tools and node_modules
	$(SET_UP) setup

deploy: ## deploy the bot and ask it a question: on this machine, or TO= a cloud
	$(SET_UP) $(or $(TO),local)
	@$(BIN)/wordup deploy $(DEPLOYMENT)

destroy: ## remove what deploy made
	$(SET_UP) $(or $(TO),local)
	@$(BIN)/wordup destroy $(DEPLOYMENT)

serve: ## run the bot on this machine without any cloud
	$(SET_UP) serve
	@$(BIN)/wordup serve

test: ## run every test
	$(SET_UP) test
	@python3 inference/toolchain.py setup
	$(BIN)/pytest $(TESTS)
	$(if $(TESTS),,cd inference && .venv/bin/pytest)

check: ## lint, format, types, import contracts
	$(SET_UP) check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/pyright

fmt: ## format the code and mend what the linter can
	$(SET_UP) check
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

fuzz: ## feed the parsers, then send 10,000 requests made from the description of the interface, or REQUESTS=
	$(SET_UP) test
	$(BIN)/python -m tests.parsers
	$(BIN)/python -m tests.fuzzing $(REQUESTS)

bench: ## run every benchmark, or BENCH= one of them
	$(SET_UP) bench
	@set -e; for name in $(or $(BENCH),$(patsubst benchmarks/%.py,%,$(shell grep -l __main__ benchmarks/*.py))); do \
		$(BIN)/python -m benchmarks.$$name; done

eval: ## measure retrieval on the test questions, fail below its floors; with a key, have answers judged
	$(SET_UP) check
	@$(BIN)/wordup knowledge eval knowledge/eval/questions.toml --split test --least-recall 0.92 --least-mrr 0.85

docs: ## write what is made from the code: parts of docs/, the snapshots of the templates
	$(SET_UP) check
	@$(BIN)/python -m cli.docs
	@$(BIN)/python -m benchmarks.results
	@$(BIN)/python -m infra.parity
	@$(BIN)/python -m tests.infrastructure.template_snapshots

screenshots: ## take the pictures of the page anew
	$(SET_UP) test
	@$(BIN)/python -m tests.screenshots

clean: ## remove what was set up, built or cached; deployments and data stay
	rm -rf .venv inference/.venv .tools node_modules build dist cdk.out .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

lock: ## resolve the lock files anew from pyproject.toml and package.json; UPGRADE=1 takes the newest
	$(SET_UP) lock
