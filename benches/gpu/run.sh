#!/usr/bin/env bash
# Goldens, tests and benches on a GPU.
#
#   benches/gpu/run.sh pack OUT.tar.xz [FEATURES]   on a machine with Rust: builds and packs the stripped
#                                                   binaries (cuda by default) with the files they read
#   benches/gpu/run.sh [DEVICE] [--quick]           on a machine with a GPU, in the unpacked folder: runs
#                                                   them on DEVICE (cuda:0 by default) and prints tables;
#                                                   --quick is for software implementations of a GPU
#
# The machine with the GPU requires the driver (libcuda), NVRTC and the CUDA headers (below CUDA_PATH,
# /usr/local/cuda, or in Python's nvidia-* packages), but no Rust and no network. If torch and
# transformers are installed, they are measured too, on the same random weights.
set -euo pipefail

pack() {
    cd "$(dirname "$0")/../.."
    local out features=${2:-cuda} folder built
    out=$(realpath -m "$1")
    folder=$(mktemp -d)
    # The variable does not exist any more when the trap runs.
    trap "rm -rf '$folder'" EXIT
    mkdir -p "$folder/gpu/bin" "$folder/gpu/tests" "$folder/gpu/assets"
    binary() { # NAME KIND: the path of the binary of the last build
        sed -n "s/.*\"kind\":\[\"$2\"\].*\"name\":\"$1\".*\"executable\":\"\([^\"]*\)\".*/\1/p" "$folder/messages" | tail -n 1
    }
    # All packages are built with the same features, so that burn and its dependencies are compiled once.
    local packages=() chosen=florence2-core/autotune package feature
    for package in florence2-core florence2-benches florence2-cli; do
        packages+=(-p "$package")
        for feature in ${features//,/ }; do
            chosen+=,$package/$feature
        done
    done
    build() {
        cargo "$@" "${packages[@]}" --features "$chosen" --message-format json > "$folder/messages"
    }
    build test --release --no-run --test reference
    built=$(binary reference test) && cp "$built" "$folder/gpu/bin/reference"
    build bench --no-run --bench gpu
    built=$(binary gpu bench) && cp "$built" "$folder/gpu/bin/bench"
    build build --release --bin florence2
    built=$(binary florence2 bin) && cp "$built" "$folder/gpu/bin/florence2"
    strip "$folder"/gpu/bin/*
    cp -r tests/fixtures "$folder/gpu/tests/"
    cp -r assets/demo-model "$folder/gpu/assets/"
    cp benches/gpu/run.sh benches/gpu/peers.py benches/gpu/base.json "$folder/gpu/"
    tar -C "$folder" -cJf "$out" gpu
    ls -lh "$out" "$folder"/gpu/bin/*
}

# Uses the parts of the CUDA toolkit that torch installed, if there is no other toolkit.
find_cuda() {
    test -d /usr/local/cuda/include && return
    test -n "${CUDA_PATH:-}" && return
    local site
    site=$(python3 -c 'import nvidia, os; print(os.path.dirname(nvidia.__path__[0]))' 2> /dev/null) || return 0
    mkdir -p cuda/include
    cp -r "$site"/nvidia/*/include/* cuda/include/
    export CUDA_PATH=$PWD/cuda LD_LIBRARY_PATH=$(echo "$site"/nvidia/*/lib | tr ' ' ':'):${LD_LIBRARY_PATH:-}
}

run() {
    cd "$(dirname "$0")"
    local device=cuda:0 quick=() skipped=() dtypes dtype
    for argument in "$@"; do
        case $argument in
            # The generation tests take more than seven minutes on two cores.
            --quick) quick=(--quick) skipped=(--skip generation::) ;;
            *) device=$argument ;;
        esac
    done
    local backend=${device%%:*}
    case $backend in
        cuda) dtypes="f32 f16 bf16" && find_cuda ;;
        rocm) dtypes="f32 f16 bf16" ;;
        *) dtypes="f32 f16" && backend=wgpu ;;
    esac
    export FLORENCE2_REPOSITORY=$PWD
    # The first answer is measured with cold caches, then with warm ones.
    export FLORENCE2_CACHE_DIR=$PWD/cache
    rm -rf cache
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null || true

    echo "== devices"
    bin/florence2 devices
    echo "== goldens on $backend"
    bin/reference "::$backend" --test-threads 1 "${skipped[@]}"
    for dtype in $dtypes; do
        echo "== the demo model's answer on $device, $dtype"
        bin/florence2 run assets/demo-model/scenes/scene-1.png --task OD --device "$device" --dtype "$dtype"
    done
    for dtype in $dtypes; do
        rm -rf cache
        echo "== $dtype, caches cold"
        bin/bench --device "$device" --dtype "$dtype" --json "ours-$dtype.json" "${quick[@]}"
        echo "== $dtype, caches warm"
        bin/bench --device "$device" --dtype "$dtype" --json "ours-$dtype.json" "${quick[@]}"
    done
    if [ "$backend" = cuda ] && python3 -c 'import torch, transformers' 2> /dev/null; then
        echo "== peers, bf16"
        python3 peers.py --bench bin/bench --device "$device"
    else
        echo "== no torch and transformers here: no peers"
    fi
}

case ${1:-} in
    pack) shift && pack "$@" ;;
    *) run "$@" ;;
esac
