#!/usr/bin/env bash
# The C API: its header in both languages, its symbols, its examples; memory over many runs; the suites in C and C++
# under valgrind, and with the address sanitizer in the library itself (for which Rust's nightly is needed).
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cargo build --release -p florence2-ffi --features demo --quiet
printf '#include <florence2.h>\n#include <florence2.h>\nint main(void) { return 0; }\n' > "$folder/twice.c"
cp "$folder/twice.c" "$folder/twice.cpp"
strict=(-Wall -Wextra -Werror -pedantic -Iinclude)
cc -std=c11 "${strict[@]}" -c "$folder/twice.c" -o "$folder/twice.o"
c++ -std=c++17 "${strict[@]}" -c "$folder/twice.cpp" -o "$folder/twice.o"
echo "the header compiles as C11 and C++17, twice included"

shared=target/release/libflorence2.so
others=$(nm -D --defined-only "$shared" | awk '{ print $3 }' | grep -v '^florence2_' || true)
test -z "$others" || { echo "other symbols are exported: $others"; exit 1; }
if nm -D --defined-only "$shared" | grep florence2_test_ > /dev/null; then echo "test hooks are exported"; exit 1; fi
readelf -d "$shared" | grep 'SONAME.*libflorence2.so.1' > /dev/null
echo "florence2_* alone is exported, by libflorence2.so.1"

# The program that the header opens with.
sed -n '/^ \* A complete program/,/^ \* Rules/p' include/florence2.h | grep '^    \|^$' | cut -c 5- > "$folder/opening.c"
cc -std=c11 "${strict[@]}" "$folder/opening.c" target/release/libflorence2.a -lm -o "$folder/opening"
scene=assets/demo-model/scenes/scene-1.png
sed -n '/^\$ \.\/detect/,/^```/{/^\$/d;/^```/q;p}' README.md > "$folder/expected"
diff "$folder/expected" <("$folder/opening" "$scene")
cc -std=c11 "${strict[@]}" examples/c/detect.c target/release/libflorence2.a -lm -o "$folder/detect"
diff "$folder/expected" <("$folder/detect" "$scene")
c++ -std=c++17 "${strict[@]}" -Ibindings/cpp examples/cpp/detect.cpp target/release/libflorence2.a -lm -o "$folder/detect_cpp"
diff "$folder/expected" <("$folder/detect_cpp" "$scene")
echo "the header's program and the examples print what the README says"

soak() {
    cc -std=c11 "${strict[@]}" tests/c/soak.c target/release/libflorence2.a -lm -o "$folder/soak"
    "$folder/soak" "$scene"
}
soak

# With the system's allocator, whose every block the checkers follow.
checked=(-p florence2-ffi --no-default-features --features demo,test-hooks,handle-checks --release --quiet)
# The suites as NAME and NAME_cpp, with a library and further flags.
suites() {
    local name=$1 library=$2
    shift 2
    cc -std=c11 -g "${strict[@]}" "$@" tests/c/suite.c "$library" -lm -pthread -o "$folder/$name"
    c++ -std=c++17 -g "${strict[@]}" "$@" -Ibindings/cpp tests/cpp/suite.cpp "$library" -lm -pthread -o "$folder/${name}_cpp"
}
export RUST_BACKTRACE=0

cargo build "${checked[@]}"
soak
suites plain target/release/libflorence2.a
"$folder/plain" assets/demo-model 16
"$folder/plain_cpp" assets/demo-model

# Threads take turns there, so few are asked for. It is busy with one core while the next library is built.
command -v valgrind > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends valgrind > /dev/null; }
RAYON_NUM_THREADS=1 valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite,indirect \
    --errors-for-leak-kinds=definite,indirect \
    "$folder/plain" assets/demo-model 2 > "$folder/valgrind.log" 2>&1 < /dev/null &
valgrind=$!
trap 'kill "$valgrind" 2> /dev/null || true; rm -rf "$folder"' EXIT

host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=-Zsanitizer=address cargo +nightly build "${checked[@]}" --target "$host" --target-dir target/address
library=target/address/$host/release/libflorence2.so
ln -sf libflorence2.so "$(dirname "$library")/libflorence2.so.1"
nm -D "$library" | grep __asan_report_load > /dev/null || { echo "$library: found no address sanitizer in it"; exit 1; }
suites sanitized "$library" -fsanitize=address,undefined
ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1 LD_LIBRARY_PATH=$(dirname "$library")
export ASAN_OPTIONS UBSAN_OPTIONS LD_LIBRARY_PATH
"$folder/sanitized" assets/demo-model 16
"$folder/sanitized_cpp" assets/demo-model
echo "the address, leak and undefined-behaviour sanitizers found nothing, in the library neither"

wait "$valgrind" || { cat "$folder/valgrind.log"; exit 1; }
echo "valgrind found nothing"
