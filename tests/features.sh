#!/usr/bin/env bash
# Whether the command, the C library and what they stand on compile with each backend alone, and with two GPU backends in
# one. Nothing is linked or run.
set -euo pipefail
cd "$(dirname "$0")/.."

backends=(ndarray cuda rocm wgpu vulkan metal)

check() {
    echo "== $*"
    cargo check --release --quiet "$@"
}

# Here the CPU's own backend is a feature too; the packages below always have it.
for backend in flex "${backends[@]}"; do
    check -p florence2-kernels --no-default-features --features "$backend"
done
# A model needs a CPU backend, one of these two, to be inspected.
for backend in flex ndarray; do
    check -p florence2 --no-default-features --features "$backend"
done
for package in florence2-cli florence2-ffi; do
    for defaults in "" --no-default-features; do
        check -p $package $defaults
        for features in "${backends[@]}" cuda,vulkan; do
            check -p $package $defaults --features "$features"
        done
    done
done
