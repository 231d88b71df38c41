#!/usr/bin/env bash
# Type-checks the C library and the command for targets that this project cannot link: Windows with MSVC, and macOS. The
# standard library is checked with them, from its sources. Takes two to four minutes for each target.
#   tests/windows/check_targets.sh [TARGET..]
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
targets=("$@")
test $# -gt 0 || targets=(x86_64-pc-windows-msvc aarch64-apple-darwin)
toolchain=${CROSS_TOOLCHAIN:-packaging/toolchain.sh}
built=$target/cross
mkdir -p "$built/no-objects"

# Build scripts compile C code, which a check does not link. No compiler and headers for these systems are installed, so these stubs
# write empty objects and libraries. Calls of the preprocessor (-E) run gcc.
cat > "$built/no-objects/cc" << 'END'
#!/bin/sh
for argument in "$@"; do
    test "$argument" != -E || exec gcc "$@"
done
while test $# -gt 0; do
    case $1 in
        -o) shift; : > "$1" ;;
    esac
    shift
done
END
cat > "$built/no-objects/ar" << 'END'
#!/bin/sh
for argument in "$@"; do
    case $argument in
        *.a | *.lib) : > "${argument#-out:}" ;;
    esac
done
END
chmod +x "$built/no-objects/cc" "$built/no-objects/ar"

for name in "${targets[@]}"; do
    started=$SECONDS
    variables=(RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER= CARGO_TARGET_DIR="$built" CC_"${name//-/_}"="$built/no-objects/cc"
        AR_"${name//-/_}"="$built/no-objects/ar")
    SEEN=$built "$toolchain" "$PWD" env "${variables[@]}" cargo check --quiet -Zbuild-std=std,panic_abort,panic_unwind \
        --target "$name" -p florence2-ffi -p florence2-cli --features florence2-ffi/demo
    echo "$name: the C library and the command pass cargo check, in $((SECONDS - started)) s"
done
