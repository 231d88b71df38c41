#!/usr/bin/env bash
# Runs the tests of the fused operations, core's goldens and gradients, and the demo model's answers on x86-64 processors
# with fewer features than this one, emulated by QEMU: one with AVX2 but no AVX-512, and one without AVX2. Unlike
# FLORENCE2_CPU_LEVEL, this changes the features that every crate detects. The programs are those that the README's test
# command built.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v qemu-x86_64 > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends qemu-user > /dev/null; }
source tests/programs.sh

emulated() {
    local processor=$1
    program "$2"
    shift 2
    (cd "$package" && run_tests qemu-x86_64 -cpu "$processor" "$program" --quiet "$@")
}
# Haswell without the features that QEMU does not support and warns about. The skipped tests take minutes.
haswell=Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-invpcid,-rtm
for processor in $haswell Nehalem; do
    echo "-- ${processor%%,*}"
    emulated "$processor" florence2-core/fused --skip a_sequence_is_multiplied_as_it_is_alone
    emulated "$processor" florence2-core/layer_batches --skip layers_of
    emulated "$processor" florence2-core/reference demo::every_stage::flex stages gradients
done
# The demo model's answers through the facade take two minutes of a core.
emulated "$haswell" florence2/demo_scenes first_scene_equals_the_reference
emulated Nehalem florence2-core/reference demo::every_answer::flex
