#!/usr/bin/env bash
# Vets and tests the Go binding against the library as it is laid out for others, also under the race detector, cgo's
# checks and constant garbage collection.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
cargo xtask dist --features demo
source bindings/go/toolchain.sh
export PKG_CONFIG_PATH=$target/dist/lib/pkgconfig LD_LIBRARY_PATH=$target/dist/lib
for folder in bindings/go examples/go tests/conformance/go-driver; do
    test -z "$(gofmt -l "$folder")" || { gofmt -d "$folder"; exit 1; }
    (cd "$folder" && go vet ./...)
done
cd bindings/go
go test -count=1 ./...
GOEXPERIMENT=cgocheck2 go test -count=1 ./...
GOGC=1 go test -race -count=1 ./...
