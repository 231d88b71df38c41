#!/usr/bin/env bash
# Runs the tests of the fused operations and a demo scene at the SIMD levels amx, avx512-dot and avx2-vnni on a processor
# without AMX: emulator.c executes the instructions that the processor lacks. It requires AVX-512 with VNNI. On other
# processors, and on processors with AMX, the levels are reported as skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."

flags=$(grep -m 1 '^flags' /proc/cpuinfo || true)
skip() {
    echo "skipped: the levels amx, avx512-dot and avx2-vnni under the emulator: $1"
    exit 0
}
for flag in avx512f avx512bw avx512dq avx512vl avx512_vnni fma; do
    [[ " $flags " == *" $flag "* ]] || skip "the processor lacks $flag"
done
[[ " $flags " != *" amx_tile "* ]] || skip "the processor has AMX, and the other tests use it"

source tests/programs.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cc -std=c11 -O2 -Wall -Wextra -Werror -mavx512f -mavx512bw -mavx512dq -mfma -shared -fPIC tests/amx/emulator.c \
    -o "$folder/emulator.so"

# Runs tests of a program at a level under the emulator. Fails unless the emulator executed every INSTRUCTION, or if it
# executed one that is given as no-INSTRUCTION.
#   emulated LEVEL TEST "[no-]INSTRUCTION.." [ARGUMENT..]
emulated() {
    local level=$1 instructions=$3 instruction
    program "$2"
    shift 3
    (
        cd "$package"
        AMX_EMULATOR_COUNTS=$folder/counts FLORENCE2_CPU_LEVEL=$level run_tests \
            env LD_PRELOAD="$folder/emulator.so" "$program" --quiet "$@"
    )
    for instruction in $instructions; do
        if [[ $instruction == no-* ]]; then
            grep -q "^${instruction#no-} 0$" "$folder/counts" || { echo "$level: ${instruction#no-} was executed"; exit 1; }
            continue
        fi
        grep -q "^$instruction [1-9]" "$folder/counts" || { echo "$level: $instruction was not executed"; exit 1; }
    done
    echo "$level: executed $(grep -v ' 0$' "$folder/counts" | paste -sd ,)"
}
# Each emulated instruction takes some microseconds, so the skipped test would take minutes.
emulated avx512-dot florence2-core/fused "no-arch_prctl vdpbf16ps vcvtne2ps2bf16" narrow_products nan_is_not_lost
emulated avx2-vnni florence2-core/fused "no-arch_prctl vpdpbusd" narrow_products
emulated amx florence2-core/fused "arch_prctl ldtilecfg tilerelease tileloadd tilestored tdpbf16ps tdpbssd tdpbusd" \
    --skip a_sequence_is_multiplied_as_it_is_alone
emulated amx florence2/demo_scenes "tdpbssd" first_scene_equals_the_reference
