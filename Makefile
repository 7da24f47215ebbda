# Everything a contributor runs. `make` alone lists the targets.
# Works with GNU make 3.81 and a POSIX shell; needs no tool but Python.

VENV := .venv
BIN := $(VENV)/bin
# 3.11 first: it is what the locks are made for and the oldest Python that must work.
PYTHON ?=
CANDIDATES := python3.11 python3.12 python3.13 python3
ARGS ?=
TESTS ?= tests
SEED ?=

# The stamp carries the content of what the environment is made from, so a checkout that only
# touches the files' times installs nothing.
STAMP := $(VENV)/.stamp-$(shell cat requirements/dev.lock pyproject.toml | cksum | tr -s ' ' '-')
FOLDERS := supervisor actors tests examples benchmarks
SOURCES = $(foreach folder,$(FOLDERS),$(if $(wildcard $(folder)/*.py $(folder)/*/*.py),$(folder)))

.DEFAULT_GOAL := help
.SILENT:
.SUFFIXES:
.PHONY: help venv run test soak bench bench-peers lint format lock clean

help: ## list the targets
	echo "usage: make TARGET"
	sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  \1	\2/p' $(MAKEFILE_LIST) | expand -t 14

venv: $(STAMP) ## create .venv from the locked requirements (PYTHON=path picks the interpreter of a new one)

run: venv ## charge 3,000 orders, kill the worker in the middle, count (ARGS=--once ends then)
	exec $(BIN)/python -m examples.orders $(ARGS)

test: venv ## run the tests, two at a time (TESTS=path, ARGS="-k name")
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(TESTS) $(ARGS) </dev/null

soak: venv ## run the long random tests (SEED=n repeats a run)
	seed="$(SEED)"; \
	test -n "$$seed" || seed=$$($(BIN)/python -c 'import secrets; print(secrets.randbits(32))'); \
	echo "soak: seed $$seed (make soak SEED=$$seed repeats this run)"; \
	SOAK_SEED=$$seed $(BIN)/python -m pytest -m soak --hypothesis-profile=soak --hypothesis-seed=$$seed \
		--timeout=3600 $(TESTS) $(ARGS) || { status=$$?; echo "soak: failed with seed $$seed" >&2; exit $$status; }

bench: venv ## run the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

bench-peers: venv ## measure our queue beside graphile-worker, pg-boss, PgQueuer and Procrastinate (needs npm)
	$(BIN)/python -m benchmarks.peers --svg docs/queue-benchmark.svg $(ARGS)

lint: venv ## check style, format and types
	$(BIN)/ruff check --quiet $(SOURCES)
	$(BIN)/ruff format --quiet --check $(SOURCES) || { echo "lint: run 'make format'" >&2; exit 1; }
	$(BIN)/mypy --strict --no-error-summary $(SOURCES)
	echo "lint: clean"

format: venv ## format the code and apply the safe fixes
	$(BIN)/ruff check --quiet --fix-only $(SOURCES)
	$(BIN)/ruff format --quiet $(SOURCES)

LOCK = uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header
lock: ## pin the newest allowed versions anew (needs uv on the PATH)
	command -v uv >/dev/null || { echo "lock: uv is not on the PATH; 'pip install uv' brings it" >&2; exit 1; }
	$(LOCK) --upgrade --output-file requirements/run.lock >/dev/null
	$(LOCK) --upgrade --extra all --group dev --output-file requirements/dev.lock >/dev/null
	echo "lock: requirements/ written; bring docs/licences.md up to date"

clean: ## remove .venv, caches and build output
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# A working .venv is kept and brought up to date; `make clean` first starts from nothing.
# A candidate counts only if it runs: a pyenv shim exists for versions that are not active.
$(STAMP): requirements/dev.lock pyproject.toml
	set -e; \
	rm -f $(VENV)/.stamp-*; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || { $(CREATE); }; \
	echo "venv: installing $$(grep -c '^[a-z].*==' requirements/dev.lock) locked packages"; \
	$(PIP_INSTALL) --require-hashes --requirement requirements/dev.lock </dev/null; \
	echo "venv: installing the project itself, editable"; \
	$(PIP_INSTALL) --no-build-isolation --no-deps --editable . </dev/null; \
	touch $@; \
	echo "venv: ready"

PIP_INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input

define CREATE
	for python in $(or $(PYTHON),$(CANDIDATES)) ""; do \
		test -n "$$python" || break; \
		! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || break; \
	done; \
	test -n "$$python" || { \
		echo "venv: no Python 3.11 or newer found (tried: $(or $(PYTHON),$(CANDIDATES)))." >&2; \
		echo "      Install one, or name it: make venv PYTHON=/path/to/python3" >&2; exit 1; }; \
	version=$$("$$python" -c 'import platform; print(platform.python_version())'); \
	echo "venv: creating $(VENV) with $$python ($$version)"; \
	"$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || { $(INSTALL_VENV); }; \
	rm -rf $(VENV); \
	"$$python" -m venv $(VENV)
endef

# Debian and Ubuntu ship the module `venv` in a package of its own.
define INSTALL_VENV
	package="python$${version%.*}-venv"; \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		echo "venv: installing the system package $$package"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$$package"; } \
			</dev/null >/dev/null || { echo "venv: apt-get could not install $$package" >&2; exit 1; }; \
	else \
		echo "venv: $$python cannot create environments; as root: apt-get install $$package" >&2; exit 1; \
	fi
endef
