GO ?= go

# How long `make fuzz` spends on each target.
FUZZTIME ?= 20s

# What `make bench` passes on, as: make bench PEERS="--scenarios roundtrip --rounds 3"
PEERS ?=

# Which benchmarks `make bench-go` runs, and for how long each.
BENCH ?= .
BENCHTIME ?= 2s

# The end-to-end tests are run apart: their gateway is built with the race
# detector, their clients are not. From their own directory, so that go test
# shows what they say when they skip.
E2E := cmd/suitegate/e2e

.PHONY: all test install lint vet staticcheck format tidy unit e2e build fuzz bench bench-keep bench-go clean

all: build

## test: everything that has to pass, on a fresh Debian 12 machine with Go
test: install lint unit e2e

## install: compilers, TLS clients and brokers, where they are missing
install:
	@.ci/install

lint: format tidy vet staticcheck

format:
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi

tidy:
	$(GO) mod tidy -diff

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

unit:
	$(GO) test -race -timeout 10m $$($(GO) list ./... | grep -v '/e2e$$')
	$(GO) test -run '^$$' -bench 'Handshake|Relay' -benchtime 5x ./bench # that they still run
	$(GO) run ./bench/peers --short

e2e:
	cd $(E2E) && $(GO) test -count=1 -timeout 20m -parallel 4 # those that may be mostly wait

## build: the static binary, bin/suitegate
build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/suitegate ./cmd/suitegate

## fuzz: every fuzz target in turn, FUZZTIME each
fuzz:
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		targets=$$($(GO) test -list '^Fuzz' $$dir) || exit 1; \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done || exit 1; \
	done

## bench: suitegate beside HAProxy, nginx, hitch, stunnel and ghostunnel, for an
## hour; fails where it has got worse since the last kept results (bench/README.md)
bench:
	$(GO) run ./bench/peers $(PEERS)

## bench-keep: the same, and the results are kept in bench/results
bench-keep:
	$(GO) run ./bench/peers --keep $(PEERS)

## bench-go: Go's benchmarks; BENCH selects, BENCHTIME says how long each runs
bench-go:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem $$($(GO) list ./... | grep -v '/e2e$$')

clean:
	rm -rf bin
