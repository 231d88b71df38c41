#!/usr/bin/env bash
# Runs the tests of the fused operations, and the demo model with f32 and with narrower weights, on aarch64 under QEMU.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
emulated() {
    SEEN=$target packaging/toolchain.sh "$PWD" cargo test --quiet --profile unoptimised --target-dir "$target/cross" \
        --target aarch64-unknown-linux-gnu -p florence2-core -p florence2 -p workspace-hack --features florence2/demo "$@"
}
emulated --test fused
# Without dot products, only the kernels of int8 differ.
FLORENCE2_CPU_LEVEL=neon emulated --test fused -- a_sequence_is_multiplied_as_it_is_alone narrow nan_is_not_lost packed_weights
# The other scene would take the same time and use the same kernels.
emulated --test demo_scenes -- first_scene_equals_the_reference narrow_weights_answer_alike
