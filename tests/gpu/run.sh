#!/usr/bin/env bash
# Tests the wgpu backend on lavapipe, Mesa's software Vulkan driver: the backend's own tests, the facade's device tests,
# every stage in f32 and f16 against the goldens, and the demo model's answers. On a machine with a GPU,
# benches/gpu/run.sh runs the goldens and the demo model, and measures.
set -euo pipefail
cd "$(dirname "$0")/../.."

icds=/usr/share/vulkan/icd.d
if ! compgen -G "$icds/lvp_icd*.json" > /dev/null; then
    apt-get -qq update
    apt-get -qq install --no-install-recommends mesa-vulkan-drivers libvulkan1 > /dev/null
fi
VK_ICD_FILENAMES=$(compgen -G "$icds/lvp_icd*.json" | head -n 1)
# Lavapipe requires a runtime folder for windows, and prints a warning at each start if there is none.
XDG_RUNTIME_DIR=$(mktemp -d)
trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
# Unoptimised except for the shader compiler, and without debug information: this build is used here only, and the run
# time on the emulated GPU is the same.
export VK_ICD_FILENAMES XDG_RUNTIME_DIR CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
# With autotune, as in the command and the libraries: the kernels that it selects must be correct. The demo model's
# answers take six minutes with autotune and are tested below.
with_autotune() {
    cargo test --quiet -p florence2-kernels -p florence2-core -p florence2 \
        --features florence2-kernels/wgpu,florence2-kernels/autotune,florence2-core/wgpu,florence2/wgpu,florence2/demo "$@"
}
with_autotune --test gpu --test gpu_layers
with_autotune --test devices -- --skip the_demo_model_answers_alike_on_every_device
# Without autotune, because its measurements dominate the time on the emulated GPU. Without `generation`, which did not
# finish within six minutes there.
cargo test --quiet -p florence2-core --features florence2-core/wgpu --test reference -- \
    demo::every_answer::wgpu demo::every_stage::wgpu stages::every_stage::wgpu stages::forward::wgpu weights::a_gpu
