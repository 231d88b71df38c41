#!/usr/bin/env bash
# Tests the Swift binding against the library as it is laid out for others, once more with the address sanitizer.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo xtask dist --features demo
bindings/swift/toolchain.sh "$PWD" bash -euc '
    export PKG_CONFIG_PATH=$PWD/target/dist/lib/pkgconfig LD_LIBRARY_PATH=$PWD/target/dist/lib
    build=$PWD/target/swift
    cd bindings/swift
    swift format lint --strict --recursive --configuration .swift-format Package.swift Sources Tests
    swift test --quiet --scratch-path "$build" -Xswiftc -warnings-as-errors
    # XCTest itself leaks.
    ASAN_OPTIONS=detect_leaks=0 swift test --quiet --scratch-path "$build-address" --sanitize=address
'
