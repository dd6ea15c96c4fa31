PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-fast lint bench results

$(VENV)/.installed: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --editable '.[photos,dev]'
	touch $@

demo: $(VENV)/.installed  ## the whole upgrade on built-in images, 4 1/4 minutes on 2 cores
	$(BIN)/bict demo

test: $(VENV)/.installed  ## every test
	$(BIN)/pytest

test-fast: $(VENV)/.installed  ## the tests that train nothing long
	$(BIN)/pytest -m "not slow"

lint: $(VENV)/.installed  ## format, rules, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed  ## the committed figures: Omniglot over three seeds, upgrades that are killed, speed
	$(BIN)/python benchmarks/omniglot_extended_class.py --json benchmarks/records/omniglot_extended_class.json
	$(BIN)/python benchmarks/ranking_speed.py --json benchmarks/records/ranking_speed.json
	$(BIN)/python benchmarks/upgrade_throughput.py --json benchmarks/records/upgrade_throughput.json
	$(BIN)/python benchmarks/upgrade_throughput.py --store postgresql --rows 1000000 --transform linear \
		--transform mlp --index-most 0 --no-beside \
		--json benchmarks/records/upgrade_throughput_postgresql.json
	$(BIN)/python benchmarks/cluster_model.py --json benchmarks/records/cluster_model.json
	$(BIN)/python benchmarks/fit_scale.py --rows 1000000 --rows 10000000 --json benchmarks/records/fit_scale.json
	$(BIN)/python benchmarks/training_speed.py --json benchmarks/records/training_speed.json
	$(BIN)/python benchmarks/index_reuse.py --rows 500000 --queries 500 --repeats 2 --json benchmarks/records/index_reuse.json
	$(BIN)/python benchmarks/pgvector_staging.py --json benchmarks/records/pgvector_staging.json
	$(BIN)/python benchmarks/chaos.py --runs 120 --json benchmarks/records/chaos_lance.json
	$(BIN)/python benchmarks/chaos.py --store postgresql --runs 100 --json benchmarks/records/chaos_postgresql.json
	$(BIN)/python benchmarks/chaos.py --store qdrant --runs 100 --json benchmarks/records/chaos_qdrant.json

results: $(VENV)/.installed  ## the bench's tables and figures in docs/results.md, from the records in results/
	$(BIN)/python benchmarks/results_page.py
