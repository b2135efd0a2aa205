# make demo: the whole factory on the toy domain, ending with a report page.
# make test: the tests. Both set up their own environment first.
# make test-fast: those that take little time each, and no Ray: before a commit, a minute.
# make coverage: which lines and branches the tests of test-fast reach, in their own processes: not in
#   those that they start.
# make chaos RUNS=1000: kills, full disks, bad storage and damage, again and again; goes on where it was
#   stopped, and ends with a table.
# make cluster-test: generates and trains on a cluster that is simulated on this machine: it grows from
#   nothing, loses a node, gets another, and lets all go. A few minutes on 2 cores.
# make docs: the documentation's site, out/site/index.html; a broken link or an unknown name stops it.
# make bench: every benchmark, also after one that fails; DIFFUSESEG=PATH and DDPM_SEGMENTATION=PATH name
#   checkouts to compare with, DDPM=FOLDER, ENSEMBLE=FOLDER and CONFIG=FILE other models than the toy ones
#   and their images, THREADS=1 another number of threads.

# Where Python may not keep what it compiled, each of the many processes that tests and commands start
# compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := out/demo

.PHONY: demo test test-fast coverage chaos cluster-test bench lint docs clean

demo: $(VENV)/.core
	rm -rf $(DEMO)
	$(BIN)/factory train --config configs/demo.yaml
	$(BIN)/factory fit --config configs/demo.yaml
	$(BIN)/factory evaluate --config configs/demo.yaml
	$(BIN)/factory generate --config configs/demo.yaml
	@$(BIN)/factory report $(DEMO)/dataset

test: $(VENV)/.test
	$(BIN)/pytest --numprocesses 2 --dist loadgroup

test-fast: $(VENV)/.test
	$(BIN)/pytest --numprocesses 2 --dist loadgroup -m "not (slow or ray or chaos or cluster)"

coverage: $(VENV)/.test
	$(BIN)/pytest --numprocesses 2 --dist loadgroup -m "not (slow or ray or chaos or cluster)" --cov

RUNS ?= 1000

chaos: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos.chaos --runs $(RUNS)

cluster-test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/pytest -m cluster tests/cluster

BENCHMARKS := labelling pairs fitting training writing exporting features solver ray_overhead scheduling ledger same_bytes
DIFFUSESEG_OPTION := $(if $(DIFFUSESEG),--diffuseseg $(DIFFUSESEG))
PAPER_OPTION := $(if $(DDPM_SEGMENTATION),--ddpm-segmentation $(DDPM_SEGMENTATION))
MODEL := $(if $(DDPM),--ddpm $(DDPM)) $(if $(CONFIG),--config $(CONFIG))
THREAD := $(if $(THREADS),--threads $(THREADS))
MODELS := $(if $(and $(DDPM),$(ENSEMBLE)),--ddpm $(DDPM) --ensemble $(ENSEMBLE))

bench: $(VENV)/.bench
	@failed=; \
	for name in $(BENCHMARKS); do \
	  case $$name in \
	    labelling) options="$(PAPER_OPTION)" ;; \
	    pairs) options="$(DIFFUSESEG_OPTION) $(MODELS)" ;; \
	    training) options="$(DIFFUSESEG_OPTION)" ;; \
	    fitting) options="$(DIFFUSESEG_OPTION) $(MODEL)" ;; \
	    features|same_bytes) options="$(MODELS)" ;; \
	    solver) options="$(MODEL) --samples 200 --passes 10" ;; \
	    *) options= ;; \
	  esac; \
	  $(BIN)/python benchmarks/$$name.py $$options $(THREAD) --json out/bench/$$name.json || failed="$$failed $$name"; \
	done; \
	if [ -n "$$failed" ]; then echo "make bench: failed:$$failed" >&2; exit 1; fi

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e ".[test,lint,docs]"
	touch $@ $(VENV)/.core

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e ".[bench]"
	touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage*
