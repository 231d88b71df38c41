#!/usr/bin/env bash
# Compares a training step of Florence-2-base with torch, transformers and PEFT, on the CPU with two threads: the time of a step
# and the peak memory. Each round runs both programs in turn. Takes 15 minutes.
#   benches/train/run.sh [ROUNDS]     3 rounds by default
# The requirements are installed under train/ of cargo's target directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
folder=$target/train
mkdir -p "$folder"
if ! test -f "$folder/installed"; then
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet -r benches/train/requirements.txt
    touch "$folder/installed"
fi
ours=$(cargo bench -p florence2-benches -p workspace-hack --bench train --no-run --message-format json \
    | sed -n 's/.*"executable":"\([^"]*train[^"]*\)".*/\1/p' | tail -n 1)
"$folder/venv/bin/python" benches/train/compare.py --ours "$ours" --rounds "${1:-3}"
