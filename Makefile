# Two commands for a fresh machine: `make demo` and `make test`. Needs Linux, Python 3.11 or later, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT := out/demo-dfdc
DEMO := data/demo/dfdc
RUNS := out/demo-train
MODELS := resnet50 efficientnet_b4 f3net
ALONE := vit
ADVANCED := out/demo-advanced
WORSE := out/demo-dfdc-worse
SERVED := out/demo-serve
REGIMES := plain adversarial noise simclr moco rotation jigsaw order mae

.PHONY: types demo demo-train demo-advanced demo-serve test install trainer server develop lint wheel coverage bytes bench bench-training faults slow lock clean

demo: install
	$(BIN)/ingest demo --dataset dfdc --to $(DEMO)
	$(BIN)/ingest build --dataset dfdc --root $(DEMO) --recipe $(DEMO)/recipe.yaml --out $(OUT)

# After `make demo`. Small models learn for a few minutes, enough to see that they do, not to judge a detector.
demo-train: trainer
	rm -rf $(RUNS)
	for model in $(MODELS) $(ALONE); do \
	  $(BIN)/training fit --data $(OUT) --recipe examples/demo-train/$$model.yaml --run $(RUNS)/$$model || exit; \
	done
	$(BIN)/training ensemble --data $(OUT) $(MODELS:%=--run $(RUNS)/%) --to $(RUNS)/ensemble
	$(BIN)/training evaluate --data $(OUT) $(MODELS:%=--run $(RUNS)/%) $(ALONE:%=--run $(RUNS)/%) --run $(RUNS)/ensemble --to $(RUNS)/evaluation

# After `make demo`. Every regime runs for seconds to a minute on tiny networks: enough to see each at work.
demo-advanced: trainer
	rm -rf $(ADVANCED)
	$(BIN)/ingest build --dataset dfdc --root $(DEMO) --recipe $(DEMO)/recipe.yaml --set recompress.crf=35 --out $(WORSE)
	for regime in $(REGIMES); do \
	  $(BIN)/training fit --data $(OUT) --recipe examples/demo-advanced/$$regime.yaml --run $(ADVANCED)/$$regime --tracking none || exit; \
	done
	$(BIN)/training evaluate --data $(OUT) --run $(ADVANCED)/plain --run $(ADVANCED)/adversarial --run $(ADVANCED)/noise \
	  --attacks fgsm,pgd --attack-pictures 48 --certify --samples 200 --certify-pictures 10 --to $(ADVANCED)/evaluation
	$(BIN)/training probe --data $(OUT) --run $(ADVANCED)/simclr \
	  --recipe examples/demo-advanced/plain.yaml --tracking none --to $(ADVANCED)/probe
	$(BIN)/training distil --data $(OUT) --teacher $(ADVANCED)/plain --recipe examples/demo-advanced/distil.yaml \
	  --stages 1.0,0.5 --threshold 0.8 --tracking none --to $(ADVANCED)/distil
	$(BIN)/training few-shot --data $(OUT) --target $(WORSE) --recipe examples/demo-advanced/maml.yaml --shots 5 --seeds 0 \
	  --allow-other-crops --tracking none --to $(ADVANCED)/few-shot
	$(BIN)/training continual --data $(OUT) --data $(WORSE) --recipe examples/demo-advanced/continual.yaml \
	  --methods sequential,joint,ewc+replay --allow-other-crops --tracking none --to $(ADVANCED)/continual

# After `make demo-train`. Registers its ensemble, serves it, asks it, tries another version beside it, and takes that back.
demo-serve: server
	$(BIN)/python examples/demo-serve/demo.py $(RUNS) $(DEMO) $(SERVED)

test: develop lint
	$(BIN)/pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

wheel: develop
	rm -rf build
	$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist .

# Which lines the tests reach, those of child processes too; slower than `make test`, and with a floor (pyproject.toml).
coverage: develop
	$(BIN)/coverage erase
	$(BIN)/pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile --cov

bench: develop
	$(BIN)/python -m tests.benchmarks

# The loader and augmentation, a training step, exported models and uncertainty: one table each, in tests/benchmarks.
bench-training: develop
	for part in loader step export; do $(BIN)/python -m tests.benchmarks.$$part || exit; done

# Whether this code builds the very bytes that an earlier one builds: `make bytes REVISION=v0.1.0`.
bytes: develop
	$(BIN)/python -m tests.golden_bytes $(REVISION)

faults: develop
	$(BIN)/python -m tests.faults

slow: develop
	$(BIN)/pytest

lint: develop types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	cd .types && ../$(BIN)/lint-imports --config ../pyproject.toml --cache-dir ../.import_linter_cache

# What mypy and import-linter read as the package `semblance`: folders of links to the files as they are now.
types:
	rm -rf .types && mkdir .types
	cp -rs $(CURDIR)/semblance .types/
	for part in ingest manifests quality shards training; do cp -rs $(CURDIR)/$$part .types/semblance/; done

install: $(VENV)/.installed
trainer: $(VENV)/.trainer
server: $(VENV)/.server
develop: $(VENV)/.developed

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -e .
	touch $@

$(VENV)/.trainer: requirements-dev.txt $(VENV)/.installed
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c requirements-dev.txt -e ".[train]"
	touch $@

$(VENV)/.server: requirements-dev.txt $(VENV)/.trainer
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c requirements-dev.txt -e ".[serve]"
	touch $@

$(VENV)/.developed: requirements-dev.txt pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -e .
	touch $@ $(VENV)/.installed $(VENV)/.trainer $(VENV)/.server

lock: | $(BIN)/uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-header --extra train --extra export --extra serve --extra ray --extra people --extra dev pyproject.toml -o requirements-dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-header -c requirements-dev.txt pyproject.toml -o requirements.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
