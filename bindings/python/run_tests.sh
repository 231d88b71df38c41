#!/usr/bin/env bash
# Builds the wheel, installs it into a fresh environment, checks the types, runs the README's lines and the tests there.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
source tests/target.sh
cargo xtask dist --features demo
cp -r bindings/python "$folder/source"
cp "$target/dist/lib/libflorence2.so" "$folder/source/src/florence2/"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" wheel --quiet --no-deps --wheel-dir "$folder" "$folder/source"
wheel=$(echo "$folder"/florence2-*.whl)
"$folder/venv/bin/pip" install --quiet "$wheel[test]"
sed -n '/^```python/,/^```/p' bindings/python/README.md | sed '1d;$d' > "$folder/readme.py"
"$folder/venv/bin/python" "$folder/readme.py" | grep 'white circle'
"$folder/venv/bin/python" -m mypy --strict --no-error-summary --cache-dir "$folder/mypy" \
    bindings/python/src/florence2 bindings/python/tests/test_florence2.py examples/python/detect.py
"$folder/venv/bin/python" -m pytest --quiet -p no:cacheprovider bindings/python/tests
