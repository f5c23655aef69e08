# The daily commands. `make demo` and `make test` each work as the first one.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MINUTES ?= 10
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := pyproject.toml CMakeLists.txt \
	$(shell find bci_lfads gui fpga/src fpga/include fpga/host replay_data -type f -not -name '*.pyc' -not -name '*.so' 2>/dev/null)

.PHONY: demo test fuzz latency lint types format install dev csim clean help

help: ## list the commands
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Installed with what reads every recording format; again whenever a source changed.
$(VENV)/.installed: $(BIN)/python $(SOURCES)
	$(PIP) install -q ".[mat,nwb,record]"
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install -q ".[dev,train]"
	touch $@

install: $(VENV)/.installed ## the package in .venv
dev: $(VENV)/.dev ## the package in .venv with everything that tests need

demo: $(VENV)/.installed ## recording -> LSL -> bins -> kernel -> factors on LSL; summary and picture in out/
	LSLAPICFG=$(CURDIR)/lsl_api.cfg $(BIN)/bci-lfads demo -o out

test: $(VENV)/.dev ## lint, types and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $$(git ls-files '*.cpp' '*.h')
	LSLAPICFG=$(CURDIR)/lsl_api.cfg $(BIN)/pytest

fuzz: $(VENV)/.dev ## give each parser new damaged files for MINUTES (10) minutes
	LSLAPICFG=$(CURDIR)/lsl_api.cfg $(BIN)/pytest -q tests/faults/test_fuzz.py -k damaged --fuzz-minutes=$(MINUTES)

latency: $(VENV)/.installed ## measure the latency from spikes to factors over LSL; four minutes on an idle machine
	LSLAPICFG=$(CURDIR)/lsl_api.cfg $(BIN)/python benchmarks/lsl_latency.py

format: $(VENV)/.dev ## rewrite sources in the project's style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.h')

csim: ## the kernel's test bench, compiled by g++
	$(MAKE) -C fpga csim

clean:
	rm -rf build out dist
