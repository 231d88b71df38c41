#!/usr/bin/env bash
# Checks the Go binding with gofmt and go vet, and tests it with the library of `cargo xtask dist`: plainly, with cgo's pointer
# checks, and with the race detector under constant garbage collection. Builds the example with the library's folder in the
# program (rpath) and with the static library, and runs both without LD_LIBRARY_PATH.
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
cd ../../examples/go
built=$(mktemp -d)
trap 'rm -r "$built"' EXIT
CGO_LDFLAGS="-Wl,-rpath,$(pkg-config --variable=libdir florence2)" go build -o "$built/rpath" .
go build -tags florence2_static -o "$built/static" .
for program in rpath static; do
    env -u LD_LIBRARY_PATH "$built/$program" ../../assets/demo-model/scenes/scene-1.png | grep '^white circle ' > /dev/null
done
