# make demo       installs into .venv and runs the whole pipeline on the drawn demo corpus
# make test       the tests (minutes); make test-all also runs the slow ones
# make test-browser  the tests of the web pages, in Chromium (Debian: apt-get install chromium)
# make check      style, types and the direction of imports
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: install demo test test-all test-browser check clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/slt-cache demo

# One thread a process: the tests run side by side.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow and not browser"

test-all: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile -m "not browser"

# Two at once: a browser and the server that it talks to are busy in turn.
test-browser: $(VENV)/installed-browser
	@command -v "$${SLT_CACHE_CHROMIUM:-chromium}" > /dev/null || { echo "no Chromium here: apt-get install chromium, \
	or name another one's program in SLT_CACHE_CHROMIUM" >&2; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 2 --dist loadfile -m browser tests/browser

$(VENV)/installed-browser: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[app,browser]'
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy slt_cache cli
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build *.egg-info
