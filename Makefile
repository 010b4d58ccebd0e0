# Each target makes the environment in .venv first, when it is missing or requirements.txt is newer.
PYTHON ?= python3
# Stages that run side by side, a thread each.
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro audit demo test bench

repro: .venv/ready
	python -m stages.jobs $(JOBS)

audit: .venv/ready
	python -m stages.jobs $(JOBS) dvc.yaml audit/dvc.yaml

demo: .venv/ready
	python -m stages.demo .demo

bench: .venv/ready
	python -m benchmarks.step
	python -m benchmarks.stage

test: .venv/ready
	ruff check
	ruff format --check
	mypy
	pytest --numprocesses auto --dist loadgroup

.venv/ready: requirements.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.11')"
	@echo "Making the environment in .venv: a few minutes the first time"
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@
