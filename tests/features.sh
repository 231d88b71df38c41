#!/usr/bin/env bash
# Whether the command, the C library and their crates compile with each backend: the kernels with each alone, the packages
# with two in one. Nothing is linked or run.
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
# Each package alone: together, one would have the features that the other enables.
for package in florence2-cli florence2-ffi; do
    check -p $package
    check -p $package --no-default-features
done
# Both with two backends at a time: the code of a backend is in florence2-kernels, which was checked with each alone.
for backends_of_build in "cuda vulkan" "rocm metal" "ndarray wgpu"; do
    features=
    for backend in $backends_of_build; do
        features+=florence2-cli/$backend,florence2-ffi/$backend,
    done
    check -p florence2-cli -p florence2-ffi --no-default-features --features "$features"
done
