# The one door. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
WORKERS ?= 2

TIME ?= 60

.PHONY: help setup demo test faults faults-long soak simulate fuzz check protos-release hub protos bench bench-quick lock clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 22

$(STAMP): requirements/dev.txt sdk/pyproject.toml hub/pyproject.toml
	@echo "setting up $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e sdk -e hub
	@touch $(STAMP)

setup: $(STAMP) ## make the environment

demo: $(STAMP) ## scenario S1 between real processes, twice: without and with Segue
	@$(BIN)/python -m examples.demo $(DEMO_ARGS)

test: $(STAMP) ## all tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# One line of figures for each trial; the same as JSON is left in build/.
TRIALS = mkdir -p build && rm -f build/faults.jsonl; SEGUE_FAULTS_REPORT=$(CURDIR)/build/faults.jsonl $(BIN)/python -m pytest \
	-n $(WORKERS) --dist loadfile tests/faults

faults: $(STAMP) ## the fault tests, those that have sizes larger than in `make test` (twenty minutes)
	@export SEGUE_FAULTS=ci; $(TRIALS) --timeout 1800; code=$$?; $(BIN)/python -m tests.faults.trial build/faults.jsonl; exit $$code

faults-long: $(STAMP) ## the same, as large as the promises are stated for (many hours)
	@export SEGUE_FAULTS=long; $(TRIALS) --timeout 0; code=$$?; $(BIN)/python -m tests.faults.trial build/faults.jsonl; exit $$code

soak: $(STAMP) ## a hub and three hosts under a steady load for HOURS=2.5, and whether any of them grows
	@$(BIN)/python -m tests.faults.soak --hours $(or $(HOURS),2.5)

check: $(STAMP) ## ruff, mypy, import-linter, buf, generated code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/buf lint protos
	@$(BIN)/buf breaking protos --against protos/released.binpb
	@$(BIN)/python protos/generate.py --check

hub: $(STAMP) ## a hub to try things with: temporary store, loopback, the example plan
	@$(BIN)/segue-hub dev --plan examples/plan

protos: $(STAMP) ## generate segue.v1 again
	@$(BIN)/python protos/generate.py

protos-release: $(STAMP) ## what the contract may not break from here on
	@$(BIN)/buf build protos -o protos/released.binpb

simulate: $(STAMP) ## the real hub and SDK simulated, from seeds: SEEDS=20000 FROM=1
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),2000) --from $(or $(FROM),1) --workers $(WORKERS)

fuzz: .venv-fuzz/.stamp ## fuzzes every door where bytes come in, TIME seconds each; TARGETS="frames facts" for some
	@.venv-fuzz/bin/python -m tests.fuzz $(TARGETS) --time $(TIME)

.venv-fuzz/.stamp: requirements/fuzz.txt sdk/pyproject.toml hub/pyproject.toml
	@test -x .venv-fuzz/bin/python || $(PYTHON) -m venv .venv-fuzz
	@.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e sdk -e hub
	@touch $@

# WHICH="p1 p3" for some of them; BENCH="--install-peers" installs what is missing of Redis, PostgreSQL and strace.
# Whole: allow 35 minutes on a quiet machine, and 4 GB of disk; SEGUE_BENCH_STORES=FOLDER keeps the stores of p6, p7 and p12
# for the next run. The JSON is written after each benchmark: ctrl-C keeps what there is, WHICH="p7 p8" goes on from there.
bench: $(STAMP) .venv-bench/.lock ## every target side by side with its peers: medians, ratios, PASS or SHORT; JSON in build/
	@$(BIN)/python -m benchmarks $(WHICH) --save build/bench.json $(BENCH)

bench-quick: $(STAMP) .venv-bench/.lock ## the same, smaller: about three minutes
	@$(BIN)/python -m benchmarks $(WHICH) --quick --save build/bench-quick.json $(BENCH)

.venv-bench/.lock: requirements/bench.txt | $(STAMP)
	@$(BIN)/python -m benchmarks.workers

lock: $(STAMP) ## pin requirements/*.in again
	@$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	@for name in dev bench fuzz feast; do .venv-lock/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url \
		--no-emit-find-links --python-version 3.11 requirements/$$name.in -o requirements/$$name.txt; done
	@rm -rf .venv-lock

clean: ## remove what was made
	rm -rf $(VENV) .venv-bench .venv-feast .venv-fuzz .mypy_cache .ruff_cache .hypothesis .import_linter_cache
