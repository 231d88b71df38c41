#!/usr/bin/env bash
# Checks the Homebrew formula and the vcpkg port of `cargo xtask package`, without Homebrew and vcpkg:
#   - The formula: its syntax, its style, its address and checksum, and that the source archive contains its files.
#   - The port: tests/install/vcpkg.cmake runs it with the archive for Linux x86-64, and also with that for Windows. A program
#     that finds the library in the port's output as vcpkg installs it prints the guide's lines.
#   tests/install/templates.sh PACKAGES      the output of `cargo xtask package`
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/expected.sh
packages=$(realpath "$1")
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
repository=$(sed -n 's/^repository = "\(.*\)"$/\1/p' Cargo.toml)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

debian_package() {
    command -v "$1" > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends "$1" > /dev/null; }
}

formula() {
    debian_package ruby
    debian_package rubocop
    ruby -wc "$packages/florence2.rb"
    rubocop --only Layout,Lint,Security --except Layout/LineLength,Layout/SpaceAroundOperators --cache false "$packages/florence2.rb"
    ruby tests/install/formula.rb "$packages/florence2.rb" > "$folder/formula"
    local source=florence2-$version.src.tar.gz file
    diff "$folder/formula" - << END
homepage $repository
url $repository/releases/download/v$version/$source
version $version
sha256 $(sha256sum "$packages/$source" | cut -d ' ' -f 1)
run cargo build --release --locked --package florence2-cli --package workspace-hack
install target/release/florence2
run cargo xtask dist --features demo --out /prefix
install examples/c/detect.c
install assets/demo-model/scenes/scene-1.png
END
    tar -tf "$packages/$source" > "$folder/files"
    for file in Cargo.lock examples/c/detect.c assets/demo-model/scenes/scene-1.png; do
        grep -qxE "[^/]+/$file" "$folder/files" || { echo "$source: found no $file"; exit 1; }
    done
    echo "Homebrew: the formula is valid"
}

# Runs the port for a platform, and compares its output:   port SYSTEM ARCHITECTURE LAYOUT
port() {
    cmake -DPACKAGES="$packages" -DSYSTEM="$1" -DARCHITECTURE="$2" -DOUT="$folder/vcpkg-$1-$2" -DREPOSITORY="$repository" \
        -P tests/install/vcpkg.cmake > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
    (cd "$folder/vcpkg-$1-$2" && find . -name 'florence2*' -type f -o -name 'libflorence2*' -o -name copyright -o -name usage) \
        | sed 's|^\./||' | LC_ALL=C sort > "$folder/layout"
    diff "$3" "$folder/layout"
    echo "vcpkg: the port installs the library for $1 $2"
    python3 -c '
import json, sys
manifest = json.load(open(sys.argv[1]))
assert manifest["version-semver"] == sys.argv[2] and manifest["homepage"] == sys.argv[3], manifest
' "$packages/vcpkg/vcpkg.json" "$version" "$repository"
}

common=(include/florence2.h include/florence2.hpp share/florence2/copyright share/florence2/florence2Config.cmake
    share/florence2/florence2ConfigVersion.cmake share/florence2/usage)
linux=(lib/libflorence2.so lib/libflorence2.so.1 lib/pkgconfig/florence2.pc)
windows=(bin/florence2.dll lib/florence2.lib lib/libflorence2.dll.a lib/pkgconfig/florence2.pc)

# Sorts the names of files of a port. Those of a debug build are copies.   layout COMMON.. -- LIBRARIES..
layout() {
    printf '%s\n' "${common[@]}" "$@" "${@/#/debug/}" | LC_ALL=C sort
}

formula
command -v cmake > /dev/null || debian_package cmake
layout "${linux[@]}" > "$folder/linux"
layout "${windows[@]}" > "$folder/windows"
port Linux x64 "$folder/linux"
port Windows x64 "$folder/windows"
port Linux arm64 "$folder/linux"

# A program with the port's output, in a debug and in a release build.
for build in Debug Release; do
    cmake -S examples/c -B "$folder/$build" -DCMAKE_BUILD_TYPE=$build -DCMAKE_PREFIX_PATH="$folder/vcpkg-Linux-x64" > "$folder/log"
    cmake --build "$folder/$build" >> "$folder/log"
    "$folder/$build/detect" assets/demo-model/scenes/scene-1.png > "$folder/found"
    expected_objects | diff - "$folder/found"
    echo "vcpkg: a $build build of examples/c prints the guide's lines"
done
