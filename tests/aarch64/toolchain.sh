#!/usr/bin/env bash
# Runs a command in a root file system in which Rust builds for aarch64 and QEMU runs the programs. It is a root of Debian
# testing, in which all architectures have the same Rust, and is created at first use (1.8 GB, requires root).
#   [SEEN=FOLDER] toolchain.sh FOLDER COMMAND..
# FOLDER is the command's working directory. It and the folder SEEN have the same paths inside the root as outside.
set -euo pipefail
folder=$(realpath "$1")
shift
root=${AARCH64_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/libflorence2/aarch64}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
if ! test -f "$root.ready"; then
    command -v mmdebstrap > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends mmdebstrap; }
    # The mirror of this system's packages. Some mirrors are updated less often than testing is signed.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'IDENTIFIER: Packages' "CODENAME: $(. /etc/os-release; echo "$VERSION_CODENAME")" | head -n 1)
    mkdir -p "$(dirname "$root")"
    rm -rf --one-file-system "$root"
    mmdebstrap --quiet --mode=root --variant=minbase --skip=check/qemu --architectures=amd64 \
        --include=ca-certificates,gcc,libc6-dev,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,qemu-user,rustc,cargo,libstd-rust-dev \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        testing "$root" "deb ${mirror%/} testing main"
    # The standard library for aarch64, unpacked beside the host's: it requires no other package of that architecture.
    chroot "$root" sh -euc '
        dpkg --add-architecture arm64
        apt-get -qq update -o APT::Sandbox::User=root
        cd /tmp
        apt-get -qq download libstd-rust-dev:arm64
        dpkg-deb --fsys-tarfile libstd-rust-dev*arm64.deb | tar -x -C / ./usr/lib/rustlib
        rm -f ./*.deb
        dpkg --remove-architecture arm64
    '
    touch "$root.ready"
fi
mkdir -p "$cargo_home"
# The mounts are private to this command, and end with it.
exec unshare --mount --propagation private -- bash -euc '
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
        PATH=/usr/sbin:/usr/bin:/sbin:/bin CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" "$@"
' bash "$root" "$folder" "${SEEN:-$folder}" "$cargo_home" "$@"
