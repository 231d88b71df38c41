#!/usr/bin/env bash
# Builds CFlorence2.xcframework in this folder for macOS, iOS and the iOS simulator. Also writes it as a zip file, which a
# release publishes, and prints its checksum for Package.swift. Requires a Mac with Xcode and rustup.
#   [FEATURES=demo] make_xcframework.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
features=${FEATURES:-}
source tests/target.sh
folder=$target/xcframework
rm -rf "$folder" bindings/swift/CFlorence2.xcframework{,.zip}
mkdir -p "$folder/include"
cp include/florence2.h "$folder/include/"
printf 'module CFlorence2 {\n    header "florence2.h"\n    export *\n}\n' > "$folder/include/module.modulemap"

build() {
    rustup target add "$1"
    cargo build --release --package florence2-ffi --features "$features" --target "$1"
}

# Builds one archive with all architectures of a platform.
platform() {
    local name=$1 archives=() triple
    shift
    for triple in "$@"; do
        build "$triple"
        archives+=("$target/$triple/release/libflorence2.a")
    done
    mkdir -p "$folder/$name"
    lipo -create "${archives[@]}" -output "$folder/$name/libflorence2.a"
    arguments+=(-library "$folder/$name/libflorence2.a" -headers "$folder/include")
}

arguments=()
platform macos aarch64-apple-darwin x86_64-apple-darwin
platform ios aarch64-apple-ios
platform ios-simulator aarch64-apple-ios-sim x86_64-apple-ios
xcodebuild -create-xcframework "${arguments[@]}" -output bindings/swift/CFlorence2.xcframework
cd bindings/swift
ditto -c -k --sequesterRsrc --keepParent CFlorence2.xcframework CFlorence2.xcframework.zip
swift package compute-checksum CFlorence2.xcframework.zip
