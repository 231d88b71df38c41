# Source this in the project's folder. It builds the test programs of the README's test command if necessary, and defines:
#   program PACKAGE/NAME    sets `program` to the program of an integration test and `package` to its package's folder
#   run_tests COMMAND..     runs a test program, and fails if its filters select no test
programs=$(cargo test --release --workspace --no-run --quiet --message-format=json | python3 -c '
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "compiler-artifact" and message["executable"] and message["target"]["kind"] == ["test"]:
        print(message["target"]["name"], os.path.dirname(message["manifest_path"]), message["executable"], sep="\t")
')

program() {
    local name
    while IFS=$'\t' read -r name package program; do
        test "${package##*/}/$name" != "$1" || return 0
    done <<< "$programs"
    echo "the workspace has no integration test $1" >&2
    return 1
}

run_tests() {
    local output outcome=0
    output=$("$@" 2>&1) || outcome=$?
    echo "$output"
    if [[ $output == *"running 0 tests"* ]]; then
        echo "no test was selected: $*" >&2
        return 1
    fi
    return "$outcome"
}
