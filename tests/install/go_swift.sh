#!/usr/bin/env bash
# Installs the Go module and the Swift package as users do, by the address in Cargo.toml and a version, from a bare
# repository with the tags of a release. Programs outside the repository build with them and print the guide's lines.
#   tests/install/go_swift.sh [FOLDER]      FOLDER: an installed C library with the demo model; by default, dist is built
# git maps the address to the bare repository, so that nothing is downloaded.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/target.sh
test $# -gt 0 || cargo xtask dist --features demo
library=$(realpath "${1:-$target/dist}")
source bindings/go/toolchain.sh
root=$PWD
folder=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server"; rm -rf "$folder"' EXIT

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
repository=$(sed -n 's/^repository = "\(.*\)"$/\1/p' Cargo.toml)
module=${repository#https://}/bindings/go
for licence in LICENSE-MIT LICENSE-APACHE; do
    cmp "$licence" "bindings/go/$licence"
done

# The repository has one commit, with the files of the current one and the tags of a release for Swift and Go.
commit=$(git -c user.name=test -c user.email=test@localhost commit-tree 'HEAD^{tree}' -m "Version $version")
git init --quiet --bare --initial-branch=main "$folder/bare.git"
git push --quiet "$folder/bare.git" "$commit:refs/heads/main" "$commit:refs/tags/v$version" \
    "$commit:refs/tags/bindings/go/v$version"
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=url.file://$folder/bare.git.insteadOf GIT_CONFIG_VALUE_0=$repository
export PKG_CONFIG_PATH=$library/lib/pkgconfig LD_LIBRARY_PATH=$library/lib

# Runs the commands of a section of the guide's page on installation, and compares the output with the section's.
run_section() {
    python3 "$root/tests/install/guide.py" commands "$1" > "$folder/commands"
    python3 "$root/tests/install/guide.py" output "$1" > "$folder/expected"
    source "$folder/commands" > "$folder/output"
    diff "$folder/expected" "$folder/output"
    echo "$1: the guide's commands with version $version print the guide's lines"
}

# A web server that returns the `go-import` tag of the module, as a forge does.
cat > "$folder/forge.py" << 'END'
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

ADDRESS, PORT_FILE = sys.argv[1:]


class Forge(BaseHTTPRequestHandler):
    """A proxy that answers every request with the page of the repository."""

    def do_GET(self):
        page = f'<meta name="go-import" content="{ADDRESS.removeprefix("https://")} git {ADDRESS}">'
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_):
        pass


with HTTPServer(("127.0.0.1", 0), Forge) as forge:
    with open(PORT_FILE, "w") as file:
        file.write(str(forge.server_port))
    forge.serve_forever()
END
mkfifo "$folder/port"
python3 "$folder/forge.py" "$repository" "$folder/port" &
server=$!
port=$(timeout 60 cat "$folder/port")

# Only the module is requested directly. Its address is requested by http, which GOINSECURE permits.
go_program() {
    export GOPRIVATE=${repository#https://} GOINSECURE=${repository#https://} GOMODCACHE=$folder/modules GOFLAGS=-modcacherw
    export https_proxy=http://127.0.0.1:$port http_proxy=http://127.0.0.1:$port no_proxy=
    mkdir "$folder/go"
    cp "$root/examples/go/main.go" "$root/assets/demo-model/scenes/scene-1.png" "$folder/go"
    cd "$folder/go"
    run_section Go
    grep -F "require $module v$version" go.mod
    test -s "$GOMODCACHE/$module@v$version/LICENSE-MIT"
}

# Swift with caches of its own, in the root file system of the toolchain.
swift() {
    local name=$1
    shift
    SEEN=$library "$root/bindings/swift/toolchain.sh" "$folder/swift" swift "$name" \
        --cache-path "$folder/swift/cache" --security-path "$folder/swift/security" --config-path "$folder/swift/config" "$@"
}

# The manifest is that of the guide. The bare repository lies in the folder that the toolchain sees.
swift_program() {
    mkdir -p "$folder/swift/Sources/detect"
    mv "$folder/bare.git" "$folder/swift"
    cp "$root/assets/demo-model/scenes/scene-1.png" "$folder/swift"
    export GIT_CONFIG_KEY_0=url.file://$folder/swift/bare.git.insteadOf
    cp "$root/examples/swift/detect/main.swift" "$folder/swift/Sources/detect"
    sed -n '/^```swift$/,/^```$/{/^```/d;p}' "$root/docs/src/install.md" > "$folder/swift/Package.swift"
    grep -F "url: \"$repository\", from: \"$version\"" "$folder/swift/Package.swift"
    run_section Swift
    grep -F "\"version\" : \"$version\"" "$folder/swift/Package.resolved"
}

(go_program)
(swift_program)

# The manifest on macOS, without and with a released XCFramework.
mac() {
    sed 's/^#if os(macOS)$/#if os(Linux)/' Package.swift > "$folder/swift/Package.swift"
    sed -i "s|^let released: .*= nil\$|let released: (url: String, checksum: String)? = $1|" "$folder/swift/Package.swift"
    swift package dump-package > "$folder/swift/manifest.json"
    grep -F "$2" "$folder/swift/manifest.json"
}
mac nil '"path" : "bindings/swift/CFlorence2.xcframework"'
mac '("https:\/\/localhost\/CFlorence2.xcframework.zip", "0123")' '"checksum" : "0123"'
