#!/usr/bin/env bash
# Installs the packages of `cargo xtask package`, each in a root or folder without the project's files, and compares the
# answer to the guide's first question with the guide's:
#   - Linux x86-64: the archive and the Debian packages in the oldest Debian, with its C compiler; the wheel without network
#   - Linux aarch64: the archive, the Debian packages and the wheel in a Debian of that architecture, under QEMU
#   - Windows: the archive, under wine, with programs that MinGW compiled
#   tests/install/run.sh PACKAGES [PLATFORM..]     PACKAGES is the output of `cargo xtask package`. PLATFORM: linux-x86_64,
#                                                  linux-aarch64 or windows-x86_64; by default, all
set -euo pipefail
cd "$(dirname "$0")/../.."
packages=$(realpath "$1")
shift
platforms=("$@")
test $# -gt 0 || platforms=(linux-x86_64 linux-aarch64 windows-x86_64)
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/libflorence2
# In the folder of the caches, because a folder of /tmp is not visible in every root.
mkdir -p "$cache"
folder=$(mktemp -d "$cache/install.XXXXXX")
trap 'rm -rf --one-file-system "$folder"' EXIT

source tests/expected.sh
expected_objects > "$folder/expected"
sed -n '/^\$ cargo run/,/^```/{/^\$/d;/^```/q;p}' README.md > "$folder/expected-command"
test -s "$folder/expected-command"

# Compares the output of a command with a file:   prints WHAT FILE COMMAND..
prints() {
    local what=$1 file=$2
    shift 2
    "$@" > "$folder/found" || { echo "$what: found exit status $?, expected 0"; exit 1; }
    tr -d '\r' < "$folder/found" | diff "$folder/$file" - || { echo "$what: found another answer"; exit 1; }
    echo "$what: the answer is the guide's"
}

# Sets `root` to a copy of a root of Debian, so that no run sees the packages of an earlier one. The root is created at first
# use, and again if the arguments differ:   clean_root NAME SUITE ARCHITECTURE VARIANT PACKAGE,..
clean_root() {
    root=$cache/$1
    test "$(cat "$root.ready" 2> /dev/null)" = "$*" || create_root "$@"
    cp -a "$root" "$folder/$1"
    root=$folder/$1
}

# Creates the folder `root`, with the arguments of clean_root.
create_root() {
    local mirror
    command -v mmdebstrap > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends mmdebstrap > /dev/null; }
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'IDENTIFIER: Packages' "CODENAME: $(. /etc/os-release; echo "$VERSION_CODENAME")" | head -n 1)
    rm -rf --one-file-system "$root"
    mmdebstrap --quiet --mode=root --variant="$4" --skip=check/qemu --architectures="$3" --include="$5" \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$2" "$root" "deb ${mirror%/} $2 main"
    echo "$*" > "$root.ready"
}

# Runs a command in `root` without network:   in_root [VARIABLE=VALUE..] COMMAND..
# The variables are set outside, because the programs of another architecture run under QEMU only.
in_root() {
    unshare --mount --net --propagation private -- bash -euc '
        root=$1 folder=$2 variables=()
        shift 2
        while [[ $1 == *=* ]]; do
            variables+=("$1")
            shift
        done
        mkdir -p "$root/proc" "$root/dev" "$root$folder"
        mount -t proc proc "$root/proc"
        mount --bind /dev "$root/dev"
        mount --bind "$folder" "$root$folder"
        exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "${variables[@]}" chroot "$root" "$@"
    ' bash "$root" "$folder" "$@"
}

# Fails if an ELF file requires a newer symbol of glibc than 2.17:   requires_glibc_2_17 FILE..
requires_glibc_2_17() {
    local file newest
    for file in "$@"; do
        newest=$(objdump -T "$file" | grep -o 'GLIBC_[0-9.]*' | sort --version-sort --unique | tail -n 1)
        test "$(printf '%s\nGLIBC_2.17\n' "$newest" | sort --version-sort | tail -n 1)" = GLIBC_2.17 \
            || { echo "$file: found a symbol of $newest, expected none above GLIBC_2.17"; exit 1; }
        echo "${file##*/}: its newest symbol of glibc is of ${newest:-none}"
    done
}

unpack() {
    local archive=$packages/florence2-$version-$1
    unpacked=$folder/florence2-$version-$1
    if test -f "$archive.zip"; then
        python3 -m zipfile -e "$archive.zip" "$folder"
    else
        tar -xzf "$archive.tar.gz" -C "$folder"
    fi
    example=$unpacked/share/doc/florence2/examples
    scene=$unpacked/share/doc/florence2/scene-1.png
}

linux-x86_64() {
    unpack linux-x86_64
    requires_glibc_2_17 "$unpacked/bin/florence2" "$unpacked"/lib/libflorence2.so.*
    clean_root oldest-debian bullseye amd64 minbase gcc,g++,libc6-dev,pkg-config
    echo "the root is Debian $(cat "$root/etc/debian_version") with $(in_root ldd --version | head -n 1)"
    prints "the command of the archive" expected-command in_root "$unpacked/bin/florence2" run "$scene" --task OD
    local package
    for package in florence2 florence2-static; do
        in_root sh -euc 'PKG_CONFIG_PATH=$1/lib/pkgconfig; export PKG_CONFIG_PATH
            cc "$2/c/detect.c" $(pkg-config --cflags --libs "$4") -o "$3/c-$4"
            c++ -std=c++17 "$2/cpp/detect.cpp" $(pkg-config --cflags --libs "$4") -o "$3/cpp-$4"' sh "$unpacked" "$example" "$folder" "$package"
        prints "C with the archive, $package" expected in_root LD_LIBRARY_PATH="$unpacked/lib" "$folder/c-$package" "$scene"
        prints "C++ with the archive, $package" expected in_root LD_LIBRARY_PATH="$unpacked/lib" "$folder/cpp-$package" "$scene"
    done
    cp "$packages"/*florence2*_"$version"_amd64.deb "$folder"
    in_root sh -euc 'dpkg --install "$1"/*_amd64.deb > /dev/null
        cc "$2/c/detect.c" $(pkg-config --cflags --libs florence2) -o "$1/c-deb"' sh "$folder" "$example"
    prints "C with the Debian packages" expected in_root "$folder/c-deb" "$scene"
    prints "the command of the Debian package" expected-command in_root florence2 run "$scene" --task OD
    wheel_x86_64
}

# The wheel in a new environment, without network.
wheel_x86_64() {
    python3 -m venv "$folder/venv"
    unshare --net -- "$folder/venv/bin/pip" install --quiet --no-index --disable-pip-version-check \
        "$packages/florence2-$version"-py3-none-manylinux_2_17_x86_64.*.whl
    prints "the wheel" expected unshare --net -- "$folder/venv/bin/python" tests/install/detect.py "$scene"
}

linux-aarch64() {
    unpack linux-aarch64
    requires_glibc_2_17 "$unpacked/bin/florence2" "$unpacked"/lib/libflorence2.so.*
    command -v qemu-aarch64-static > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends qemu-user-static > /dev/null; }
    # Only unpacked: this system need not run programs of another architecture by itself.
    clean_root aarch64-debian bookworm arm64 extract base-files,libc6,libgcc-s1,libstdc++6,python3-minimal,libpython3-stdlib
    cp "$(command -v qemu-aarch64-static)" "$root/qemu"
    echo "the root is Debian $(cat "$root/etc/debian_version") for aarch64"
    local package
    SEEN=$folder packaging/toolchain.sh "$folder" sh -euc 'aarch64-linux-gnu-gcc "$2/c/detect.c" -I"$1/include" -L"$1/lib" -lflorence2 -o c-aarch64' \
        sh "$unpacked" "$example"
    prints "the command of the archive" expected-command in_root /qemu "$unpacked/bin/florence2" run "$scene" --task OD
    prints "C with the archive" expected in_root LD_LIBRARY_PATH="$unpacked/lib" /qemu "$folder/c-aarch64" "$scene"
    for package in "$packages"/*florence2*_"$version"_arm64.deb; do
        dpkg-deb --extract "$package" "$root"
    done
    prints "C with the Debian packages" expected in_root /qemu "$folder/c-aarch64" "$scene"
    pip install --quiet --disable-pip-version-check --no-index --target "$folder/python-aarch64" --platform manylinux_2_17_aarch64 \
        --only-binary :all: "$packages/florence2-$version"-py3-none-manylinux_2_17_aarch64.*.whl
    cp tests/install/detect.py "$folder"
    prints "the wheel" expected in_root PYTHONPATH="$folder/python-aarch64" /qemu /usr/bin/python3 "$folder/detect.py" "$scene"
}

windows-x86_64() {
    unpack windows-x86_64
    local compiled=$folder/windows
    mkdir "$compiled"
    SEEN=$folder packaging/toolchain.sh "$folder" sh -euc '
        x86_64-w64-mingw32-gcc -DFLORENCE2_SHARED "$2/c/detect.c" -I"$1/include" -L"$1/lib" -lflorence2 -o "$3/c.exe"
        x86_64-w64-mingw32-g++ -static -DFLORENCE2_SHARED "$2/cpp/detect.cpp" -I"$1/include" "$1/lib/libflorence2.dll.a" -o "$3/cpp.exe"
        x86_64-w64-mingw32-gcc "$2/c/detect.c" -I"$1/include" "$1/lib/libflorence2.a" \
            $(sed -n "s/^Libs: [^ ]* //p" "$1/lib/pkgconfig/florence2-static.pc") -static -o "$3/c-static.exe"
        cp "$1"/bin/florence2.dll "$3"' sh "$unpacked" "$example" "$compiled"
    cp "$scene" "$compiled"
    wine() { packaging/toolchain.sh "$compiled" wine "$@"; }
    prints "C with the archive" expected wine c.exe scene-1.png
    prints "C++ with the archive" expected wine cpp.exe scene-1.png
    prints "C with the static library" expected wine c-static.exe scene-1.png
    cp "$unpacked/bin/florence2.exe" "$compiled"
    prints "the command of the archive" expected-command wine florence2.exe run scene-1.png --task OD
    python3 tests/install/windows_wheel.py "$packages/florence2-$version-py3-none-win_amd64.whl" "$compiled/florence2.dll"
}

for platform in "${platforms[@]}"; do
    started=$SECONDS
    echo "-- $platform"
    "$platform"
    echo "-- $platform took $((SECONDS - started)) s"
done
