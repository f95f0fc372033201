# The commands of README.md. Everything runs in .venv, made from requirements.lock.
PYTHON ?= $(shell command -v python3.11 || echo python3)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
TEX := $(shell cat debian-latex.txt)
.PHONY: help setup tex test lint types mini check bench slurm mlflow container audit archive lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/installed ## create .venv from the pinned dependencies

PIP := .venv/bin/python -m pip --disable-pip-version-check
VERIFIED := $(PIP) install --quiet --no-deps --require-hashes
.venv/installed: requirements.lock requirements-cpu.lock requirements-cuda.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11, for which the lock files were made: install it, or set PYTHON=..."; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	command -v nvidia-smi >/dev/null || $(VERIFIED) --requirement requirements-cpu.lock 2>/dev/null || \
	  echo "pip is offered no CPU build of torch: PyPI's comes with 4 GB of CUDA libraries"
	$(VERIFIED) --requirement requirements.lock --requirement requirements-dev.lock
	$(PIP) check --quiet || $(VERIFIED) --requirement requirements-cuda.lock # what PyPI's torch lacks
	$(PIP) install --quiet --no-deps --editable .
	touch $@

tex: ## check for LaTeX, which makes the report's PDF; as root on Debian, install it
	@command -v latexmk >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update --quiet && apt-get install --yes --no-install-recommends $(TEX); } || \
	  { echo "latexmk not found: sudo apt-get install $(TEX)"; exit 1; }

# one thread for each process: torch's threads would wait for each other's
JOBS ?= $(shell nproc)
test: setup ## run the tests
	OMP_NUM_THREADS=1 pytest --numprocesses $(JOBS) --dist loadfile

lint: setup ## check style
	ruff check . && ruff format --check .

types: setup ## check types
	mypy

mini: setup tex ## run the whole pipeline on the miniature, a stage on each core; `dvc repro report@mini` does the same on one
	python -m rm_tension.launch report@mini

check: setup ## test what `make mini` made, and every command of the documents
	OMP_NUM_THREADS=1 pytest --numprocesses $(JOBS) -m pipeline

BENCH ?=
bench: setup ## time what computes beside the plain ways of doing it, into reports/bench (BENCH="--threads 2": docs/PERFORMANCE.md)
	OMP_NUM_THREADS=1 python -m benchmarks $(BENCH)

slurm: setup ## test the launcher on a Slurm cluster of two nodes on this machine (root on Debian)
	@command -v slurmctld >/dev/null || { apt-get update --quiet && \
	  DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends slurm-wlm; }
	OMP_NUM_THREADS=1 pytest -m slurm tests/launch

mlflow: setup ## fill the local MLflow store from runs/ and serve its UI on this machine
	python -m rm_tension.tracking

container: setup ## build the image without a Docker engine and run a micro profile in it (root on Debian)
	.ci/container

audit: setup ## report known vulnerabilities of the locked packages (asks PyPI's advisory database)
	pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock --requirement requirements-cuda.lock

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
archive: ## dist/: the tracked files of the last commit, the same bytes each time, with its checksum
	@git diff --quiet HEAD || { echo "uncommitted changes would not be in the archive: commit or undo them"; exit 1; }
	mkdir -p dist
	git -c tar.umask=0022 archive --prefix=rm-tension-$(VERSION)/ --output=dist/rm-tension-$(VERSION).tar HEAD
	gzip -9 -n -f dist/rm-tension-$(VERSION).tar
	sha256sum dist/rm-tension-$(VERSION).tar.gz > dist/SHA256SUMS
	sha256sum --check dist/SHA256SUMS

# Locked against PyPI alone, whatever this machine's pip settings say. PyPI's torch is a CUDA build; what only it needs is
# in requirements-cuda.lock.
COMPILE := PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= pip-compile --quiet --generate-hashes --no-reuse-hashes --strip-extras --no-emit-index-url --no-emit-find-links
lock: ## renew the lock files from pyproject.toml, but requirements-cpu.lock
	grep -o 'torch==[0-9.]*' pyproject.toml | $(COMPILE) --allow-unsafe --output-file requirements-cuda.lock -
	cuda=$$(sed -nE 's/^((cuda|nvidia|triton)[^=]*)==.*/--unsafe-package \1/p' requirements-cuda.lock) && \
	  $(COMPILE) $$cuda --output-file requirements.lock pyproject.toml && \
	  $(COMPILE) $$cuda --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	echo cyclonedx-bom | $(COMPILE) --constraint requirements-dev.lock --output-file requirements-sbom.lock -

clean: ## remove the environment; results stay
	rm -rf .venv
