# Source this in the project's folder. It builds the test programs of the README's test command if necessary, and defines:
#   program NAME    sets `program` to the program of the integration test NAME and `package` to its package's folder
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
        test "$name" != "$1" || return 0
    done <<< "$programs"
    echo "the workspace has no integration test $1" >&2
    return 1
}
