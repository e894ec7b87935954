# Versions of the tools that go.mod does not hold.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOTESTSUM     = gotest.tools/gotestsum@v1.13.0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo none)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

.DEFAULT_GOAL = help
.PHONY: help run build test gen check gen-check vet lint test-race

help: ## Show what there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Run the server, on SQLite unless DATABASE_URL says otherwise.
	CGO_ENABLED=0 go run -ldflags "$(LDFLAGS)" ./cmd/rollbook serve

build: ## Build ./rollbook, one static file.
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o rollbook ./cmd/rollbook

test: ## Run the tests; what this machine lacks is skipped and named.
	CGO_ENABLED=0 go run $(GOTESTSUM) --format pkgname --hide-summary output -- ./...

GENERATE = go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen -config gen/oapi-codegen.yaml \
             -o $(1)/rollbook.gen.go openapi.yaml && \
           go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen -config gen/client/oapi-codegen.yaml \
             -o $(1)/client/client.gen.go openapi.yaml

gen: ## Generate gen/ from openapi.yaml.
	$(call GENERATE,gen)

check: gen-check vet lint test-race ## Check everything, as CI does; needs PostgreSQL and a C compiler.

gen-check: # Whether gen/ is what openapi.yaml generates, and nothing else.
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && mkdir "$$fresh/client" && \
	cp gen/oapi-codegen.yaml "$$fresh" && cp gen/client/oapi-codegen.yaml "$$fresh/client" && \
	$(call GENERATE,"$$fresh") && \
	{ diff -r "$$fresh" gen || { echo "gen/ is not what openapi.yaml generates: run 'make gen'" >&2; exit 1; }; }

vet:
	go vet ./...

lint:
	go run $(GOLANGCI_LINT) run

test-race:
	CI=true CGO_ENABLED=1 go run $(GOTESTSUM) --format pkgname --hide-summary output -- -race ./...
