#!/usr/bin/env bash
# Lints the Swift binding and tests it against the library in the folder of `cargo xtask dist`: without and with the
# address sanitizer.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
cargo xtask dist --features demo
export PKG_CONFIG_PATH=$target/dist/lib/pkgconfig LD_LIBRARY_PATH=$target/dist/lib

undocumented=$(awk '/^ *public / && previous !~ /\/\/\// { print FILENAME ":" FNR ": " $0 } { previous = $0 }' \
    bindings/swift/Sources/Florence2/*.swift)
test -z "$undocumented" || { echo "public, without a comment: $undocumented"; exit 1; }
swift() {
    SEEN=$target bindings/swift/toolchain.sh "$PWD" swift "$@"
}
swift format lint --strict --recursive --configuration bindings/swift/.swift-format \
    Package.swift bindings/swift/{Sources,Tests} examples/swift/{detect,tour}/{Package.swift,main.swift} \
    tests/conformance/swift-driver/{Package.swift,Sources}
swift test --quiet --scratch-path "$target/swift" -Xswiftc -warnings-as-errors
# XCTest leaks memory.
export ASAN_OPTIONS=detect_leaks=0
swift test --quiet --scratch-path "$target/swift-address" --sanitize=address
