# Source this in the project's folder. It sets `target` to cargo's target directory as an absolute path, which can
# differ from `target` (CARGO_TARGET_DIR, `build.target-dir` in a configuration of cargo).
target=$(cargo metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
test -n "$target" || { echo "cargo metadata: found no target_directory" >&2; exit 1; }
