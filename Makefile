# `make help` lists the targets. Everything lives in .venv; nothing outside this folder is touched.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PROTOS := $(shell find protos -name '*.proto' | sort)
COMPILE := pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	--no-emit-options --strip-extras --no-header --all-build-deps --find-links $(VENV)/stubs --unsafe-package wallet-bridge-stubs
# tests/mesh is run by `make mesh`; what is marked `long`, or tries more examples, by `make check`. A worker of pytest-xdist that is through with its part takes
# of what others have left, so that tests of one module, and their fixtures, mostly stay together.
# How many processes "auto" is, tests/conftest.py says.
PROCESSES ?= auto
TOGETHER := --ignore=tests/mesh --numprocesses=$(PROCESSES) --dist=worksteal
SHORT := $(TOGETHER) -m "not alone and not long" --hypothesis-profile=quick
ALONE = $(shell grep -rl --include='test_*.py' 'mark\.alone' tests)
# Benchmarks have an environment of their own, so that its Python may be another: PYTHON, where it is given, else the first one
# that was built with PGO and LTO.
BENCH_VENV := .venv-bench
BENCH_PYTHON = $(if $(filter command line,$(origin PYTHON)),$(PYTHON),$(shell \
	for each in $(PYTHON) /usr/bin/python3; do "$$each" benchmarks/python_build.py >/dev/null 2>&1 && echo "$$each" && exit; done; echo $(PYTHON)))
REAL_PATH := -c 'import os, sys; print(os.path.realpath(sys.executable))'
MAKE_BENCH = $(MAKE) --no-print-directory bench-environment && \
	$(MAKE) --no-print-directory VENV=$(BENCH_VENV) COMPILED=$(BENCH_COMPILED) COMPILED_BESIDE=$(BENCH_VENV)/bench.done PYTHON=$(BENCH_PYTHON) $(BENCH_VENV)/bench.done
IN_BENCH = $(MAKE_BENCH) && $(BENCH_VENV)/bin/python -m
# With the compiled form of the bridge beside it (benchmarks/forms.py).
BENCH_COMPILED := $(BENCH_VENV)-compiled
IN_BENCH_COMPILED = $(MAKE_BENCH) $(BENCH_COMPILED)/installed.done && $(BENCH_VENV)/bin/python -m
# The compiled form of the bridge (hatch_build.py), installed; its other packages are those of .venv.
COMPILED := .venv-compiled
IN_COMPILED = $(BIN)/python tools/compiled_environment.py $(COMPILED)
# An environment that forbids bytecode files would have every process of a test compile the bridge again, and pytest all tests.
test test-long test-alone test-unit test-compiled coverage: export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run certs test test-long test-alone test-unit test-newest test-compiled check lint types generated proto proto-lint coverage bench-pure fast-json bench bench-quick bench-scaling bench-policies profile bench-telemetry bench-overload bench-floods h2spec soak simulate chaos pictures mesh interop tools clients contract release release-check second-operation charts lock clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.done  ## Start sandbox and bridge, send one real Terminate, then serve until Ctrl-C
	@$(BIN)/python -m bridge demo

certs: $(VENV)/run.done  ## Make an authority and certificates for examples/tls, for 30 days
	@$(BIN)/python tools/certs.py examples/tls/certs

test: $(VENV)/dev.done  ## Test the bridge: side by side (PROCESSES=4 on two cores), then what needs the machine to itself
	@$(BIN)/python -m pytest tests $(SHORT)
	@$(BIN)/python -m pytest $(ALONE) -m "alone and not long"

test-long: $(VENV)/dev.done  ## What `make test` leaves out: charts, packages, tools, sample callers, planted bugs, chaos, further cases
	@$(BIN)/python -m pytest $(TOGETHER) -m "long and not alone"
	@$(BIN)/python -m pytest $(ALONE) -m "alone and long"

test-alone: $(VENV)/dev.done  ## All tests that need the machine to themselves
	@$(BIN)/python -m pytest $(ALONE) -m alone

test-unit: $(VENV)/dev.done  ## The unit tests by themselves
	@$(BIN)/python -m pytest tests/unit $(SHORT)

test-newest: $(VENV)/dev.done  ## The unit tests on the newest Python that this machine has, in .venv-newest
	@newest="$$($(BIN)/python tools/newest_python.py)"; \
	if [ -n "$$newest" ]; then $(MAKE) --no-print-directory VENV=.venv-newest PYTHON="$$newest" test-unit; \
	else echo "test-newest: no newer Python here than $$($(BIN)/python --version)"; fi

# COMPILED_TESTS="tests/unit tests/path": only these.
test-compiled: $(COMPILED)/installed.done  ## The tests of `make test` against the bridge with compiled modules, installed in .venv-compiled (needs gcc)
	@$(IN_COMPILED) -m pytest --override-ini pythonpath= $(or $(COMPILED_TESTS),tests) $(SHORT)

check: lint types generated proto-lint coverage test-alone  ## Everything a change must pass: lint, types, protos, all tests, coverage

lint: $(VENV)/dev.done  ## Style, format, which way imports run, and plain words
	@echo "lint: ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "lint: import-linter"
	@$(BIN)/lint-imports --no-logo --no-cache
	@echo "lint: plain words"
	@$(BIN)/python tools/plain_words.py

types: $(VENV)/dev.done  ## Static types, strict
	@echo "types: mypy"
	@$(BIN)/mypy

generated: $(VENV)/dev.done  ## Fail when generated code differs from what the protos give
	@echo "generated: rebuild and compare"
	@$(BIN)/python tools/generate.py --check

proto: $(VENV)/dev.done  ## Rebuild generated/ from protos/ (BREAKING=1 takes changes that break older callers)
	@$(BIN)/python tools/generate.py $(if $(BREAKING),--breaking)

proto-lint: $(VENV)/dev.done  ## buf lint STANDARD, and buf breaking against protos/landed.txtpb, offline
	@echo "proto-lint: buf"
	@$(BIN)/python tools/lint_protos.py
	@$(BIN)/python tools/proto_image.py

coverage: $(VENV)/dev.done  ## Tests with branch coverage of bridge/, but those marked `alone`: tracing would spoil what they measure
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest $(TOGETHER) -m "not alone"
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report

bench-pure: $(VENV)/dev.done  ## CPU of the pure part of one call, in microseconds
	@$(BIN)/python -m benchmarks.pure_path

fast-json: export EXAMPLES := $(or $(EXAMPLES),100000)
fast-json: $(VENV)/dev.done  ## Both JSON decoders on EXAMPLES=100000 documents: the fast one never contradicts the strict one
	@$(BIN)/python -m pytest -q tests/unit/transcoding/test_fast_json.py

bench:  ## Bridge beside floor, textbook, Envoy; latency, scaling; writes docs/performance.md (20 minutes); AGAINST=REF: only beside that commit
	@$(if $(AGAINST),$(IN_BENCH) benchmarks.bench --against $(AGAINST),$(IN_BENCH_COMPILED) benchmarks.bench)

bench-quick:  ## The table of `make bench` alone, from two short rounds, in under a minute (and one to compile)
	@$(IN_BENCH_COMPILED) benchmarks.bench --quick

bench-scaling:  ## The scaling of `make bench` alone: workers, calls in flight, slow wallets, added latency
	@$(IN_BENCH_COMPILED) benchmarks.bench --parts scaling

.PHONY: bench-forms
bench-forms:  ## The bridge with compiled modules beside the same in pure Python, in turns
	@$(IN_BENCH_COMPILED) benchmarks.bench --parts forms

bench-policies:  ## The bridge under each scheduling policy: on one core, on shared cores, beside a busy process
	@$(IN_BENCH_COMPILED) benchmarks.bench --parts policies

profile:  ## Where the CPU time of a call of the bridge in pure Python goes, step by step
	@$(IN_BENCH) benchmarks.bench --parts profile

bench-telemetry:  ## CPU that log lines and metrics add to a call, at most 10 % (QUICK=1 for few short rounds)
	@$(IN_BENCH) benchmarks.telemetry $(if $(QUICK),--quick)

bench-overload: $(VENV)/dev.done  ## Ten times the capacity for half a minute (SECONDS=30): goodput, refusals, health, memory
	@$(BIN)/python -m benchmarks.overload --seconds $(or $(SECONDS),30)

bench-floods: $(VENV)/dev.done  ## Every flood of a hostile caller on each engine: latency of other calls, memory (SECONDS=5)
	@$(BIN)/python -m benchmarks.floods --seconds $(or $(SECONDS),5)

.PHONY: bench-instructions
bench-instructions:  ## CPU instructions of a call, where times do not hold: rows, then settlement; AGAINST=REF: beside that commit; COMPILED_TOO=1
	@$(if $(COMPILED_TOO),$(IN_BENCH_COMPILED),$(IN_BENCH)) benchmarks.instructions $(if $(AGAINST),--against $(AGAINST)) $(if $(COMPILED_TOO),--compiled)

.PHONY: bench-settlement outage
bench-settlement: $(VENV)/dev.done  ## CPU that settlement adds to a call, stores with 200,000 entries, calls beside a backlog (QUICK=1)
	@$(BIN)/python -m benchmarks.settlement_cost $(if $(QUICK),--quick)
	@$(BIN)/python -m benchmarks.settlement_stores $(if $(QUICK),--entries 20000)
	@$(BIN)/python -m benchmarks.settlement_backlog $(if $(QUICK),--entries 5000 --rounds 2)

outage: $(VENV)/dev.done  ## What the wallet sees after an hour's outage with 50,000 entries, in virtual time (ENTRIES=50000)
	@$(BIN)/python -m benchmarks.settlement_outage --entries $(or $(ENTRIES),50000)

h2spec: $(VENV)/dev.done  ## h2spec on each engine: no failure but those that tests/h2spec/expected.toml gives a reason for
	@PYTHONPATH=tools $(BIN)/python -m tests.h2spec.run

soak: $(VENV)/dev.done  ## Mixed faults for half an hour (MINUTES=30): memory, descriptors and streams must stay flat
	@$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),30)

simulate: $(VENV)/dev.done  ## The whole call path in virtual time, SEEDS=1000 histories, or one: SEED=7 (PROCESSES=2)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0)) \
		$(if $(filter-out auto,$(PROCESSES)),--processes $(PROCESSES))

chaos: $(VENV)/dev.done  ## Settlement under SIGKILL of bridges, wallet and store, SECONDS=120 with each store (STORE=redis, SEED=7)
	@$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),120) $(if $(STORE),--store $(STORE)) $(if $(SEED),--seed $(SEED))

mesh: $(VENV)/bench.done  ## The real Envoy before two bridges: health, mTLS, retries, restarts and kills under load
	@$(BIN)/python -m pytest tests/mesh

pictures: $(VENV)/dev.done  ## Draw the diagrams of docs/pictures/ from their sources
	@$(BIN)/python tools/draw.py

interop: export INTEROP := $(if $(QUICK),quick,$(or $(SERVERS),all))
interop: $(VENV)/dev.done  ## Real servers behind the bridge (QUICK=1, or SERVERS="nginx Jetty"); writes docs/interop.md
	@$(BIN)/python -m tests.interop.install
	@$(BIN)/python -m pytest tests/interop

tools: $(VENV)/dev.done  ## Install the pinned plugins, grpcurl and ghz into .tools (needs Go and Node.js)
	@$(BIN)/python tools/toolchain.py

sandbox-page: $(VENV)/dev.done  ## The picture of the sandbox's page in docs/sandbox.md (needs Chromium)
	@$(BIN)/python tools/sandbox_page.py docs/sandbox.png

clients: $(VENV)/dev.done  ## Run the sample callers and the commands of docs/callers.md, of every language whose toolchain is here
	@$(BIN)/python tests/clients/first_calls.py $(if $(ALL),--all)
	@$(BIN)/python -m tests.clients.run $(if $(ALL),--all)

contract: $(VENV)/dev.done  ## Write dist/contract.binpb, the protos and all that they import, for buf and other generators
	@$(BIN)/python tools/proto_image.py --write dist/contract.binpb

release: $(VENV)/release.done  ## Build wheels, sdists, npm archive, jars, Go module, chart, SBOM and checksums into dist/ (needs npm, Maven, gcc)
	@$(BIN)/python tools/release.py dist

release-check: $(VENV)/release.done  ## Build a release twice, compare the bytes, and install from it what can be
	@RELEASE=1 $(BIN)/python -m pytest tests/release

second-operation: $(VENV)/dev.done  ## Add two operations in a copy of the repository and run its whole `make check` there
	@SECOND_OPERATION=1 $(BIN)/python -m pytest -s tests/second_operation

charts:  ## Lint and render deploy/ (builds Helm and kustomize once, needs go)
	@bash tools/helm.sh

lock: $(VENV)/lock.done $(VENV)/stubs  ## Resolve the dependencies again into requirements/
	@echo "lock: requirements/run.txt, dev.txt, image.txt, bench.txt, release.txt, compile.txt"
	@$(BIN)/$(COMPILE) --upgrade --output-file requirements/run.txt pyproject.toml
	@$(BIN)/$(COMPILE) --upgrade --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt pyproject.toml
	@$(BIN)/$(COMPILE) --upgrade --extra native --extra redis --extra tracing --constraint requirements/dev.txt --output-file requirements/image.txt pyproject.toml
	@$(BIN)/$(COMPILE) --upgrade --extra dev --extra bench --constraint requirements/dev.txt --output-file requirements/bench.txt pyproject.toml
	@$(BIN)/$(filter-out --all-build-deps,$(COMPILE)) --upgrade --constraint requirements/dev.txt --output-file requirements/release.txt requirements/release.in
	@$(BIN)/$(filter-out --all-build-deps,$(COMPILE)) --upgrade --constraint requirements/dev.txt --output-file requirements/compile.txt requirements/compile.in
	@# What no lock names, and why, stands above: pip-compile's warning of it is left out.
	@sed -i '/^# WARNING: The following packages were not pinned/,$$d' requirements/*.txt

clean:  ## Remove the environment and everything that tools left behind
	@rm -rf $(VENV) .venv-newest $(BENCH_VENV) $(BENCH_COMPILED) $(COMPILED) .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*

# The stamps name what is installed: a newer lock or pyproject installs again. dev.txt contains all of run.txt, bench.txt all of dev.txt.
$(VENV)/run.done: requirements/run.txt pyproject.toml
	@$(MAKE) --no-print-directory install LOCK=requirements/run.txt
	@touch $@

$(VENV)/dev.done: requirements/dev.txt pyproject.toml
	@$(MAKE) --no-print-directory install LOCK=requirements/dev.txt
	@touch $(VENV)/run.done $@

$(VENV)/bench.done: requirements/bench.txt pyproject.toml
	@$(MAKE) --no-print-directory install LOCK=requirements/bench.txt
	@touch $(VENV)/run.done $(VENV)/dev.done $@

$(COMPILED)/installed.done: $(or $(COMPILED_BESIDE),$(VENV)/dev.done) hatch_build.py tools/compiled_environment.py $(shell find bridge generated/python -name '*.py')
	@echo "compile: the modules of pyproject.toml's table, into $(COMPILED)"
	@$(IN_COMPILED)
	@touch $@

# release.txt has what comes on top of dev.txt.
$(VENV)/release.done: $(VENV)/dev.done requirements/release.txt
	@echo "install: requirements/release.txt into $(VENV)"
	@$(PIP) install --quiet --require-hashes -r requirements/release.txt
	@touch $@

# Our own distribution, on which the bridge depends: the resolver must find it, and no lock names it (--unsafe-package).
$(VENV)/stubs: $(VENV)/dev.done generated/python/pyproject.toml
	@rm -rf $@ && $(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir $@ ./generated/python

$(VENV)/lock.done: $(VENV)/dev.done
	@$(PIP) install --quiet pip-tools==7.6.2
	@touch $@

# An environment of another Python than is wanted is made again.
.PHONY: bench-environment
bench-environment:
	@wanted="$$($(BENCH_PYTHON) $(REAL_PATH))"; \
	if [ -x $(BENCH_VENV)/bin/python ] && [ "$$($(BENCH_VENV)/bin/python $(REAL_PATH))" != "$$wanted" ]; then rm -rf $(BENCH_VENV) $(BENCH_COMPILED); fi

.PHONY: install
install:
	@test -n "$(PYTHON)" || { echo "make: no python3 found; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "install: $(LOCK) into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --require-hashes -r $(LOCK)
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable ./generated/python --editable .
