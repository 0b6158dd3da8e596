GO ?= go

.PHONY: help run build test check lint fmt bench bench-media bench-api benchmarks fuzz clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: build ## build and start SecureCam on embedded defaults, data in ./data
	./bin/securecam serve

build: ## build bin/securecam, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/securecam

test: ## install what the tests need, start the servers, run every test with the race detector
	$(GO) run ./cmd/testenv run $(GO) test -race -timeout 40m ./...

check: lint test ## what a change must pass

lint: ## vet, for macOS and Windows too, and lint (golangci-lint v2.15.0, built once by go run)
	$(GO) vet ./...
	CGO_ENABLED=0 GOOS=darwin $(GO) vet ./...
	CGO_ENABLED=0 GOOS=windows $(GO) vet ./...
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

fmt: ## format every Go file
	$(GO) run mvdan.cc/gofumpt@v0.12.0 -w .

bench: build ## load this build with 100 viewers and print what a packet costs; micro-benchmarks: make benchmarks
	$(GO) build -o bin/ ./cmd/securecam-bench
	@dir=$$(mktemp -d); ./bin/securecam serve --data-dir=$$dir --listen-host=127.0.0.1 --port=18480 --media-udp-port=0 --media-tcp-port=-1 \
		--turn-port=-1 --log-level=error --rate-limits=off >/dev/null & pid=$$!; \
	./bin/securecam-bench run --securecam http://127.0.0.1:18480 --pid $$pid --viewers 100 --json bin/bench.json; status=$$?; \
	kill $$pid; wait $$pid; exit $$status

bench-media: ## what browsers see over bad networks, and how soon
	@$(GO) test ./cmd/securecam -tags benchmedia -count=1 -v -timeout 20m -run '^TestBenchMedia$$' | grep -E '_test.go:|^(---|ok|FAIL|met|NOT|  )'

bench-api: build ## measure sign-in, lists, commands and 5,000 idle gateway connections of this build, on SQLite
	$(GO) build -o bin/ ./cmd/securecam-bench
	@dir=$$(mktemp -d); RATE_LIMITS=off ./bin/securecam serve --data-dir=$$dir --listen-host=127.0.0.1 --port=18481 \
		--media-udp-port=0 --media-tcp-port=-1 --turn-port=-1 --log-level=error >/dev/null & pid=$$!; \
	until ./bin/securecam health --listen-host=127.0.0.1 --port=18481 2>/dev/null; do sleep 0.2; done; \
	./bin/securecam-bench api --url http://127.0.0.1:18481 --pid $$pid --json bin/bench-api.json $(BENCH_API); status=$$?; \
	kill $$pid; wait $$pid; exit $$status

benchmarks: ## micro-benchmarks of the packages
	$(GO) test -run '^$$' -bench . -benchmem ./...

fuzz: ## fuzz every parser for FUZZTIME (default 10s) each
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $${FUZZTIME:-10s} $$p || exit 1; \
		done; \
	done

clean: ## remove what the build made; data stays
	rm -rf bin
