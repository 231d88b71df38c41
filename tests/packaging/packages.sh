#!/usr/bin/env bash
# Checks the packages of `cargo xtask package` for Linux x86-64: their names and contents, equal checksums of packages that
# were made twice, the tags and the size of the wheel, and the schema of the SBOM. The second time, the products are linked
# again. tests/install/run.sh installs the packages, and checks the newest symbol of glibc that they require.
#   tests/packaging/packages.sh [PACKAGES]     PACKAGES is the output of `cargo xtask package`; by default, it is made
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
triple=x86_64-unknown-linux-gnu

if test $# -gt 0; then
    packages=$(realpath "$1")
else
    packages=$folder/packages
    cargo xtask package --target $triple --out "$packages"
fi
cargo xtask package --target $triple --out "$folder/again"
cp "$folder/again/SHA256SUMS" "$folder/sums"
# The SBOM of several platforms lists the crates of all.
test $# -eq 0 || sed -i '/\.cdx\.json$/d' "$folder/sums"
(cd "$packages" && sha256sum --quiet --check "$folder/sums" && sha256sum --quiet --check SHA256SUMS)
echo "packages that were made twice have equal checksums"
rm -r "$folder/again"

# Equal checksums do not show it, because the objects of the first build are linked again.
tar -xzOf "$packages"/florence2-*-linux-x86_64.tar.gz --wildcards '*/lib/libflorence2.so.1' > "$folder/library"
for day in "$(date '+%b %e %Y')" "$(date --date yesterday '+%b %e %Y')"; do
    if grep --text --quiet "$day" "$folder/library"; then
        echo "libflorence2.so.1: found \`$day\`, expected no date of the build"
        exit 1
    fi
done
echo "the library does not contain the date of its build"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
list=$PWD/tests/packaging/packages.txt
cd "$packages"
wheel=florence2-$version-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
for package in *_amd64.deb; do
    dpkg-deb --contents "$package" | awk -v package="${package%%_*}" '!/\/$/ { print package, $1, substr($0, index($0, "./") + 1) }'
done | LC_ALL=C sort > "$folder/contents"
{
    tar -tzf "florence2-$version-linux-x86_64.tar.gz" | grep -v '/$' | sed 's/^/archive /'
    python3 -m zipfile --list "$wheel" | awk 'NR > 1 { print "wheel", $1 }'
} | sed "s/$version/VERSION/" | LC_ALL=C sort >> "$folder/contents"
diff "$list" "$folder/contents"
echo "the packages contain the expected files"

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'auditwheel==6.*' 'cyclonedx-python-lib[json-validation]==11.*'
"$folder/venv/bin/auditwheel" show "$wheel" | tr '\n' ' ' > "$folder/audit"
grep 'is consistent with the following platform tag: "manylinux_2_17_x86_64"' "$folder/audit" > /dev/null \
    || { echo "$wheel: auditwheel found other symbols than those of manylinux_2_17_x86_64:"; cat "$folder/audit"; exit 1; }
bytes=$(stat --format %s "$wheel")
test "$bytes" -lt 15000000 || { echo "$wheel: found $bytes bytes, expected less than 15000000"; exit 1; }
echo "$wheel: $bytes bytes, consistent with manylinux_2_17_x86_64"

"$folder/venv/bin/python" - "florence2-$version.cdx.json" << 'END'
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = open(sys.argv[1]).read()
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
if error is not None:
    sys.exit(f"{sys.argv[1]}: found {error}, expected CycloneDX 1.6")
print(f"{sys.argv[1]}: CycloneDX 1.6, {text.count('pkg:cargo/') // 2} crates")
END
