# To be sourced in the project's folder: `target` is cargo's target directory as an absolute path. It is not always
# `target` (CARGO_TARGET_DIR, `build.target-dir` in a configuration of cargo).
target=$(cargo metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
test -n "$target" || { echo "cargo metadata: found no target_directory" >&2; exit 1; }
