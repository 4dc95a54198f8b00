# Each target sets itself up, quietly, inside this checkout; nothing else on the machine is touched.
VENV ?= .venv
PY := $(VENV)/bin/python
RUNS := $(VENV)/.runs
READY := $(VENV)/.ready
NEEDS := setup.cfg verifier/setup.cfg pyproject.toml packaging/dev/constraints.txt packaging/dev/bootstrap.sh
SOURCES := agent verifier lab tests

# Some environments forbid byte code; without it each process here takes up to three times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo lab test long compiled crash bench check format deb rpm rehearsal clean pictures

help:
	@echo "make demo    one instance from just booted to member of the HA slot, on stand-ins (under 2 minutes)"
	@echo "make test    the tests, but for those of make long (under 4 minutes)"
	@echo "make long    dying everywhere, every fault of every tool, a browser; CI runs both"
	@echo "make bench   figures as ratios: one boot beside other ways, the verifier under load, a fleet of ten thousand"
	@echo "make check   format, lint, types, import contracts"
	@echo "make crash   every fault of every tool in every client, every point to die at, a million texts (hours)"
	@echo "make deb     Debian packages of agent and verifier, make rpm the agent's rpm; into dist/"
	@echo "make rehearsal  the packages in images booted by a real systemd, with all their journeys (root)"
	@echo "make lab     the stand-ins on loopback until Ctrl-C, addresses in .lab/lab.json"
	@echo "make pictures  the operators' page of a made-up fleet, as docs show it"

# Two steps, so that who only wants to see it run does not wait for the developers' tools.
$(RUNS): $(NEEDS)
	@echo "setting up $(VENV) (once) ..."
	@packaging/dev/bootstrap.sh $(VENV) lab
	@touch $@

$(READY): $(NEEDS)
	@echo "setting up $(VENV) with the developers' tools (once) ..."
	@packaging/dev/bootstrap.sh $(VENV) dev
	@touch $@ $(RUNS)

demo: $(RUNS)
	@$(PY) -m lab demo

lab: $(RUNS)
	@$(PY) -m lab serve

check: $(READY)
	@$(VENV)/bin/ruff format --check --quiet $(SOURCES) packaging || { echo "run: make format"; exit 1; }
	@$(VENV)/bin/ruff check --quiet $(SOURCES) packaging
	@$(VENV)/bin/mypy --no-error-summary agent/hsm_enrol verifier/hsm_verifier lab tests
	@PYTHONPATH=agent:verifier:. $(VENV)/bin/lint-imports > $(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@echo "check: format, lint, types and import contracts hold"

format: $(READY)
	@$(VENV)/bin/ruff format --quiet $(SOURCES) packaging
	@$(VENV)/bin/ruff check --fix --quiet $(SOURCES) packaging

# Kept out of `make test` so that it stays short.
LONG := tests/lab tests/browser tests/test_crash_points.py tests/test_two_sided_crash.py tests/test_fuzz.py tests/story/test_canary.py \
	tests/story/test_killed_while_installing.py tests/story/test_matrix.py tests/story/test_node_exporter.py \
	tests/story/test_pains.py tests/story/test_repair.py tests/verifier/test_two_verifiers.py

# Reading all tests once writes their byte code, so that it is not done by each of the workers.
compiled: $(READY)
	@$(PY) -m pytest -q --collect-only > $(VENV)/collected.log 2>&1 || { cat $(VENV)/collected.log; exit 1; }

test: $(READY)
	@$(MAKE) --no-print-directory -j 2 check compiled
	@packaging/dev/postgres.sh
	@packaging/dev/needs.sh curl=curl jq=jq openssl=openssl
	@$(PY) -m pytest -q -n 5 --dist worksteal $(addprefix --ignore=,$(LONG))

long: $(READY)
	@packaging/dev/postgres.sh
	@packaging/dev/needs.sh chromium=chromium chromedriver=chromium-driver curl=curl jq=jq openssl=openssl
	@packaging/dev/node_exporter.sh
	@$(PY) -m pytest -q -n 5 --dist worksteal $(LONG)

# ROUNDS, COUNT and INSTANCES make it shorter or longer; the machine should have nothing else to do. Asking EC2 for each
# instance by itself is played with NAIVE instances: with ten thousand it takes an hour of the simulation's time.
ROUNDS ?= 15
COUNT ?= 2000
INSTANCES ?= 10000
NAIVE ?= 2000
BENCH := .bench/out

crash: $(READY)
	@HSM_ENROL_EVERY_POINT=1 HSM_ENROL_FUZZ=1000000 HSM_ENROL_CROSSINGS=1000000 HSM_ENROL_FLEET=500 \
		$(PY) -m pytest -q -rP -n 4 --dist worksteal tests/test_crash_points.py tests/test_chrystoki_fuzz.py \
		tests/story/test_matrix.py tests/story/test_repair.py tests/story/test_killed_while_installing.py tests/test_two_sided_crash.py \
		tests/verifier/test_two_verifiers.py

bench: $(READY)
	@packaging/dev/bench.sh $(PY)
	@mkdir -p $(BENCH)
	@$(PY) -m lab.scale --instances $(INSTANCES) --only batched trouble first-day --out $(BENCH)
	@$(PY) -m lab.scale --instances $(NAIVE) --spread 2 --only batched naive --out $(BENCH)/beside-naive
	@$(PY) -m lab.scale.real --out $(BENCH)
	@$(PY) -m lab.bench.floor --count $(COUNT) --out $(BENCH)
	@$(PY) -m lab.bench.throughput --count $(COUNT) --out $(BENCH)
	@$(PY) -m lab.bench.throughput --count $(COUNT) --verifiers 2 --clients 64 --connections fresh --restarts 0 --out $(BENCH)
	@packaging/dev/postgres.sh
	@$(PY) -m lab.bench.throughput --postgres --connections fresh --count $(COUNT) --out $(BENCH)
	@$(PY) -m lab.bench.phases --out $(BENCH)
	@$(PY) -m lab.bench.contest --rounds $(ROUNDS) --out $(BENCH)
	@packaging/deb/build.sh agent
	@$(PY) -m lab.bench.installed --deb dist/hsm-enrol_*.deb --rounds $(ROUNDS) --out $(BENCH)

deb:
	@packaging/dev/needs.sh lintian=lintian
	@packaging/deb/build.sh agent verifier
	@lintian --allow-root --fail-on error,warning --tag-display-limit 0 dist/hsm-enrol_*.deb dist/hsm-enrol-verifier_*.deb
	@echo "deb: lintian has nothing to say"

rpm:
	@packaging/rpm/build.sh

# WRITE=--write puts the table into docs/operating.md; ONLY="--only first_boot" plays some journeys.
rehearsal: $(READY)
	@$(PY) -m lab.rehearsal $(WRITE) $(ONLY)

pictures: $(READY)
	@packaging/dev/needs.sh chromium=chromium chromedriver=chromium-driver
	@$(PY) -m lab.pictures docs/pictures

clean:
	rm -rf .venv .lab .bench dist build
