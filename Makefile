# Each target makes the environment in .venv first, when it is missing or requirements.txt is newer.
PYTHON ?= python3
# The module that `make mutants` mutates; empty: every module that computes or decides.
MODULE ?=
# How many runs `make soak` kills.
KILLS ?= 20
# What `make compare` compares: revisions, or the files as they are (workspace).
OLD ?= HEAD
NEW ?= workspace
export OLD NEW
# If DVC cannot parse params.yaml or a lock, it stops without saying how to fix it; these checks do.
BEFORE = python -m stages.check data metrics && python -m tools.locks
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro audit report demo test bench compare mutants soak audit-dependencies

repro: .venv/ready
	@$(BEFORE)
	@MAKE_PID=$$PPID exec dvc repro

audit: .venv/ready
	@$(BEFORE)
	@MAKE_PID=$$PPID exec dvc repro --all-pipelines

report: .venv/ready
	@python -m stages.report_page metrics report.html

demo: .venv/ready
	python -m tools.demo .demo

compare: .venv/ready
	@python -m tools.compare -- "$$OLD" "$$NEW"

bench: .venv/ready
	python -m benchmarks.step
	python -m benchmarks.stage

test: .venv/ready
	ruff check
	ruff format --check
	mypy
	pytest --numprocesses auto --dist worksteal

mutants: .venv/ready
	python -m tools.mutants $(MODULE)

soak: .venv/ready
	python -m tools.soak --kills $(KILLS)

# pip-audit gets its own environment, because nothing else needs it. Without --strict it would skip
# every package and find nothing if the index provides no advisories.
audit-dependencies:
	$(PYTHON) -m venv .venv/pip-audit
	.venv/pip-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	.venv/pip-audit/bin/pip-audit --requirement requirements.txt --disable-pip --no-deps --strict

.venv/ready: requirements.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.11')"
	@echo "Making the environment in .venv: a few minutes the first time"
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@
