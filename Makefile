# Everything lives in .venv; each target sets up what it needs and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
WORKLOAD ?= workloads/quickstart.yaml

.PHONY: demo test setup lint types unit clean

demo: setup
	$(BIN)/fsbench run $(WORKLOAD)

test: setup lint types unit

setup: $(VENV)/.installed

# pip, not uv or poetry: where pip's configuration offers a CPU build of torch, that one is taken.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[engine,dev]'
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

# A file at a time to each worker: what a file sets up once is not set up twice.
unit: setup
	$(BIN)/pytest -n $(JOBS) --dist loadfile

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
