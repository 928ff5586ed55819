# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
TORCH := torch==2.13.0
JOBS ?= 2

.PHONY: demo test acceptance inputs format clean

demo: $(VENV)/.installed-study
	$(BIN)/python examples/demo.py $(DEMO)

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile

# every slow check with small settings; each alone, with its own: acceptance/README.md
acceptance: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest acceptance

# docs/inputs.md, from the cases in tests/inputs
inputs: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python -m inputs

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch first and pinned: that release has a small build for CPUs, while a newer one may bring gigabytes for GPUs
$(VENV)/.installed-torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	touch $@

$(VENV)/.installed-study: $(VENV)/.installed-torch pyproject.toml
	$(BIN)/pip install --quiet -e '.[study]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-torch pyproject.toml
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@ $(VENV)/.installed-study

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
