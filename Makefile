# make demo: see it work. make test: check all of it. Both install what is missing first (.ci/setup).
.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test lint unit bench lock deb try-deb

PYTHON_BIN := .venv/bin/python
# What changes the network needs root; the rest runs as whoever calls.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Tests wait more than they work: for daemons, timers and packets that must not come.
TEST_PROCESSES ?= $(shell echo $$(( $$(nproc) + 2 )))
# All of them, unless you name files or directories.
TESTS ?=
NETCTL := $(strip $(SUDO) .venv/bin/netctl)

help:
	@echo "make demo    installs what is missing, applies topology.yaml (all in namespaces of its own) and verifies it"
	@echo "make test    installs what the tests need, then runs linters, types, import rules and tests (as root: all of them)"
	@echo "             TESTS=tests/unit names some; SUITE=trixie runs them in a fresh Debian 13 (as root; needs debootstrap)"
	@echo "make setup   installs what netctl needs, and makes .venv/bin/netctl"
	@echo "make deb     builds a package for this Debian in dist/; SUITE=trixie builds it in a fresh Debian 13, installs and removes it there"
	@echo "make bench   measures netctl beside hand-written ways to do the same (as root, about ten minutes);"
	@echo "             by hand: benchmarks/fleet.py (many hosts), throughput.py (iperf3), runtimes.py (docker, podman, lxc), graph.py (pictures)"
	@echo "make lock    renews requirements*.lock (needs uv)"

setup:
	@.ci/setup

setup-test:
	@.ci/setup --test

demo: setup
	@echo "== netctl apply topology.yaml"
	@$(NETCTL) apply topology.yaml
	@echo; echo "== netctl verify topology.yaml"
	@$(NETCTL) verify topology.yaml
	@echo; echo "== netctl status topology.yaml"
	@$(NETCTL) status topology.yaml
	@printf '%s\n' '' \
	    'Look around:' \
	    '  $(NETCTL) exec web -- ip address                                 in a container, with the tools of this machine' \
	    '  $(NETCTL) exec --host alpha -- ip route                          in a lab host' \
	    '  $(NETCTL) exec --host alpha -- nft list table inet netctl-shop   needs the package nftables' \
	    'Change topology.yaml, and apply the difference:' \
	    '  $(NETCTL) diff; $(NETCTL) apply' \
	    'Remove all of it:' \
	    '  $(NETCTL) destroy'

# With SUITE, the same in a fresh root of that Debian, which goes away again.
ifdef SUITE
test:
	$(SUDO) env KEEP="$(KEEP)" CI="$(CI)" .ci/debian $(SUITE) lint unit TESTS="$(TESTS)"
else
test: setup-test lint unit
endif

lint:
	$(PYTHON_BIN) -m ruff check .
	$(PYTHON_BIN) -m mypy
	.venv/bin/lint-imports --no-logo
	$(PYTHON_BIN) -m tests.language

unit:
	@[ "$$(id -u)" = 0 ] || echo "make: not root: the tests on the real kernel need root, so they do not run now (sudo make test)"
	$(PYTHON_BIN) -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile --no-loadscope-reorder $(TESTS)

# With SUITE, in a fresh root of that Debian, where the package is installed, tried and removed, too.
ifdef SUITE
deb:
	$(SUDO) env SETUP=deb KEEP="$(KEEP)" .ci/debian $(SUITE) try-deb
else
deb:
	@.ci/deb
endif

try-deb:
	@.ci/try-deb

bench: setup
	$(SUDO) $(PYTHON_BIN) benchmarks/run.py

# The build backend is locked too, since the project is installed without build isolation.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock:
	echo 'setuptools>=77' | $(LOCK) pyproject.toml - -o requirements.lock
	echo 'setuptools>=77' | $(LOCK) pyproject.toml - --extra dev -c requirements.lock -o requirements-dev.lock
