#!/usr/bin/env bash
# The wgpu backend against the goldens on a CPU that plays a GPU, Mesa's lavapipe: f32 and f16 of every stage, and the demo
# model's answers. Not part of CI: it builds the backend for this alone, and takes long. On a machine with a GPU,
# benches/gpu/run.sh asks the same of it and measures.
set -euo pipefail
cd "$(dirname "$0")/../.."

icd=/usr/share/vulkan/icd.d/lvp_icd.$(uname -m).json
if ! test -f "$icd"; then
    apt-get update --quiet
    apt-get install --yes --quiet --no-install-recommends mesa-vulkan-drivers libvulkan1
fi
# Unoptimised but for what compiles shaders, and without debug information: the emulated GPU takes most of the time.
export VK_ICD_FILENAMES=$icd CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
# Without `generation`: on the emulated GPU it did not end within six minutes.
cargo test --quiet -p florence2-core --features wgpu --test reference -- \
    demo::every_answer::wgpu demo::every_stage::wgpu stages::every_stage::wgpu stages::forward::wgpu
