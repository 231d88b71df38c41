#!/usr/bin/env bash
# Tests the C API: the header in C and C++, the exported symbols, the examples, the memory use over many runs, and the
# suites in C and C++. The suites remain in c/ of cargo's target directory, and tests/c/valgrind.sh runs the suite in C
# from there. tests/c/sanitizers.sh runs both suites in a separate build.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
source tests/c/suites.sh
source tests/target.sh

cargo build --release -p florence2-ffi -p workspace-hack --features demo --quiet
printf '#include <florence2.h>\n#include <florence2.h>\nint main(void) { return 0; }\n' > "$folder/twice.c"
cp "$folder/twice.c" "$folder/twice.cpp"
cc -std=c11 "${strict[@]}" -c "$folder/twice.c" -o "$folder/twice.o"
c++ -std=c++17 "${strict[@]}" -c "$folder/twice.cpp" -o "$folder/twice.o"
echo "the header compiles as C11 and C++17, twice included"

shared=$target/release/libflorence2.so
diff tests/c/symbols.txt <(nm -D --defined-only "$shared" | awk '{ print $3 }' | LC_ALL=C sort)
readelf -d "$shared" | grep 'SONAME.*libflorence2.so.1' > /dev/null
echo "the symbols of tests/c/symbols.txt alone are exported, by libflorence2.so.1"
cc -std=c11 "${strict[@]}" tests/c/reload.c -ldl -o "$folder/reload"
"$folder/reload" "$shared"

# The two examples in the comment at the start of the header.
{
    printf '#include <florence2.h>\n#include <stdio.h>\nint main(void) {\n'
    sed -n '/^ \* In short/,/^ \* CONVENTIONS/p' include/florence2.h | grep '^    '
    printf '}\n'
} > "$folder/short.c"
cc -std=c11 "${strict[@]}" -c "$folder/short.c" -o "$folder/short.o"
sed -n '/^ \* A COMPLETE PROGRAM/,/^ \*\//p' include/florence2.h | grep '^    \|^$' | cut -c 5- > "$folder/opening.c"
cc -std=c11 "${strict[@]}" "$folder/opening.c" "$target/release/libflorence2.a" -lm -o "$folder/opening"
scene=assets/demo-model/scenes/scene-1.png
source tests/expected.sh
expected_objects > "$folder/expected"
"$folder/opening" "$scene" > "$folder/found"
diff "$folder/expected" "$folder/found"
cc -std=c11 "${strict[@]}" examples/c/detect.c "$target/release/libflorence2.a" -lm -o "$folder/detect"
"$folder/detect" "$scene" > "$folder/found"
diff "$folder/expected" "$folder/found"
c++ -std=c++17 "${strict[@]}" -Ibindings/cpp examples/cpp/detect.cpp "$target/release/libflorence2.a" -lm -o "$folder/detect_cpp"
"$folder/detect_cpp" "$scene" > "$folder/found"
diff "$folder/expected" "$folder/found"
echo "the header's program and the examples print what the guide says"
cc -std=c11 "${strict[@]}" tests/c/paths.c "$target/release/libflorence2.a" -lm -o "$folder/paths"
"$folder/paths" assets/demo-model "$folder"

# These programs use the library's default allocator.
cc -std=c11 "${strict[@]}" tests/c/process.c "$target/release/libflorence2.a" -lm -o "$folder/process"
"$folder/process" trim
if test "$(uname -m)" = x86_64; then
    for level in portable avx512-dot amx; do
        "$folder/process" simd "$level"
    done
fi

soak() {
    cc -std=c11 "${strict[@]}" tests/c/soak.c "$target/release/libflorence2.a" -lm -o "$folder/soak"
    "$folder/soak" "$scene"
}
soak

cargo build --release "${checked[@]}"
soak
mkdir -p "$target/c"
suites "$target/c" suite "$target/release/libflorence2.a"
"$target/c/suite" assets/demo-model 16
"$target/c/suite_cpp" assets/demo-model
command -v valgrind > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends valgrind > /dev/null; }
