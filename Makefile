# Versions of the tools that go.mod does not hold.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOTESTSUM     = gotest.tools/gotestsum@v1.13.0
OASDIFF       = github.com/oasdiff/oasdiff@v1.36.0
OGEN          = github.com/ogen-go/ogen/cmd/ogen@v1.24.0
ACTIONLINT    = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo none)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
BINARY   = rollbook
# The profile by which the compiler optimises what is shipped; "off" compiles faster.
PGO      = cmd/rollbook/rollbook.pgo

.DEFAULT_GOAL = help
.PHONY: help run build release test test-long gen common check gen-check vet lint deploy-lint contract-lint contract-breaking contract-release test-race fuzz fault bench bench-growth pgo screenshot npm sdk

help: ## Show what there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Run the server, on SQLite unless DATABASE_URL says otherwise.
	CGO_ENABLED=0 go run -ldflags "$(LDFLAGS)" ./cmd/rollbook serve

build: ## Build ./rollbook, one static file.
	CGO_ENABLED=0 go build -trimpath -pgo=$(PGO) -ldflags "$(LDFLAGS)" -o $(BINARY) ./cmd/rollbook

RELEASED = rollbook-linux-amd64 rollbook-linux-arm64

release: ## Build the files of a release, and their SHA-256 sums, into dist/.
	for file in $(RELEASED); do \
	  GOOS=linux GOARCH=$${file##*-} $(MAKE) build BINARY=dist/$$file || exit 1; done
	cd dist && sha256sum $(RELEASED) > SHA256SUMS

test: ## Run the tests but for the longest; what this machine lacks is skipped and named.
	CGO_ENABLED=0 go run $(GOTESTSUM) --format pkgname -- -short ./...

test-long: ## Run the longest tests: load, faults, large imports, thousands of requests beside Django.
	CGO_ENABLED=0 go run $(GOTESTSUM) --format pkgname -- -count=1 -p 1 -run '^TestLong' ./...

GENERATE = go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen -config gen/oapi-codegen.yaml \
             -o $(1)/rollbook.gen.go openapi.yaml && \
           go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen -config gen/client/oapi-codegen.yaml \
             -o $(1)/client/client.gen.go openapi.yaml

gen: ## Generate gen/ from openapi.yaml.
	$(call GENERATE,gen)

common: npm ## Make the list of common passwords anew, from Debian's python3-django and the package in test/package.json.
	cd password && go run generate_common.go

check: gen-check vet lint deploy-lint contract-lint contract-breaking sdk test-race test-long ## Check everything, as CI does.

gen-check: # Whether gen/ is what openapi.yaml generates, and nothing else.
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && mkdir "$$fresh/client" && \
	cp gen/oapi-codegen.yaml "$$fresh" && cp gen/client/oapi-codegen.yaml "$$fresh/client" && \
	$(call GENERATE,"$$fresh") && \
	{ diff -r "$$fresh" gen || { echo "gen/ is not what openapi.yaml generates: run 'make gen'" >&2; exit 1; }; }

vet:
	go vet ./...

lint:
	go run $(GOLANGCI_LINT) run

deploy-lint: # Whether the workflows are what GitHub takes.
	go run $(ACTIONLINT)

contract-lint: npm # Whether openapi.yaml is good style.
	REDOCLY_TELEMETRY=off $(NPM_BIN)/redocly lint --config test/redocly.yaml openapi.yaml

contract-breaking: # Whether openapi.yaml breaks clients of the released one.
	go run $(OASDIFF) breaking --fail-on WARN test/contract/released.yaml openapi.yaml

contract-release: ## Make openapi.yaml the contract that later ones may not break.
	cp openapi.yaml test/contract/released.yaml

# Not with the race detector: tests that build the program and drive it from outside, which has no detector in it.
OUTSIDE = /test/django

test-race: npm # The tests with the race detector, and how much of the contract they exercise.
	@notes=$$(mktemp -d) && trap 'rm -rf "$$notes"' EXIT && \
	CONTRACT_COVERAGE=$$notes CI=true CGO_ENABLED=1 \
	  go run $(GOTESTSUM) --format pkgname -- -race -short $$(go list ./... | grep -vE '$(OUTSIDE)$$') && \
	go run ./test/contract/coverage "$$notes"

fuzz: ## Try CHECKS random requests (100000), and FUZZTIME (1m) on each fuzz target.
	go test ./test/contract -run TestRandomRequests -timeout 0 -rapid.checks=$(or $(CHECKS),100000) -rapid.seed=0
	for target in FuzzCanonicalBody FuzzAuthorization FuzzCostlyBody; do \
	  go test ./server -run '^$$' -fuzz $$target -fuzztime $(or $(FUZZTIME),1m) || exit 1; done

fault: ## Break the database, its connections, the disk, clients and the server itself, for some minutes, and print figures.
	CGO_ENABLED=0 go test ./test/fault -count=1 -v -timeout 20m -full

bench: ## Measure Rollbook beside a program that does the same jobs with net/http and pgx alone, and write docs/speed.md; needs wrk and PostgreSQL.
	CGO_ENABLED=0 go test ./test/load -count=1 -v -timeout 60m -run '^$$' -bench BesideTheFloor -benchtime 1x -write

pgo: ## Take the profile by which the compiler optimises ./rollbook, from reads and changes of profiles; needs wrk and PostgreSQL.
	CGO_ENABLED=0 go test ./test/load -count=1 -v -timeout 10m -run '^$$' -bench InProcess -benchtime 1x -lasts 20s -cpuprofile $(PGO) -o /dev/null

bench-growth: ## Measure what profile reads and logins cost with ten thousand accounts, a million and ten million; needs 20 GB of disk and 12 of memory.
	CGO_ENABLED=0 go test ./test/load -count=1 -v -timeout 60m -run '^$$' -bench Growth -benchtime 1x

screenshot: ## Take the picture of the documentation that the README shows; needs Chromium.
	go test ./test/browser -count=1 -run 'TestDocumentation$$' -screenshot "$(CURDIR)/docs/swagger-ui.png"

NPM_BIN = test/node_modules/.bin

npm: test/node_modules/.package-lock.json # The tools from npm, at the versions of test/package-lock.json.

test/node_modules/.package-lock.json: test/package-lock.json
	cd test && npm ci

sdk: npm ## Generate clients from openapi.yaml with other generators, and compile them.
	rm -rf test/sdk/generated test/sdk/build test/sdk/ogen/api
	$(NPM_BIN)/openapi-typescript openapi.yaml -o test/sdk/generated/openapi-typescript/api.ts
	$(NPM_BIN)/openapi-ts -i openapi.yaml -o test/sdk/generated/hey-api -c @hey-api/client-fetch --no-log-file
	$(NPM_BIN)/orval --config test/sdk/orval.config.cjs
	$(NPM_BIN)/swagger-typescript-api generate -p openapi.yaml -o test/sdk/generated/swagger-typescript-api -n api.ts --silent
	! grep -nE '[<:,] ?any\b' $(addprefix test/sdk/generated/,openapi-typescript/api.ts orval/api.ts hey-api/types.gen.ts hey-api/sdk.gen.ts) | grep -v ' \* '
	$(NPM_BIN)/tsc -p test
	cd test/sdk/ogen && go run $(OGEN) --target api --package api --clean ../../../openapi.yaml && go vet ./...
