# Everything happens in the project's own virtual environment, filled from hash-pinned locks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test check lint types imports bench bench-load bench-rivals bench-text lock test-parity test-browser test-redis test-ops test-chaos clean
.DELETE_ON_ERROR:

run: $(STAMPS)/run  ## set up, and serve on 127.0.0.1:8000
	$(BIN)/surtitle serve

test: $(STAMPS)/dev  ## set up, and run the tests that need nothing from the system
	$(BIN)/python -m pytest -m "not browser and not parity and not gpu and not redis and not ops and not chaos"

check: lint types imports test  ## everything that needs no browser and no torch

lint: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMPS)/dev
	$(BIN)/mypy

imports: $(STAMPS)/dev
	$(BIN)/lint-imports

test-browser: $(STAMPS)/dev  ## needs the system's Chromium
	$(BIN)/python -m pytest -m browser

test-redis: $(STAMPS)/dev  ## needs redis-server
	SURTITLE_REQUIRE_REDIS=1 $(BIN)/python -m pytest -m redis

test-ops: $(STAMPS)/ops  ## needs nginx, redis-server, prometheus, envsubst and systemd-analyze
	$(BIN)/python -m pytest -m ops

test-chaos: $(STAMPS)/dev  ## breaks servers on purpose: ten minutes; needs redis-server
	SURTITLE_REQUIRE_REDIS=1 $(BIN)/python -m pytest -m chaos

test-parity: $(STAMPS)/parity  ## compares the translators with the library their models come from
	$(BIN)/python -m pytest -m parity

bench: $(STAMPS)/dev
	$(BIN)/python -m bench.short_context
	$(BIN)/python -m bench.interim_translation
	$(BIN)/python -m bench.guards
	$(BIN)/python -m bench.quality --sets english,longform,languages,nonspeech,translation

bench-load: $(STAMPS)/dev  ## how many speakers at once: 10 to 20 minutes, on an otherwise idle machine
	$(BIN)/python -m bench.load --find

# Needs them installed: python -m bench.load.rivals install --into $(RIVALS). See docs/capacity.md.
RIVALS ?= $(HOME)/.cache/surtitle-rivals
bench-rivals: $(STAMPS)/dev  ## the same speakers for other servers: 20 minutes, on an otherwise idle machine
	for server in surtitle whisperlive whisperlive-batch whisperlivekit; do \
	  $(BIN)/python -m bench.load --server $$server --rivals $(RIVALS) --speakers 1,2,4 --seconds 50 --pool 60 \
	    || exit 1; done

bench-text: $(STAMPS)/dev  ## texts a second: 2 minutes
	$(BIN)/python -m bench.text

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Surtitle needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

# The hashes make sure of the files; --no-deps, because the lock already names every package.
$(STAMPS)/run: requirements.lock requirements-build.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Surtitle (the first time takes a minute or two) …"
	$(PIP) --no-deps --require-hashes -r requirements.lock -r requirements-build.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: $(STAMPS)/run requirements-dev.lock
	$(PIP) --no-deps --require-hashes -r requirements-dev.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/ops: $(STAMPS)/dev requirements-ops.lock
	$(PIP) --no-deps --require-hashes -r requirements-ops.lock
	@mkdir -p $(STAMPS) && touch $@

# torch differs from index to index (CPU, CUDA), so it is pinned by version and not by hash.
$(STAMPS)/parity: $(STAMPS)/dev requirements-parity.txt
	$(PIP) -r requirements-parity.txt
	@mkdir -p $(STAMPS) && touch $@

# Needs uv on the maintainer's machine only. Universal, hashed, and naming no index.
UV_COMPILE := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
  --no-header --no-annotate --no-emit-index-url --excludes requirements-excludes.txt
lock:
	$(UV_COMPILE) pyproject.toml -o requirements.lock
	$(UV_COMPILE) --group pyproject.toml:build -c requirements.lock -o requirements-build.lock
	$(UV_COMPILE) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	$(UV_COMPILE) --group pyproject.toml:ops -c requirements.lock -c requirements-dev.lock -o requirements-ops.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
