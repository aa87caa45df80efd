# make demo       installs into .venv and runs the whole pipeline on the drawn demo corpus
# make test       the tests (minutes); make test-all also runs the slow ones
# make check      style, types and the direction of imports
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: install demo test test-all check clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/slt-cache demo

# One thread a process: the tests run side by side.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow"

test-all: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy slt_cache cli
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build *.egg-info
