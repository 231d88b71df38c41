#!/usr/bin/env bash
# Checks that C and C++ programs require only the output of `cargo xtask dist`: the examples build with CMake and with
# pkg-config, with the shared and with the static library. Also checks the size of the shared library.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
command -v cmake > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends cmake > /dev/null; }

cargo xtask dist --out "$folder/without-demo"
bytes=$(stat --format %s "$folder/without-demo/lib/libflorence2.so.1")
test "$bytes" -lt 16000000 || { echo "libflorence2.so: found $bytes bytes, expected less than 16000000"; exit 1; }
echo "libflorence2.so without the demo model: $bytes bytes"

cargo xtask dist --features demo --out "$folder/dist"
find "$folder/dist" -type f -o -type l | sed "s|$folder/dist/||" | LC_ALL=C sort > "$folder/found"
diff tests/packaging/layout.txt "$folder/found"
readelf -d "$folder/dist/lib/libflorence2.so.1" | grep 'SONAME.*libflorence2.so.1' > /dev/null
if readelf -S "$folder/dist/lib/libflorence2.so.1" | grep '\.symtab\|\.debug' > /dev/null; then echo "libflorence2.so is not stripped"; exit 1; fi

cmake -DVERSION_FILE="$folder/dist/lib/cmake/florence2/florence2ConfigVersion.cmake" -P tests/packaging/versions.cmake

# Programs may link the static library together with another allocator and another Rust library.
diff tests/c/symbols.txt <(nm --defined-only --extern-only "$folder/dist/lib/libflorence2.a" | awk 'NF == 3 { print $3 }' | LC_ALL=C sort)
rustc --edition 2024 --crate-type staticlib -C panic=unwind tests/packaging/neighbour.rs --out-dir "$folder"
cc -std=c11 -Wall -Werror -I"$folder/dist/include" tests/packaging/neighbours.c "$folder/dist/lib/libflorence2.a" \
    "$folder/libneighbour.a" -lpthread -lm -ldl -o "$folder/neighbours"
"$folder/neighbours"
grep '^libmimalloc-sys ' "$folder/dist/share/licenses/florence2/THIRD-PARTY.txt"

# The following commands run in a folder that contains no other files of the project.
cp -r examples/c examples/cpp assets/demo-model/scenes/scene-1.png "$folder"
source tests/expected.sh
expected_objects > "$folder/expected"
cd "$folder"

prints() {
    local what=$1
    shift
    "$@" scene-1.png > printed
    diff expected printed
    echo "$what prints what the guide says"
}

for language in c cpp; do
    for static in OFF ON; do
        build=build-$language-$static
        cmake -S "$language" -B "$build" -DCMAKE_PREFIX_PATH="$folder/dist" -DFLORENCE2_STATIC=$static > "$build.log"
        cmake --build "$build" >> "$build.log"
        prints "examples/$language by CMake, static $static" "$build/detect"
    done
done

export PKG_CONFIG_PATH=$folder/dist/lib/pkgconfig
for package in florence2 florence2-static; do
    cc -std=c11 c/detect.c $(pkg-config --cflags --libs "$package") -o "c-$package"
    c++ -std=c++17 cpp/detect.cpp $(pkg-config --cflags --libs "$package") -o "cpp-$package"
    prints "examples/c by pkg-config, $package" env LD_LIBRARY_PATH="$folder/dist/lib" "./c-$package"
    prints "examples/cpp by pkg-config, $package" env LD_LIBRARY_PATH="$folder/dist/lib" "./cpp-$package"
done
for program in build-c-OFF/detect build-cpp-OFF/detect c-florence2 cpp-florence2; do
    readelf -d "$program" | grep 'NEEDED.*libflorence2.so.1' > /dev/null
done
for program in build-c-ON/detect build-cpp-ON/detect c-florence2-static cpp-florence2-static; do
    if readelf -d "$program" | grep 'NEEDED.*libflorence2' > /dev/null; then echo "$program: found the shared library in it"; exit 1; fi
done

# The same program with a library that does not embed the demo model returns an error.
if refused=$(LD_LIBRARY_PATH=$folder/without-demo/lib ./c-florence2 scene-1.png 2>&1); then
    echo "found an answer of a demo model that is not there: $refused"
    exit 1
fi
echo "without the demo model: $refused"
