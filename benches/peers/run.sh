#!/usr/bin/env bash
# Measures libflorence2, OpenVINO, ONNX Runtime and torch in turn, on the same random weights.
#   benches/peers/run.sh [--quick] [--model base|large] [--part vision|encoder|step|caption|start].. [--export-only] [--json OUT]
# --quick: the base model's vision tower and decoder step only. --export-only: writes the peers' models and measures
# nothing. large requires 24 GB, and its models take ten minutes to write. The requirements are installed under peers/ of
# cargo's target directory.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
folder=$target/peers
mkdir -p "$folder"
if ! test -f "$folder/installed"; then
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet -r benches/peers/requirements.txt
    touch "$folder/installed"
fi
cc -O3 -march=native -pthread benches/peers/peaks.c -o "$folder/peaks"
if grep -q avx2 /proc/cpuinfo; then
    cc -O3 -mavx2 -mfma -pthread benches/peers/peaks.c -o "$folder/peaks-avx2"
fi
ours=$(cargo bench -p florence2-benches --bench stages --no-run --message-format json \
    | sed -n 's/.*"executable":"\([^"]*stages[^"]*\)".*/\1/p' | tail -n 1)
exec "$folder/venv/bin/python" benches/peers/peers.py --ours "$ours" --folder "$folder" "$@"
