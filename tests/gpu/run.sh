#!/usr/bin/env bash
# The wgpu backend on a CPU that plays a GPU, Mesa's lavapipe: its own tests, the facade's of devices, f32 and f16 of every
# stage against the goldens, and the demo model's answers. On a machine with a GPU, benches/gpu/run.sh asks the same of it
# and measures.
set -euo pipefail
cd "$(dirname "$0")/../.."

icds=/usr/share/vulkan/icd.d
if ! compgen -G "$icds/lvp_icd*.json" > /dev/null; then
    apt-get -qq update
    apt-get -qq install --no-install-recommends mesa-vulkan-drivers libvulkan1 > /dev/null
fi
VK_ICD_FILENAMES=$(compgen -G "$icds/lvp_icd*.json" | head -n 1)
# Lavapipe asks for a folder for windows, and complains at each start where none is.
XDG_RUNTIME_DIR=$(mktemp -d)
trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
# Unoptimised but for what compiles shaders, and without debug information: it is built for this alone, and the emulated
# GPU takes the same time either way.
export VK_ICD_FILENAMES XDG_RUNTIME_DIR CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
# With autotune, as the command and the libraries have it: what it takes must be right. What the demo model answers takes
# six minutes so, and is asked below.
with_autotune() {
    cargo test --quiet -p florence2-kernels -p florence2 \
        --features florence2-kernels/wgpu,florence2-kernels/autotune,florence2/wgpu,florence2/demo "$@"
}
with_autotune --test gpu
with_autotune --test devices -- --skip the_demo_model_answers_alike_on_every_device
# Without it, for on the emulated GPU the measuring takes longer than all else. Without `generation`, which did not end
# within six minutes there.
cargo test --quiet -p florence2-core --features florence2-core/wgpu --test reference -- \
    demo::every_answer::wgpu demo::every_stage::wgpu stages::every_stage::wgpu stages::forward::wgpu weights::a_gpu
