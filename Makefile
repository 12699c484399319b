SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-builtin-rules
.DEFAULT_GOAL := help

IMG     ?= utexo-operator:latest
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
KUBECTL ?= $(shell command -v kubectl || echo bin/k8s/kubectl)
# Arguments of run, sandbox, demo and bench; how long fuzz-short spends on a target; how many faults model allows; which seeds
# simulate runs, and how often the one; which pair of faults pairs shows; which packages test covers.
ARGS         ?=
FUZZTIME     ?= 10s
MODEL_FAULTS ?= 3
SEEDS        ?= 1000
FIRST        ?= 1
SEED         ?=
PAYMENTS     ?= 1000
KILLS        ?= 500
PAUSES       ?= 200
REPEAT       ?=
PAIR         ?=
PKG          ?= ./...

# One set of flags for everything: switching them recompiles all of client-go.
export CGO_ENABLED := 0
export KUBEBUILDER_ASSETS := $(CURDIR)/bin/k8s

tool = go tool -modfile=hack/tools/$(1)/go.mod $(1)
# What generate and manifests write; committed and never edited.
GENERATED = '*/zz_generated.*' '*.gen.go' config/crd/bases config/rbac/role.yaml docs/api-reference.md

##@ General

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*##/ {printf "  \033[36m%-12s\033[0m%s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: clean
clean: ## Remove what the build made; the control plane of the tests stays in its store
	rm -rf bin dist

##@ Develop

.PHONY: generate
generate: ## Write deep copies and all other generated Go code
	$(call tool,controller-gen) object paths=./api/...
	go generate ./...

.PHONY: manifests
manifests: ## Write the CRDs, the manager's role and the API reference from the code
	$(call tool,controller-gen) crd paths=./api/... output:crd:dir=config/crd/bases
	$(call tool,controller-gen) rbac:roleName=utexo-manager paths=./internal/... output:rbac:dir=config/rbac
	@mkdir -p docs
	$(call tool,crd-ref-docs) --log-level=ERROR --source-path=api/v1alpha1 --config=hack/tools/crd-ref-docs/config.yaml \
	  --renderer=markdown --output-path=docs/api-reference.md

.PHONY: fmt
fmt: ## Format the Go code
	$(call tool,gofumpt) -w .

.PHONY: lint
lint: ## Check format and suspicious constructs
	@unformatted="$$($(call tool,gofumpt) -l .)"; \
	  [[ -z $$unformatted ]] || { echo "not formatted, run make fmt:" $$unformatted >&2; exit 1; }
	go vet ./...

.PHONY: lint-deep
lint-deep: ## Find bugs and breaches of the API conventions with golangci-lint (built first, minutes)
	go tool -modfile=hack/tools/kube-api-linter/go.mod golangci-lint-kube-api-linter run ./...

.PHONY: test
test: envtest ## Run all tests; PKG=./internal/bolt11/... for some of them
	$(call tool,gotestsum) --format pkgname-and-test-fails --format-hide-empty-pkg -- -timeout 60m $(PKG)

.PHONY: simulate
simulate: ## Run SEEDS simulations of the money path from FIRST on, or the one SEED with its timeline, or REPEAT times
	SEEDS=$(SEEDS) FIRST=$(FIRST) SEED=$(SEED) REPEAT=$(REPEAT) go test ./test/simulation -run '^TestSeeds$$' -count=1 -timeout 0 -v

.PHONY: chaos
chaos: envtest ## Kill and suspend managers that make PAYMENTS payments, KILLS and PAUSES times (an hour); make test does it shortly
	PAYMENTS=$(PAYMENTS) KILLS=$(KILLS) PAUSES=$(PAUSES) SEED=$(or $(SEED),1) \
	  go test ./test/manager -run '^TestChaos$$' -count=1 -timeout 0 -v

.PHONY: pairs
pairs: ## Run every operation with all ordered pairs of faults (an hour or more), or the one PAIR with its timeline
	PAIRS=all PAIR=$(PAIR) go test ./test/simulation -run '^TestPairs$$' -count=1 -timeout 0 -v

.PHONY: scenarios
scenarios: envtest ## Put every scenario at every call of every kind; make test takes every fourth call
	SCENARIOS=all go test ./internal/controller -run '^TestScenarios$$' -count=1 -timeout 0 -v

.PHONY: drill
drill: envtest ## Lose and restore a cluster with 200 payments, in every way there is; make test does it with 40
	DRILL_PAYMENTS=200 go test ./internal/controller -run '^TestRestoreDrill$$' -count=1 -timeout 0 -v

.PHONY: fuzz-short
fuzz-short: ## Run every fuzz target for FUZZTIME
	@hack/fuzz.sh $(FUZZTIME)

.PHONY: model
model: ## Search all states of the payment protocol with MODEL_FAULTS faults (minutes); make test does it with two
	MODEL_FAULTS=$(MODEL_FAULTS) go test ./test/model -count=1 -timeout 30m -v -run 'TestModel|TestBeyond/a_frozen_manager,_Lightning'

.PHONY: bench
bench: envtest ## Measure the operator next to a ceiling (20 minutes); ARGS="-h" shows sizes, scenarios and profiles
	go run ./hack/bench $(ARGS)

.PHONY: bench-hot
bench-hot: ## Run the Go benchmarks of what every payment takes
	go run ./hack/bench -scenarios hot $(ARGS)

.PHONY: verify
verify: generate manifests ## Regenerate everything and fail where that changes the tree
	git diff --exit-code
	@untracked="$$(git ls-files -o --exclude-standard -- $(GENERATED))"; \
	  [[ -z $$untracked ]] || { echo "generated, not committed:" $$untracked >&2; exit 1; }

.PHONY: envtest
envtest: ## Get the control plane of the tests into bin/k8s
	@hack/envtest/install.sh

##@ Run

.PHONY: demo
demo: build envtest ## Show the main job: a cluster, the sandbox and the manager on this machine
	go run ./hack/demo $(ARGS)

.PHONY: sandbox
sandbox: ## Run the UTEXO API, with a chain and a ledger of its own, where config/samples looks for it
	go run ./cmd/utexo-sandbox --listen 127.0.0.1:8085 --admin-listen 127.0.0.1:8086 $(ARGS)

.PHONY: run
run: install ## Run the manager against the current kubeconfig
	$(KUBECTL) apply --server-side -f config/manager/namespace.yaml
	go run ./cmd/manager $(ARGS)

##@ Build and deploy

.PHONY: build
build: ## Build the programs into bin/
	go build -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/...

.PHONY: install
install: ## Install the CRDs into the current cluster
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CRDs and with them every wallet and payment, and all memory of what was paid
	$(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: ## Deploy the operator to the current cluster; IMG names its image, CONFIG=config/shards adds a shard
	$(call tool,kustomize) build $(or $(CONFIG),config/default) | sed 's|image: utexo-operator:latest|image: $(IMG)|' | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove the operator and its roles; CRDs, admission policies, namespace and records stay
	$(KUBECTL) delete --ignore-not-found -n utexo-system deployments,services -l app.kubernetes.io/name=utexo-operator
	$(KUBECTL) delete --ignore-not-found -k config/network-policy
	$(KUBECTL) delete --ignore-not-found -k config/rbac
