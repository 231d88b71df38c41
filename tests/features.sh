#!/usr/bin/env bash
# Checks that the command, the C library and their crates compile with each backend: the kernels with each backend
# alone, the packages with two in one build. Nothing is linked or run.
set -euo pipefail
cd "$(dirname "$0")/.."

backends=(ndarray cuda rocm wgpu vulkan metal)

check() {
    echo "== $*"
    cargo check --release --quiet "$@"
}

# In this crate the CPU backend is a feature too; the packages below always include it.
for backend in flex "${backends[@]}"; do
    check -p florence2-kernels --no-default-features --features "$backend"
done
# The facade requires one of these two CPU backends to inspect a model.
for backend in flex ndarray; do
    check -p florence2 --no-default-features --features "$backend"
done
# Each package is checked alone: together, one would have the features that the other enables.
for package in florence2-cli florence2-ffi; do
    check -p $package -p workspace-hack
    check -p $package -p workspace-hack --no-default-features
done
# Both packages with two backends at a time: the code of a backend is in florence2-kernels, which was checked with each
# alone.
for backends_of_build in "cuda vulkan" "rocm metal" "ndarray wgpu"; do
    features=
    for backend in $backends_of_build; do
        features+=florence2-cli/$backend,florence2-ffi/$backend,
    done
    check -p florence2-cli -p florence2-ffi -p workspace-hack --no-default-features --features "$features"
done
