#!/usr/bin/env bash
# Packages every crate of a release, checks the contents of the packages, publishes them in a dry run, compiles the unpacked
# packages with their unit tests, with the minimum Rust version, and runs a program that depends on them.
#   tests/packages/run.sh [CARGO_OPTION..]      of `cargo check`; by default --release, as the stage `lints` of CI
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
options=("$@")
test $# -gt 0 || options=(--release)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

published=$(cargo metadata --format-version 1 --no-deps --offline | python3 -c '
import json, sys
print(*(package["name"] for package in json.load(sys.stdin)["packages"] if package["publish"] is None))
')

# Integration tests and examples outside a crate's folder are left out on purpose; any other warning is an error.
cargo package $(printf -- ' -p %s' $published) --no-verify --locked --offline --allow-dirty --target-dir "$folder" \
    2> "$folder/log" || { cat "$folder/log"; exit 1; }
if grep '^warning' "$folder/log" | grep -v '^warning: ignoring \(test\|example\) '; then exit 1; fi

# The dry run also checks that the registry has each dependency.
cargo publish --workspace --dry-run --no-verify --locked --allow-dirty --quiet --target-dir "$folder/dry-run" 2> "$folder/log" \
    || { cat "$folder/log"; exit 1; }
echo "cargo publish: the dry run of all packages succeeds"

fail() {
    echo "$*" >&2
    exit 1
}

mkdir "$folder/unpacked"
for name in $published; do
    archive=$(echo "$folder/package/$name"-[0-9]*.crate)
    # With the present time, as cargo compiles again what is newer than its last output.
    tar -xmf "$archive" -C "$folder/unpacked"
    mv "$folder/unpacked/$(basename "$archive" .crate)" "$folder/unpacked/$name"
    for file in README.md LICENSE-MIT LICENSE-APACHE; do
        test -s "$folder/unpacked/$name/$file" || fail "the package $name: found no $file"
    done
    # The limit of crates.io is 10 MiB. Only the demo model contains data.
    limit=300000
    test "$name" != florence2-demo-model || limit=10000000
    bytes=$(stat --format %s "$archive")
    test "$bytes" -lt $limit || fail "the package $name: found $bytes bytes, expected less than $limit"
    echo "$name: $bytes bytes, $(tar -tf "$archive" | wc -l) files"
done

# A workspace of the unpacked packages and the program. The packages replace those of crates.io. The profile and
# workspace-hack are those of this workspace, so that its dependencies are not compiled again.
mkdir -p "$folder/unpacked/consumer/src"
cp tests/packages/consumer.rs "$folder/unpacked/consumer/src/main.rs"
cp Cargo.lock "$folder/unpacked"
cat > "$folder/unpacked/consumer/Cargo.toml" << END
[package]
name = "consumer"
edition = "2024"

[dependencies]
florence2 = { version = "*", features = ["demo"] }
workspace-hack = { path = "$PWD/crates/workspace-hack" }
END
{
    printf '[workspace]\nresolver = "3"\nmembers = ["*"]\n\n[patch.crates-io]\n'
    for name in $published; do
        # No package depends on the command and the C library.
        [[ $name = florence2-@(cli|ffi) ]] || echo "$name = { path = \"$name\" }"
    done
    sed -n '/^\[profile\.release\]/,/^$/p' Cargo.toml
} > "$folder/unpacked/Cargo.toml"

version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
toolchain=
[[ $(rustc --version) == "rustc $version."* ]] || toolchain=+$version.0
echo "rustc: $(rustc $toolchain --version), the minimum is $version"
source tests/expected.sh
expected_objects > "$folder/expected"
scene=$PWD/assets/demo-model/scenes/scene-1.png
cd "$folder/unpacked"
cargo $toolchain check --workspace --all-targets --quiet --offline --target-dir "$target" "${options[@]}"
cargo $toolchain build --release --package consumer --package workspace-hack --quiet --offline --target-dir "$target"
"$target/release/consumer" "$scene" > "$folder/found"
diff "$folder/expected" "$folder/found"
echo "the program that depends on the packages prints what the guide says"
