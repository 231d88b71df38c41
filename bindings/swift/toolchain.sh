#!/usr/bin/env bash
# Runs a command with Swift in PATH: on this system if it has Swift, else in a Debian 13 root file system, which the
# first call creates (2.6 GB, requires root).
#   [SEEN=FOLDER] toolchain.sh FOLDER COMMAND..
# FOLDER is the command's working directory. FOLDER and SEEN are mounted in the root file system at the same paths.
set -euo pipefail
folder=$(realpath "$1")
shift
if command -v swift > /dev/null; then
    cd "$folder"
    exec "$@"
fi
root=${SWIFT_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/libflorence2/swift-6}
if ! test -f "$root.ready"; then
    command -v mmdebstrap > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends mmdebstrap; }
    # The mirror of this system's packages.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'IDENTIFIER: Packages' "CODENAME: $(. /etc/os-release; echo "$VERSION_CODENAME")" | head -n 1)
    mkdir -p "$(dirname "$root")"
    rm -rf --one-file-system "$root"
    mmdebstrap --quiet --mode=root --variant=minbase --skip=check/qemu \
        --include=swiftlang,git,libc6-dev,libstdc++-14-dev,pkgconf \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        trixie "$root" "deb ${mirror%/} trixie main"
    touch "$root.ready"
fi
# The mounts are in a mount namespace of their own, which ends with the command.
exec unshare --mount --propagation private -- bash -euc '
    root=$1 folder=$2 seen=$3
    shift 3
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    for shared in "$folder" "$seen"; do
        mkdir -p "$shared" "$root$shared"
        mount --bind "$shared" "$root$shared"
    done
    exec chroot "$root" /usr/bin/env --chdir="$folder" HOME=/root LANG=C.UTF-8 \
        PATH=/usr/libexec/swift/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
' bash "$root" "$folder" "${SEEN:-$folder}" "$@"
