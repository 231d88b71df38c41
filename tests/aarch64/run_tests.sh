#!/usr/bin/env bash
# The kernels' tests and the demo model's answers on aarch64, which QEMU runs.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/aarch64/toolchain.sh "$PWD" cargo test --release --target aarch64-unknown-linux-gnu \
    -p florence2-kernels -p florence2 --features florence2/demo --test flex --test demo_scenes
