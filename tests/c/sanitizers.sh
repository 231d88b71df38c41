#!/usr/bin/env bash
# Runs the suites in C and C++ with the address, leak and undefined-behaviour sanitizers. The library itself is built
# with the address sanitizer, which requires Rust's nightly.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/c/suites.sh
source tests/target.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=-Zsanitizer=address cargo +nightly build --profile unoptimised "${checked[@]}" --target "$host" --target-dir "$target/address"
library=$target/address/$host/unoptimised/libflorence2.so
ln -sf libflorence2.so "$(dirname "$library")/libflorence2.so.1"
nm -D "$library" | grep __asan_report_load > /dev/null || { echo "$library: found no address sanitizer in it"; exit 1; }
suites "$folder" sanitized "$library" -fsanitize=address,undefined
ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1 LD_LIBRARY_PATH=$(dirname "$library")
export ASAN_OPTIONS UBSAN_OPTIONS LD_LIBRARY_PATH
"$folder/sanitized" assets/demo-model 16
"$folder/sanitized_cpp" assets/demo-model
echo "the address, leak and undefined-behaviour sanitizers found nothing, in the library neither"
