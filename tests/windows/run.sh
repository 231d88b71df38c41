#!/usr/bin/env bash
# Builds the C library and the command for Windows, and tests them under wine: the DLL's size, exports and dependencies,
# the examples, the suites in C and C++, conformance in C and C++, and the tests of the command, of the crate `florence2`
# and of the checkpoint formats. docs/src/windows.md lists what wine cannot show.
#   [PROFILE=release] tests/windows/run.sh [PART..]      of library suites conformance command; all by default
# The size and the static library are checked in release builds, which take 13 minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/expected.sh
source tests/target.sh
parts=("$@")
test $# -gt 0 || parts=(library suites conformance command)
toolchain=${CROSS_TOOLCHAIN:-packaging/toolchain.sh}
triple=x86_64-pc-windows-gnu
profile=${PROFILE:-unoptimised}
release=$target/cross/$triple/$profile
built=$target/windows
mkdir -p "$built"
export RUST_BACKTRACE=0

# Runs a command in the root with wine.
in_root() {
    SEEN=$target "$toolchain" "$PWD" env CARGO_TARGET_DIR="$target/cross" "$@"
}

# Runs a program under wine. Programs in C write lines that end with CR LF.
run() {
    in_root wine "$@" | tr -d '\r'
}

# Builds the DLL with these features and copies it and its import library to a folder.
build_library() {
    local features=$1 folder=$2
    in_root cargo build --quiet --profile "$profile" --target "$triple" -p florence2-ffi -p workspace-hack --features "$features"
    mkdir -p "$folder"
    cp "$release/florence2.dll" "$release/libflorence2.dll.a" "$folder/"
}

# Compiles a program beside the DLL that it uses:   compile STANDARD SOURCE PROGRAM [ARGUMENT..]
compile() {
    local standard=$1 source=$2 program=$3 compiler=gcc
    shift 3
    case $standard in
        *++*) compiler=g++ ;;
    esac
    in_root "x86_64-w64-mingw32-$compiler" "-std=$standard" -Wall -Wextra -Werror -Iinclude -Ibindings/cpp -DFLORENCE2_SHARED \
        "$source" "$@" "$(dirname "$program")/libflorence2.dll.a" -static -o "$program"
}

# The limit is for the stripped DLL without the files of the demo model.
check_size() {
    local limit=20000000 demo stripped=$built/stripped.dll size
    in_root x86_64-w64-mingw32-strip --strip-unneeded "$built/florence2.dll" -o "$stripped"
    demo=$(sed -n 's/.*include_bytes!("\(.*\)").*/assets\/demo-model\/\1/p' assets/demo-model/lib.rs | xargs cat | wc -c)
    test "$demo" -gt 5000000 || { echo "assets/demo-model/lib.rs: found $demo bytes of files, expected the model's" >&2; exit 1; }
    size=$(($(stat -c %s "$stripped") - demo))
    echo "florence2.dll: $size bytes without the demo model's $demo bytes"
    test "$size" -lt "$limit" || { echo "florence2.dll: found $size bytes, expected fewer than $limit" >&2; exit 1; }
}

# The exported functions are those of the C API, and the DLL requires only those of Windows.
check_symbols() {
    in_root x86_64-w64-mingw32-objdump -p "$built/florence2.dll" > "$built/headers.txt"
    diff tests/c/symbols.txt <(sed -n '/\[Ordinal\/Name Pointer\]/,/^$/p' "$built/headers.txt" | awk '/ florence2_/ { print $NF }' | LC_ALL=C sort)
    if sed -n 's/.*DLL Name: //p' "$built/headers.txt" \
        | grep -viE '^(kernel32|ntdll|advapi32|bcrypt|bcryptprimitives|userenv|ws2_32|ole32|oleaut32|user32|shell32|psapi|msvcrt|ucrtbase|api-ms-win-.*)\.dll$'; then
        echo "florence2.dll: found the DLLs above, expected only those of Windows" >&2
        exit 1
    fi
    echo "the symbols of tests/c/symbols.txt alone are exported, and the DLL requires those of Windows alone"
}

# For release builds. MinGW's linker reports undefined symbols in the unoptimised library.
check_static() {
    local scene=$1
    in_root x86_64-w64-mingw32-gcc -std=c11 -Wall -Wextra -Werror -Iinclude examples/c/detect.c "$release/libflorence2.a" \
        -static -lntdll -luserenv -lws2_32 -lbcrypt -ladvapi32 -o "$built/detect_static.exe"
    run "$built/detect_static.exe" "$scene" > "$built/found"
    diff "$built/expected" "$built/found"
    echo "the example with the static library prints what the guide says"
}

test_library() {
    local scene=assets/demo-model/scenes/scene-1.png
    build_library demo "$built"
    test "$profile" != release || check_size
    check_symbols
    expected_objects > "$built/expected"
    compile c11 examples/c/detect.c "$built/detect.exe"
    run "$built/detect.exe" "$scene" > "$built/found"
    diff "$built/expected" "$built/found"
    compile c++17 examples/cpp/detect.cpp "$built/detect_cpp.exe"
    run "$built/detect_cpp.exe" "$scene" > "$built/found"
    diff "$built/expected" "$built/found"
    test "$profile" != release || check_static "$scene"
    echo "the examples print what the guide says"
    compile gnu11 tests/c/reload.c "$built/reload.exe"
    run "$built/reload.exe" florence2.dll
    compile gnu11 tests/c/process.c "$built/process.exe" -lpsapi
    run "$built/process.exe" trim
    rm -rf "$built/paths"
    mkdir "$built/paths"
    compile gnu11 tests/c/paths.c "$built/paths.exe"
    run "$built/paths.exe" assets/demo-model "$built/paths"
    rm -r "$built/paths"
}

# The suites require test hooks. Unlike on Linux, the library has its own allocator, since neither valgrind nor the
# sanitizers run.
test_suites() {
    local folder=$built/test-hooks
    build_library demo,test-hooks,handle-checks "$folder"
    compile gnu11 tests/c/suite.c "$folder/suite.exe" -pthread
    compile c++17 tests/cpp/suite.cpp "$folder/suite_cpp.exe"
    run "$folder/suite.exe" assets/demo-model 16
    run "$folder/suite_cpp.exe" assets/demo-model
}

# Debian has cJSON for Linux only, so its source is compiled.
cjson() {
    local mirror release_name options
    test -f "$built/cjson/cJSON.c" && return
    mkdir -p "$built/cjson/lists"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'IDENTIFIER: Packages' "CODENAME: $(. /etc/os-release; echo "$VERSION_CODENAME")" | head -n 1)
    release_name=$(. /etc/os-release; echo "$VERSION_CODENAME")
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release_name main" > "$built/cjson/sources.list"
    options=(-qq -o Dir::Etc::SourceList="$built/cjson/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$built/cjson/lists"
        -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    (
        cd "$built/cjson"
        apt-get "${options[@]}" source --download-only cjson
        tar -xf cjson_*.orig.tar.gz --strip-components 1 --wildcards '*/cJSON.c' '*/cJSON.h'
    )
}

test_conformance() {
    local folder=$built/conformance failed=0 language
    dpkg -s nlohmann-json3-dev > /dev/null 2>&1 \
        || { apt-get -qq update; apt-get -qq install --no-install-recommends nlohmann-json3-dev > /dev/null; }
    cjson
    build_library demo "$folder"
    mkdir -p "$folder/include/cjson"
    cp "$built/cjson/cJSON.h" "$folder/include/cjson/"
    cp -r /usr/include/nlohmann "$folder/include/"
    compile gnu11 tests/conformance/driver.c "$folder/c.exe" -I"$folder/include" "$built/cjson/cJSON.c" -pthread
    compile c++17 tests/conformance/driver.cpp "$folder/cpp.exe" -I"$folder/include"
    for language in c cpp; do
        run "$folder/$language.exe" tests/conformance/cases.json assets/demo-model \
            | python3 tests/conformance/check.py "$language on Windows" || failed=1
    done
    return "$failed"
}

test_command() {
    # wine looks up the name in this file, which the root may lack. Tests of the hub send requests to it.
    in_root sh -c 'grep -qs localhost /etc/hosts || echo "127.0.0.1 localhost" >> /etc/hosts'
    in_root cargo test --quiet --profile "$profile" --target "$triple" --lib --bins --tests -p florence2-cli -p florence2 -p florence2-checkpoint \
        -p workspace-hack
    SEEN=$target python3 tests/windows/ctrl_c.py "$toolchain" "$PWD" wine "$release/florence2.exe"
}

for part in "${parts[@]}"; do
    started=$SECONDS
    "test_$part"
    echo "windows: $part passed in $((SECONDS - started)) s"
done
