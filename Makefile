# Everything a user types. Each target sets up what it needs on a machine that has only Python, make and gcc.
PYTHON ?= python3
VENV ?= .venv
UV = 0.8
STAMP = $(VENV)/.installed
DMX = $(VENV)/bin/dmx

.PHONY: setup sweep train-best demo-model test test-slow test-browser lint bench docs ui lock

setup: $(STAMP)

# uv only fetches and unpacks (22 s here, where pip took 131 s); what is installed is in requirements.lock. Bytecode is
# made at once: where Python writes none, each command would take seconds longer.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=$(UV)'
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python --requirements requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --editable .
	touch $@

data/synth: | $(STAMP)
	$(DMX) data synth data/synth --count 2000 --size 64 --per-room 2

sweep: $(STAMP) data/synth
	$(DMX) sweep experiments/quickstart.yaml --workers 2

train-best: $(STAMP)
	$(DMX) train-best quickstart

data/demo: | $(STAMP)
	$(DMX) data synth data/demo --count 2000 --size 96 --per-room 2

# A small trained network, for who has no data yet; experiments/demo.yaml says what it can do.
demo-model: $(STAMP) data/demo
	$(DMX) train experiments/demo.yaml

ui: $(STAMP)
	$(DMX) ui

test: $(STAMP)
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 -m 'not slow and not browser' $(PYTEST)

test-slow: $(STAMP)
	$(VENV)/bin/python -m pytest -m 'slow and not browser' $(PYTEST)

# Needs a Chromium. DMX_SCREENSHOTS=docs/screens takes the pictures of docs/compare.md anew.
test-browser: $(STAMP)
	$(VENV)/bin/python -m pytest -m browser $(PYTEST)

bench: $(STAMP)
	$(VENV)/bin/python benchmarks/startup.py
	$(VENV)/bin/python benchmarks/training.py
	$(VENV)/bin/python benchmarks/epoch_from_disk.py
	$(VENV)/bin/python benchmarks/loaders.py
	$(VENV)/bin/python benchmarks/large_index.py
	$(VENV)/bin/python benchmarks/overhead.py
	$(VENV)/bin/python benchmarks/outage.py --rounds 2 --seconds 80
	$(VENV)/bin/python benchmarks/many_runs.py

# The pages of docs/ with an API reference, in site/; a warning is an error.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

lock: $(STAMP)
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-header pyproject.toml -o requirements.lock
