#!/usr/bin/env bash
# The C API: its header in both languages, its symbols; the examples and suites in C and C++.
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
if nm -D --defined-only "$shared" | grep -q florence2_test_; then echo "test hooks are exported"; exit 1; fi
readelf -d "$shared" | grep -q 'SONAME.*libflorence2.so.1'
echo "florence2_* alone is exported, by libflorence2.so.1"

cc -std=c11 "${strict[@]}" examples/c/detect.c target/release/libflorence2.a -lm -o "$folder/detect"
diff <("$folder/detect" assets/demo-model/scenes/scene-1.png) <(sed -n '/^\$ \.\/detect/,/^```/p' README.md | sed '1d;$d')
c++ -std=c++17 "${strict[@]}" -Ibindings/cpp examples/cpp/detect.cpp target/release/libflorence2.a -lm -o "$folder/detect_cpp"
diff <("$folder/detect" assets/demo-model/scenes/scene-1.png) <("$folder/detect_cpp" assets/demo-model/scenes/scene-1.png)
echo "the examples print what the README says"

# With the system's allocator, whose every block the sanitizer follows.
cargo build --release -p florence2-ffi --no-default-features --features demo,test-hooks,handle-checks --quiet
cc -std=c11 -g -fsanitize=address,undefined "${strict[@]}" tests/c/suite.c target/release/libflorence2.a \
    -lm -pthread -o "$folder/suite"
c++ -std=c++17 -g -fsanitize=address,undefined "${strict[@]}" -Ibindings/cpp tests/cpp/suite.cpp \
    target/release/libflorence2.a -lm -pthread -o "$folder/suite_cpp"
export RUST_BACKTRACE=0 ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1
"$folder/suite" assets/demo-model
"$folder/suite_cpp" assets/demo-model
