# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?=
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
PROJECTS := pyproject.toml $(wildcard client/pyproject.toml)
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --quiet

.DEFAULT_GOAL := help
.PHONY: help install run demo check format test chaos bench lock image clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with everything, the muster command included
	@:

$(INSTALLED): requirements/base.txt requirements/dev.txt $(PROJECTS) scripts/install.sh
	@PYTHON="$(PYTHON)" scripts/install.sh
	@touch $@

run: install ## Start the whole service on this machine: http://127.0.0.1:8000
	@$(BIN)/muster up $(ARGS)

demo: install ## Submit two photos to a service of its own and verify counts and callback
	@$(BIN)/python -m demo $(ARGS)

check: install ## Format, lint, types, walls between the rooms, architecture tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/architecture

format: install ## Format the code and repair what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test: install ## All tests on real servers, which it installs if it may; ARGS="-k name" picks
	@scripts/test_servers.sh
	$(BIN)/pytest --numprocesses=2 --dist=loadfile $(ARGS)

chaos: install ## 10,000 tasks while all around them dies; ARGS="--seed 7 --database sqlite" tells it again
	@scripts/test_servers.sh
	$(BIN)/python -m tests.chaos $(ARGS)

bench: install ## Run every benchmark; the results go to benchmarks/README.md
	@set -e; for file in benchmarks/bench_*.py; do \
		name=$${file##*/}; $(BIN)/python -m benchmarks.$${name%.py} $(ARGS); done

lock: install ## Resolve requirements/*.txt again from pyproject.toml; ARGS=--upgrade renews all
	$(LOCK) $(ARGS) pyproject.toml --output-file requirements/base.txt
	$(LOCK) $(ARGS) pyproject.toml --extra dev --constraint requirements/base.txt --output-file requirements/dev.txt
	$(LOCK) $(ARGS) --group build --constraint requirements/dev.txt --output-file requirements/build.txt

image: ## Build the container image muster:latest
	docker build --tag muster:latest .

clean: ## Remove .venv and everything that tools have left behind
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
