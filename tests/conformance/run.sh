#!/usr/bin/env bash
# Runs the cases of cases.json with the library in every language, and compares the results with those of transformers.
# First checks that the bindings and their tests cover the functions of the header, and their constants and names.
#   tests/conformance/run.sh [LANGUAGE..]      of rust c cpp go swift python; all by default
set -euo pipefail
cd "$(dirname "$0")/../.."
languages=("$@")
test $# -gt 0 || languages=(rust c cpp go swift python)
python3 tests/conformance/coverage.py
python3 tests/conformance/constants.py
python3 tests/conformance/names.py
source tests/target.sh
cargo xtask dist --features demo
built=$target/conformance
mkdir -p "$built"
export PKG_CONFIG_PATH=$target/dist/lib/pkgconfig LD_LIBRARY_PATH=$target/dist/lib

debian_package() {
    dpkg -s "$1" > /dev/null 2>&1 || { apt-get -qq update; apt-get -qq install --no-install-recommends "$1" > /dev/null; }
}

# Each of these functions builds a driver and sets `driver` to the command that runs it. A driver prints one line per case.
build_rust() {
    # Without -p, so that no crate is compiled again with other features than the command has.
    cargo build --release --quiet --example conformance
    driver=("$target/release/examples/conformance")
}

build_c() {
    debian_package libcjson-dev
    cc -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror tests/conformance/driver.c -o "$built/driver-c" \
        $(pkg-config --cflags --libs florence2 libcjson) -pthread
    driver=("$built/driver-c")
}

build_cpp() {
    debian_package nlohmann-json3-dev
    c++ -std=c++17 -Wall -Wextra -Werror tests/conformance/driver.cpp -o "$built/driver-cpp" \
        $(pkg-config --cflags --libs florence2) -pthread
    driver=("$built/driver-cpp")
}

build_go() {
    source bindings/go/toolchain.sh
    go build -C tests/conformance/go-driver -o "$built/driver-go" .
    driver=("$built/driver-go")
}

build_swift() {
    SEEN=$target bindings/swift/toolchain.sh "$PWD" swift build --quiet --package-path tests/conformance/swift-driver \
        --scratch-path "$built/swift"
    driver=(env SEEN="$target" bindings/swift/toolchain.sh "$PWD" "$built/swift/debug/driver")
}

build_python() {
    driver=(env FLORENCE2_LIBRARY="$target/dist/lib/libflorence2.so" PYTHONPATH=bindings/python/src
        python3 tests/conformance/driver.py)
}

failed=0
for language in "${languages[@]}"; do
    "build_$language"
    "${driver[@]}" tests/conformance/cases.json assets/demo-model \
        | python3 tests/conformance/check.py "$language" || failed=1
done
exit "$failed"
