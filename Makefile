# Everything that a person or CI does here. Needs Python 3.10 or newer, make and git; the rest is
# installed into .venv on first use.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first interpreter of 3.10 or newer. Name another with `make PYTHON=python3.12 ...`.
PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Plugins are started by buf as `python3`: it must be the one of the environment.
WITH_BIN := PATH="$(CURDIR)/$(BIN):$$PATH"
# Branch that `make breaking` compares the schema with.
BASE ?= main
# Pythons that `make test-all` runs on, where the machine has them.
PYTHONS ?= 3.10 3.11 3.12 3.13 3.14 3.15
# Extra arguments for pytest, for example ARGS="tests/connect -x".
ARGS ?=
# Seconds for each thing that `make fuzz` feeds.
FUZZ_SECONDS ?= 10
# How often each fault happens in `make faults`, at other moments each time.
FAULT_ROUNDS ?= 3
# Test processes side by side.
JOBS ?= 3

.PHONY: help
help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | expand -t 16

# ------------------------------------------------------------------------------ environment

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "No Python 3.10 or newer found. Install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: install it (on Debian and Ubuntu: apt install python3-venv), then try again."; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5,<1"

$(VENV)/.run: pyproject.toml | $(BIN)/uv
	@$(UV) pip install --quiet --python $(BIN)/python --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/uv
	@$(UV) pip install --quiet --python $(BIN)/python --editable . --group dev
	@touch $@ $(VENV)/.run

.PHONY: install
install: $(VENV)/.dev ## Install the package and the development tools into .venv.

# ---------------------------------------------------------------------------------- product

.PHONY: demo
demo: $(VENV)/.run ## Install, then run the quick start on the embedded server.
	@$(BIN)/python examples/quickstart.py

# ------------------------------------------------------------------------------------ tests

.PHONY: test
test: $(VENV)/.dev ## Run the test suite on the checkout.
	@$(WITH_BIN) $(BIN)/pytest -n $(JOBS) --dist loadgroup $(ARGS)

.PHONY: faults
faults: $(VENV)/.dev ## Let every fault happen FAULT_ROUNDS times, at moments that chance draws.
	@AIAUTO_FAULT_ROUNDS=$(FAULT_ROUNDS) $(WITH_BIN) $(BIN)/pytest -n $(JOBS) --dist loadgroup tests/faults $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Feed what reads the words of strangers, guided by Atheris, FUZZ_SECONDS each.
	@$(UV) pip install --quiet --python $(BIN)/python "atheris>=3,<4" || { echo "There is no Atheris for this Python or system."; exit 1; }
	@$(BIN)/python -m tests.fuzz.guided $(FUZZ_SECONDS) 2>/dev/null

.PHONY: test-all
test-all: $(VENV)/.dev ## Run the suite against the built wheel on every Python from 3.10 up.
	@set -e; ran=; dist=$$(mktemp -d); trap 'rm -rf "$$dist"' EXIT; \
	$(BIN)/python -m build --quiet --wheel --installer uv --outdir "$$dist" .; \
	for version in $(PYTHONS); do \
		python=; \
		for found in "python$$version" "$${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version".*/bin/python; do \
			if "$$found" -c '' 2>/dev/null; then python=$$found; break; fi; done; \
		test -n "$$python" || { echo "Python $$version: not on this machine, left out"; continue; }; \
		echo "Python $$version: $$python"; ran=yes; \
		env="$(CURDIR)/.venv-$$version"; \
		$(UV) venv --quiet --clear --python "$$python" "$$env"; \
		$(UV) pip install --quiet --python "$$env/bin/python" "$$dist"/*.whl --group gen --group test --group check; \
		(cd "$$dist" && PATH="$$env/bin:$$PATH" "$$env/bin/pytest" -n $(JOBS) --dist loadgroup \
			-p no:cacheprovider --config-file "$(CURDIR)/pyproject.toml" --rootdir "$(CURDIR)" $(ARGS) "$(CURDIR)/tests"); \
	done; \
	test -n "$$ran" || { echo "None of Python $(PYTHONS) is on this machine."; exit 1; }

.PHONY: conformance
conformance: $(VENV)/.dev ## Run the official Connect conformance suite. Needs Go.
	@$(WITH_BIN) $(BIN)/python tests/conformance/run.py

# The real control plane of Kubernetes, kubectl and helm: one program under each of its names.
CONTROL_PLANE := tests/kubernetes/control_plane
KUBERNETES := .kubernetes/bin
KUBERNETES_VERSION = $(shell awk '$$1 == "k8s.io/kubernetes" { print $$2 }' $(CONTROL_PLANE)/go.mod)
HELM_VERSION = $(shell awk '$$1 == "helm.sh/helm/v4" { print $$2 }' $(CONTROL_PLANE)/go.mod)
NUMBERS = $(subst ., ,$(KUBERNETES_VERSION:v%=%))
VERSIONS = -X k8s.io/component-base/version.gitVersion=$(KUBERNETES_VERSION) \
	-X k8s.io/component-base/version.gitMajor=$(word 1,$(NUMBERS)) \
	-X k8s.io/component-base/version.gitMinor=$(word 2,$(NUMBERS)) \
	-X helm.sh/helm/v4/internal/version.version=$(HELM_VERSION)

$(KUBERNETES)/control-plane: $(CONTROL_PLANE)/go.mod $(CONTROL_PLANE)/go.sum $(CONTROL_PLANE)/main.go
	@command -v go >/dev/null || { echo "Go is needed to build Kubernetes, and is not on the PATH."; exit 1; }
	@cd $(CONTROL_PLANE) && go build -trimpath -ldflags "-s -w $(VERSIONS)" -o $(CURDIR)/$@ .
	@for name in etcd helm kube-apiserver kube-controller-manager kube-scheduler kubectl; do \
		ln -sf control-plane $(KUBERNETES)/$$name; done
	@touch $@

.PHONY: control-plane
control-plane: $(KUBERNETES)/control-plane ## Build Kubernetes' control plane, kubectl and helm into .kubernetes/. Needs Go.

.PHONY: test-cluster
test-cluster: $(VENV)/.dev ## Run the tests of batches on the cluster that KUBECONFIG names.
	@$(WITH_BIN) $(BIN)/pytest tests/kubernetes/batches --cluster --timeout=1800 -v -rs $(ARGS)

.PHONY: bench-rpc
bench-rpc: $(VENV)/.dev ## Measure RPC libraries side by side and write bench/rpc/results/.
	@$(BIN)/python bench/rpc/run.py

.PHONY: bench-storage
bench-storage: $(VENV)/.dev ## Measure Optuna's storages side by side and write bench/storage/results/.
	@$(BIN)/python bench/storage/run.py

.PHONY: bench-workers
bench-workers: $(VENV)/.dev ## Measure how soon a worker works, and write bench/workers/results/.
	@$(BIN)/python bench/workers/run.py

.PHONY: bench-scale
bench-scale: $(VENV)/.dev ## Measure how many trials, studies and watchers do, and write bench/scale/results/.
	@$(BIN)/python bench/scale/run.py

.PHONY: bench-kubernetes
bench-kubernetes: $(VENV)/.dev ## Count what batches cost a cluster, and write bench/kubernetes/results/.
	@$(BIN)/python bench/kubernetes/run.py

# ----------------------------------------------------------------------------------- checks

.PHONY: check
check: lint types gen-check ## Everything that reads the code without running it.

.PHONY: lint
lint: $(VENV)/.dev ## Check style and formatting.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: format
format: $(VENV)/.dev ## Put the code into shape.
	@$(BIN)/ruff check --fix-only --exit-zero .
	@$(BIN)/ruff format .
	@$(BIN)/buf format --write

.PHONY: types
types: $(VENV)/.dev ## Check types with mypy and pyright, both strict, and that none is missing.
	@$(BIN)/mypy
	@$(BIN)/pyright
	@for package in aiauto aiauto_gen; do \
		$(WITH_BIN) $(BIN)/pyright --verifytypes $$package --ignoreexternal | tail -n 12 | grep -F "score: 100%" \
		|| { echo "Types are missing in $$package: pyright --verifytypes $$package --ignoreexternal"; exit 1; }; \
	done

.PHONY: audit
audit: $(BIN)/uv ## Look for known vulnerabilities in what the package brings along.
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	$(UV) pip compile --quiet --all-extras --no-header --no-annotate -o "$$tmp/requirements.txt" pyproject.toml && \
	$(UV) tool run --quiet "pip-audit>=2.9,<3" --disable-pip --no-deps --progress-spinner off -r "$$tmp/requirements.txt"

# ------------------------------------------------------------------------------------ docs

# Material for MkDocs tells at every start what comes after it.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

.PHONY: docs
docs: $(VENV)/.dev ## Build the documentation into build/site. Fails on a broken link.
	@$(MKDOCS) build --strict --quiet

.PHONY: docs-serve
docs-serve: $(VENV)/.dev ## Show the documentation while you write it.
	@$(MKDOCS) serve

.PHONY: pictures
pictures: $(VENV)/.dev ## Take the pictures of the documentation anew. Needs Chromium.
	@$(BIN)/python -m tools.site.pictures

# ----------------------------------------------------------------------------------- schema

.PHONY: gen
gen: $(VENV)/.dev ## Regenerate gen/ from proto/.
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code
	@$(WITH_BIN) $(BIN)/buf generate

.PHONY: gen-check
gen-check: $(VENV)/.dev ## Fail if gen/ is not what proto/ generates. Leaves the tree alone.
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && $(WITH_BIN) $(BIN)/buf generate --output "$$tmp" && \
	diff -r -x __pycache__ gen "$$tmp/gen" || { echo "gen/ is not what proto/ generates: run make gen and commit the result."; exit 1; }

.PHONY: breaking
breaking: $(VENV)/.dev ## Compare the schema with BASE (main) and fail on changes that break peers.
	@$(BIN)/buf breaking --against ".git#branch=$(BASE)"

# ---------------------------------------------------------------------------------- release

.PHONY: build
build: $(VENV)/.dev ## Build sdist and wheel into dist/ and check them as a user would.
	@rm -rf dist
	@$(BIN)/python -m build --quiet --installer uv .
	@$(BIN)/twine check --strict dist/*
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(UV) venv --quiet --python $(BIN)/python "$$tmp/venv"; \
	$(UV) pip install --quiet --python "$$tmp/venv/bin/python" dist/*.whl; \
	cp examples/quickstart.py "$$tmp"; cd "$$tmp"; \
	venv/bin/python -c "import aiauto, aiauto_gen.aiauto.v1; print('aiauto', aiauto.__version__, 'imports')"; \
	AIAUTO_DATA_DIR="$$tmp/data" AIAUTO_IDLE_TIMEOUT=5 venv/bin/python quickstart.py
	@ls -l dist

.PHONY: push
push: ## Upload dist/ with your own credentials.
	@test -d dist || { echo "Nothing to upload: run make build first."; exit 1; }
	@if [ -z "$$TWINE_PASSWORD" ] && [ ! -f "$${TWINE_CONFIG_FILE:-$$HOME/.pypirc}" ]; then \
		echo "Not uploaded: no credentials. Set TWINE_USERNAME and TWINE_PASSWORD (for an API token the user name is __token__), or write them into ~/.pypirc."; exit 1; fi
	@$(BIN)/twine upload --non-interactive dist/*

.PHONY: clean
clean: ## Remove what was built and installed here.
	@rm -rf $(VENV) .venv-3.* build dist .conformance .kubernetes .mypy_cache .pytest_cache .ruff_cache .hypothesis
