#!/usr/bin/env bash
# The suite in C under valgrind, as tests/c/run.sh built it: ten minutes of one core, in which nothing is built or
# installed, so that other work may go on beside it. Threads take turns there, so few are asked for.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
export RUST_BACKTRACE=0 RAYON_NUM_THREADS=1
exec valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite,indirect \
    --errors-for-leak-kinds=definite,indirect "$target/c/suite" assets/demo-model 2 < /dev/null
