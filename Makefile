# make demo | test | lint | docs | notebooks | benchmarks: each builds .venv when it is missing.

VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell cat .python-version)
PYENV_VERSIONS := $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions

# Candidates in order: pyenv's builds of the wanted version, pythonX.Y of that version, any newer name, plain python3.
# Shims of pyenv may exist for versions that are not active, so every candidate is run before it is believed.
CANDIDATES := $(wildcard $(PYENV_VERSIONS)/$(VERSION)*/bin/python) python$(VERSION) \
	python3.14 python3.13 python3.12 python3 python \
	$(wildcard $(PYENV_VERSIONS)/3.14*/bin/python $(PYENV_VERSIONS)/3.12*/bin/python)

.PHONY: demo test lint docs notebooks benchmarks clean

demo: $(VENV)/installed-plots
	$(BIN)/python -m pymc_inla demo

test: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

docs: $(VENV)/installed-docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -j 2 -b html docs docs/_build/html
	@echo "The site is in docs/_build/html/index.html"

# The notebooks alone, executed into docs/_build/notebooks.
notebooks: $(VENV)/installed-docs
	OMP_NUM_THREADS=1 $(BIN)/jupyter nbconvert --to notebook --execute --log-level WARN \
		--output-dir docs/_build/notebooks notebooks/*.ipynb

benchmarks: $(VENV)/installed-test
	$(BIN)/python benchmarks/fits.py

$(BIN)/python:
	@for candidate in $(CANDIDATES); do \
		if "$$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2> /dev/null; then \
			echo "Building $(VENV) with $$("$$candidate" --version)"; \
			exec "$$candidate" -m venv $(VENV); \
		fi; \
	done; \
	echo "No CPython 3.12 or newer found: install one (for example 'pyenv install $(VERSION)') and run make again." >&2; \
	exit 1

# One stamp per optional dependency group; a change of pyproject.toml installs again.
$(VENV)/installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/generated docs/notebooks
