#!/usr/bin/env bash
# Runs the commands of the guide's page on installation, with the packages for Linux x86-64, without network, each section in a
# folder that contains the package alone. The output must be the guide's. Prints the seconds of each section.
#   tests/install/guide.sh PACKAGES      the output of `cargo xtask package`
set -euo pipefail
cd "$(dirname "$0")/../.."
packages=$(realpath "$1")
root=$PWD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

guide() {
    python3 "$root/tests/install/guide.py" "$@"
}

# Runs a section in the current folder:   section NAME
section() {
    local started=$SECONDS
    guide commands "$1" > "$folder/commands"
    guide output "$1" > "$folder/expected"
    unshare --net -- bash -eu "$folder/commands" > "$folder/output"
    diff "$folder/expected" "$folder/output"
    echo "$1: the guide's commands print the guide's lines after $((SECONDS - started)) s"
}

mkdir "$folder/archive" "$folder/python"
cp "$packages"/florence2-*-linux-x86_64.tar.gz "$folder/archive"
cd "$folder/archive"
section "Archives for Linux"

cp "$packages"/florence2-*manylinux_2_17_x86_64*.whl "$root/assets/demo-model/scenes/scene-1.png" "$folder/python"
cd "$folder/python"
python3 -m venv venv
PATH=$PWD/venv/bin:$PATH PIP_QUIET=1 section Python
