#!/usr/bin/env bash
# Runs the suite in C, which tests/c/run.sh built, under valgrind. This takes ten minutes on one core. It builds and
# installs nothing, and can run in parallel with other stages. Valgrind runs threads one at a time, so few are used.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
export RUST_BACKTRACE=0 RAYON_NUM_THREADS=1
exec valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite,indirect \
    --errors-for-leak-kinds=definite,indirect "$target/c/suite" assets/demo-model 2 < /dev/null
