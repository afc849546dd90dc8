# Two commands set up a fresh machine: `make demo` and `make test`. Both make their own .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := demo
THREADS ?= $(shell getconf _NPROCESSORS_ONLN)

.PHONY: test test-slow test-lowest demo docs quality wheel clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@# torch first and pinned: left to the resolver, a newer build with CUDA libraries would be fetched.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,quality,docs]"
	touch $@

test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --numprocesses auto --dist loadfile

# The lowest versions that pyproject.toml admits, but for torch: its lowest has no build without CUDA on every index.
LOWEST := .venv-lowest
test-lowest: $(READY)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	echo "torch; sys_platform == 'none'" > $(LOWEST)/without-torch.txt
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --override $(LOWEST)/without-torch.txt \
		--python $(LOWEST)/bin/python --extra test --output-file $(LOWEST)/lowest.txt pyproject.toml > /dev/null
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --requirement $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(LOWEST)/bin/python -m pytest --numprocesses auto --dist loadfile

# bf16 only where the processor multiplies in it: emulated, it takes twice as long as float32.
PRECISION = $(shell $(BIN)/python -c "from torch import device; \
	from bsp_hf.features.engine.fast_encoder import has_fast_bfloat16 as is_fast; \
	print('bf16' if is_fast(device('cpu')) else 'no')")

# --cpu keeps the demo the same on every machine; on a GPU, launch examples/pretrain.py without it.
demo: $(READY)
	$(BIN)/python examples/find_boundaries.py --output_dir $(DEMO)/before
	$(BIN)/accelerate launch --cpu --num_processes 1 --num_machines 1 --mixed_precision $(PRECISION) --dynamo_backend no \
		--num_cpu_threads_per_process $(THREADS) examples/pretrain.py --preset demo \
		--frame_cache $(DEMO)/frames --output_dir $(DEMO)/bsp-tsm-demo
	$(BIN)/python examples/find_boundaries.py --model $(DEMO)/bsp-tsm-demo --output_dir $(DEMO)/after

quality: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(READY)
	$(BIN)/python -m build --no-isolation --outdir dist

clean:
	rm -rf $(VENV) $(LOWEST) $(DEMO) dist site
