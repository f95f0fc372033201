# The commands of README.md. Everything runs in .venv, made from uv.lock.
# 3.11 first: our results are of it
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
  $$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# what pip is told about other places does not hold in .venv
unexport PIP_TARGET PIP_PREFIX PIP_ROOT
export PIP_USER := 0
TEX := $(shell cat debian-latex.txt)
.PHONY: help setup tex lint test mini check-mini bench gpu-check container archive release deposit clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/installed ## create .venv from uv.lock

# uv reads the lock; pip installs, so that its settings (indexes, folders of wheels, proxies, certificates) hold
PIP := .venv/bin/python -m pip --disable-pip-version-check
VERIFIED := $(PIP) install --quiet --no-deps --no-compile --require-hashes --requirement
LOCKED := .venv/bin/uv export --quiet --frozen --no-header --no-emit-project
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
LOCKED_UV := import tomllib; uv = next(p for p in tomllib.load(open("uv.lock", "rb"))["package"] if p["name"] == "uv"); \
  print("uv==" + uv["version"], *("--hash=" + wheel["hash"] for wheel in uv["wheels"]))
# what PyPI's torch for Linux needs and its CPU builds do not
CUDA := $(shell sed -nE '/nvidia-ml-py/d; s/^name = "((cuda|nvidia|triton)[^"]*)"/--no-emit-package \1/p' uv.lock)

.venv/bin/pip:
	@$(or $(PYTHON),false) -c '$(FITS)' || { printf '%s\n' \
	  "error: uv.lock is for Python 3.11 to 3.13; $(if $(PYTHON),$(PYTHON) is none of these,none is on the PATH). Either:" \
	  "- on Debian or Ubuntu: apt-get install python3-venv" "- anywhere: uv python install 3.13 (https://docs.astral.sh/uv)" \
	  "- run the container instead: docs/RUN.md" "For one that is not on the PATH: make setup PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --clear .venv

.venv/bin/uv: uv.lock | .venv/bin/pip
	@.venv/bin/python -c '$(LOCKED_UV)' > .venv/uv.txt
	$(VERIFIED) .venv/uv.txt
	touch $@

.venv/installed: .venv/bin/uv pyproject.toml torch-cpu.txt
	command -v nvidia-smi >/dev/null || $(VERIFIED) torch-cpu.txt 2>/dev/null || \
	  echo "pip is offered no CPU build of torch: for Linux, PyPI's comes with 4 GB of CUDA libraries"
	@$(LOCKED) $(CUDA) > .venv/locked.txt
	$(VERIFIED) .venv/locked.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	$(PIP) check --quiet || { $(LOCKED) > .venv/locked.txt && $(VERIFIED) .venv/locked.txt && $(PIP) check; }
	@# as pip does on one core, which takes longer than all else; not the packages' own tests
	-.venv/bin/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib
	touch $@

tex: ## check for LaTeX, which makes the report's PDF; as root on Debian, install it
	@command -v latexmk >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update --quiet && apt-get install --yes --no-install-recommends $(TEX); } || \
	  { echo "latexmk not found: sudo apt-get install $(TEX)"; exit 1; }

lint: setup ## check style and types
	ruff check . && ruff format --check . && mypy

# one thread for each process: torch's threads would wait for each other's
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
TESTS := OMP_NUM_THREADS=1 pytest --numprocesses $(JOBS)
MARK ?=
COVERAGE ?=
test: setup ## run the tests of a few minutes; others by MARK=slow, slurm or qemu (pyproject.toml); COVERAGE=1 counts lines
	$(TESTS) --dist loadfile $(and $(MARK),-m '$(MARK) and not pipeline') \
	  $(and $(COVERAGE),--cov rm_tension --cov-report term:skip-covered)

mini: tex setup ## run the whole pipeline on the miniature, a stage on each core; `dvc repro report@mini` does the same on one
	rm-tension run report@mini

check-mini: setup ## test what `make mini` made, and every command of the documents
	$(TESTS) -m pipeline

BENCH ?=
bench: setup ## time what computes beside the plain ways of doing it, into reports/bench (BENCH="--threads 2": docs/PERFORMANCE.md)
	OMP_NUM_THREADS=1 python -m benchmarks $(BENCH)

gpu-check: setup ## compare a GPU with float64, path by path, and time the stages on it, in ten minutes; no hub needed
	TEST_GPU=1 pytest -m gpu tests/gpu
	python -m benchmarks.gpu_check

container: setup ## build the image without a Docker engine and run a trio of a tiny model in it (root on Debian)
	.ci/container

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
archive: ## dist/: the tracked files of the last commit, the same bytes each time, with its checksum
	@git diff --quiet HEAD || { echo "uncommitted changes would not be in the archive: commit or undo them"; exit 1; }
	mkdir -p dist
	git -c tar.umask=0022 archive --prefix=rm-tension-$(VERSION)/ --output=dist/rm-tension-$(VERSION).tar HEAD
	gzip -9 -n -f dist/rm-tension-$(VERSION).tar
	sha256sum dist/rm-tension-$(VERSION).tar.gz > dist/SHA256SUMS
	sha256sum --check dist/SHA256SUMS

PROFILE ?= mini
KIT = dist/release/$(PROFILE)
release: setup archive ## dist/release/PROFILE: cards, run crate, archive and checksums to publish of a profile that was run
	rm-tension release prepare --profile $(PROFILE)
	cp dist/rm-tension-$(VERSION).tar.gz $(KIT)
	cd $(KIT) && find . -type f ! -name SHA256SUMS -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > SHA256SUMS

DEPOSIT ?=
deposit: setup archive ## dist/deposit/PROFILE: archive, report and cached results, to be sent for a DOI (DEPOSIT="--max-gb 20")
	rm-tension deposit prepare --profile $(PROFILE) $(DEPOSIT)
	rm-tension deposit send --profile $(PROFILE) --dry-run

clean: ## remove the environment; results stay
	rm -rf .venv
