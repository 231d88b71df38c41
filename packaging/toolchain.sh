#!/usr/bin/env bash
# Runs a command in a root file system in which Rust builds for aarch64 Linux and for Windows, and in which QEMU and wine run
# the programs. It is a root of Debian 13 with Rust from Debian's backports, and is created at first use (4 GB, requires
# root).
#   [SEEN=FOLDER] toolchain.sh FOLDER COMMAND..
# FOLDER is the command's working directory. It and the folder SEEN have the same paths inside the root as outside.
set -euo pipefail
folder=$(realpath "$1")
shift
root=${CROSS_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/libflorence2/cross}
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# Starts a command in the root. The mounts are private to this command, and end with it.
in_root() {
    unshare --mount --propagation private -- bash -euc '
        root=$1 folder=$2 seen=$3 cargo_home=$4
        shift 4
        mount -t proc proc "$root/proc"
        mount --bind /dev "$root/dev"
        for file in /etc/resolv.conf /etc/ssl/certs; do
            test -e "$root$file" || touch "$root$file"
            mount --bind "$(realpath "$file")" "$root$file"
        done
        for shared in "$folder" "$seen" "$cargo_home"; do
            mkdir -p "$shared" "$root$shared"
            mount --bind "$shared" "$root$shared"
        done
        exec chroot "$root" /usr/bin/env --chdir="$folder" HOME=/root CARGO_HOME="$cargo_home" LANG=C.UTF-8 RUSTUP_TOOLCHAIN= \
            PATH=/usr/sbin:/usr/bin:/sbin:/bin \
            CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
            CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
            CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" \
            CC_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc AR_x86_64_pc_windows_gnu=x86_64-w64-mingw32-ar \
            CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=/usr/local/bin/link-for-windows \
            CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine \
            RUSTC_WRAPPER=/usr/local/bin/function-sections WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml=" "$@"
    ' bash "$root" "$folder" "${SEEN:-$folder}" "$cargo_home" "$@"
}

create() {
    local mirror
    command -v mmdebstrap > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends mmdebstrap; }
    # The mirror of this system's packages.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'IDENTIFIER: Packages' "CODENAME: $(. /etc/os-release; echo "$VERSION_CODENAME")" | head -n 1)
    rm -f "$root.ready"
    rm -rf --one-file-system "$root"
    mmdebstrap --quiet --mode=root --variant=minbase --skip=check/qemu --architectures=amd64 \
        --include=ca-certificates,gcc,libc6-dev,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,qemu-user \
        --include=gcc-mingw-w64-x86-64-win32,g++-mingw-w64-x86-64-win32,lld,llvm,wine,wine64 \
        --include="$(printf '%s/trixie-backports,' rustc cargo libstd-rust-dev)rust-src/trixie-backports" \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        trixie "$root" "deb ${mirror%/} trixie main" "deb ${mirror%/} trixie-backports main"
    # gcc searches the linker of -fuse-ld=lld under this name.
    ln -s ld.lld "$root/usr/bin/x86_64-w64-mingw32-ld.lld"
    # The linker discards unused code for Windows only if each function has a section of its own, which rustc does by an
    # unstable option. cargo calls the wrapper. The wrapper does not add the option to the programs with which build scripts
    # detect features: they would detect unstable ones.
    cat > "$root/usr/local/bin/function-sections" << 'END'
#!/bin/sh
rustc=$1
shift
case " $* " in
    *" --emit="*link*" --target x86_64-pc-windows-gnu "*) RUSTC_BOOTSTRAP=1 exec "$rustc" -Zfunction-sections=yes "$@" ;;
    *) exec "$rustc" "$@" ;;
esac
END
    # Links with LLVM's linker, which discards unused sections. It rejects -soname, which rustc passes and which has no
    # effect on Windows. Without the time of the link, two links of the same objects give the same file.
    cat > "$root/usr/local/bin/link-for-windows" << 'END'
#!/bin/bash
options=()
for option in "$@"; do
    [[ $option == -Wl,-soname=* ]] || options+=("$option")
done
exec x86_64-w64-mingw32-gcc -fuse-ld=lld -Wl,--no-insert-timestamp "${options[@]}"
END
    chmod +x "$root/usr/local/bin/function-sections" "$root/usr/local/bin/link-for-windows"
    standard_library x86_64-pc-windows-gnu -Zfunction-sections=yes
    packaged_standard_library || standard_library aarch64-unknown-linux-gnu
    echo "$recipe" > "$root.ready"
}

# Unpacks Debian's standard library for aarch64 beside the host's: it requires no other package of that architecture. Fails
# if Debian has another version for that architecture.
packaged_standard_library() {
    chroot "$root" sh -euc '
        dpkg --add-architecture arm64
        apt-get -qq update -o APT::Sandbox::User=root
        cd /tmp
        version=$(dpkg-query --show --showformat="\${Version}" libstd-rust-dev)
        if apt-get -qq download "libstd-rust-dev:arm64=$version"; then
            dpkg-deb --fsys-tarfile libstd-rust-dev*arm64.deb | tar -x -C / ./usr/lib/rustlib
        fi
        rm -f ./*.deb
        dpkg --remove-architecture arm64
    ' || return 1
    test -d "$root/usr/lib/rustlib/aarch64-unknown-linux-gnu/lib"
}

# Builds the standard library of a target from Debian's sources:   standard_library TARGET [FLAG]
standard_library() {
    local work=$root/usr/src/standard-library lib=$root/usr/lib/rustlib/$1/lib
    mkdir -p "$work/src" "$lib"
    printf '[package]\nname = "empty"\nversion = "0.1.0"\nedition = "2024"\n' > "$work/Cargo.toml"
    touch "$work/src/lib.rs"
    in_root env --chdir=/usr/src/standard-library RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER= RUSTFLAGS="${2:-}" \
        cargo build --quiet --release -Zbuild-std=std,panic_unwind,test --target "$1"
    find "$work/target/$1/release/deps" -name '*.rlib' ! -name 'libempty*' -exec mv -t "$lib" {} +
    rm -r "$work"
}

# Processes that start together create the root once.
mkdir -p "$(dirname "$root")"
exec 9> "$root.lock"
flock 9
# A root of another recipe is created again. Comments are not part of the recipe.
recipe=$(declare -f create packaged_standard_library standard_library | sha256sum | cut -d ' ' -f 1)
test "$(cat "$root.ready" 2> /dev/null)" = "$recipe" || create
exec 9>&-
mkdir -p "$cargo_home"
in_root "$@"
