"""Checks that every file states the version and the address of Cargo.toml, and names every file that does not.

    python3 tests/versions.py
    python3 tests/versions.py --set-version 0.2.0                           writes the version into all files
    python3 tests/versions.py --set-repository https://forge.org/me/florence2    writes the address into all files

A new version is also written into the lock files and the C header, as cargo and `cargo xtask header` write it.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = r"\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)[.\d]*)?"
ADDRESS = r"https?://[^\s\"'`<>()]+"
HOST_AND_PATH = r"[\w-]+(?:\.[\w-]+)+(?:/[\w.-]+)+"


@dataclass
class Statement:
    """A pattern whose group states a value, and the files that contain it: all that match a pattern of `files`.

    Each of the files `required` must contain it. The others may.
    """

    what: str
    pattern: str
    files: list[str]
    required: list[str]


GUIDE = ["README.md", "CONTRIBUTING.md", "docs/src/*.md", "docs/src/*/*.md", "crates/*/README.md", "bindings/python/README.md"]
EXACT = [
    Statement("the workspace's version", rf'^version = "({VERSION})"$', ["Cargo.toml"], ["Cargo.toml"]),
    Statement("the version of a crate", rf'^florence2[\w-]* = .*version = "=({VERSION})"', ["Cargo.toml"], ["Cargo.toml"]),
    Statement(
        "the version of a crate",
        rf'^name = "(?:florence2(?!-fuzz)[\w-]*|workspace-hack|xtask)"\nversion = "({VERSION})"',
        ["Cargo.lock", "fuzz/Cargo.lock"],
        ["Cargo.lock", "fuzz/Cargo.lock"],
    ),
    Statement("the package's version", rf'^version = "({VERSION})"$', ["bindings/python/pyproject.toml"], ["bindings/python/pyproject.toml"]),
    Statement("the version of the header", rf'VERSION_STRING "({VERSION})"', ["include/florence2.h"], ["include/florence2.h"]),
    Statement("the name of a package", rf"florence2-(?:go-|swift-)?({VERSION})", GUIDE, ["docs/src/install.md"]),
    Statement("the name of a package", rf"florence2(?:-1|-dev)?_({VERSION})_", GUIDE, ["docs/src/install.md"]),
    Statement("the tag of the Go module", rf"/bindings/go(?:@|/)v({VERSION})", GUIDE, ["docs/src/install.md"]),
    Statement("the version of the Swift package", rf'\bfrom: "({VERSION})"', GUIDE, ["docs/src/install.md"]),
]
# The first two numbers: the oldest version with a compatible API.
SERIES = [
    Statement(
        "the version for find_package",
        r"find_package\(florence2 (\d+\.\d+)\b",
        ["examples/*/CMakeLists.txt", *GUIDE],
        ["examples/c/CMakeLists.txt", "examples/cpp/CMakeLists.txt", "docs/src/languages/c.md"],
    ),
    Statement("the version of the crate", r'\bflorence2 = (?:\{ version = )?"=?(\d+\.\d+)', GUIDE, []),
]
REPOSITORY = [
    Statement("the address", rf'^repository = "({ADDRESS})"$', ["Cargo.toml"], ["Cargo.toml"]),
    Statement("the address", rf'\burl: "({ADDRESS})"', GUIDE, ["docs/src/install.md"]),
    Statement("the address", rf"^git clone ({ADDRESS})", GUIDE, []),
    Statement("the address", rf"\bthe address `({ADDRESS})`", ["docs/src/install.md"], []),
    Statement("the address", rf'^Repository = "({ADDRESS})"$', ["bindings/python/pyproject.toml"], []),
]
# The address without its scheme, in the path of the Go module.
GO_MODULE = [
    Statement(
        "the path of the Go module",
        rf"^(?:module|require|replace) ({HOST_AND_PATH})/bindings/go\b",
        ["**/go.mod", "docs/src/languages/go.md"],
        ["bindings/go/go.mod", "examples/go/go.mod", "tests/conformance/go-driver/go.mod", "docs/src/languages/go.md"],
    ),
    Statement(
        "the path of the Go module",
        rf'["`]({HOST_AND_PATH})/bindings/go["`]',
        ["**/*.go", "CHANGELOG.md", *GUIDE],
        ["bindings/go/example_test.go", "examples/go/main.go", "tests/conformance/go-driver/main.go"],
    ),
    Statement("the path of the Go module", rf"\bgo get ({HOST_AND_PATH})/bindings/go@", GUIDE, ["docs/src/install.md"]),
]
# The last part of the address, by which SwiftPM names a package.
SWIFT_PACKAGE = [
    Statement(
        "the name of the Swift package",
        r'"Florence2", package: "([\w.-]+)"',
        ["docs/src/install.md", "docs/src/languages/swift.md"],
        ["docs/src/install.md"],
    ),
]


@dataclass
class Value:
    """A value that Cargo.toml determines, and its statements."""

    expected: str
    statements: list[Statement]


def stated_by_cargo(key: str) -> str:
    found = re.search(rf'^\[workspace\.package\]$.*?^{key} = "([^"]+)"$', (ROOT / "Cargo.toml").read_text(), re.M | re.S)
    if not found:
        sys.exit(f"Cargo.toml: found no `{key}` in [workspace.package]")
    return found[1]


def values_of(version: str, repository: str) -> list[Value]:
    if not re.fullmatch(VERSION, version):
        sys.exit(f"version: found {version}, expected three numbers such as 0.2.0")
    if not re.fullmatch(rf"https://{HOST_AND_PATH}", repository) or repository.endswith(".git"):
        sys.exit(f"repository: found {repository}, expected https://HOST/PATH without .git")
    numbers = zip(("MAJOR", "MINOR", "PATCH"), version.split("-")[0].split("."))
    header = ["include/florence2.h"]
    return [
        Value(version, EXACT),
        *(Value(number, [Statement("the header", rf"VERSION_{name} (\d+)$", header, header)]) for name, number in numbers),
        Value(".".join(version.split(".")[:2]), SERIES),
        Value(repository, REPOSITORY),
        Value(repository.removeprefix("https://"), GO_MODULE),
        Value(repository.rsplit("/", 1)[1], SWIFT_PACKAGE),
    ]


def files_of(statement: Statement) -> list[Path]:
    """The files of the repository that match the statement's patterns."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"] + [f":(glob){name}" for name in statement.files],
        cwd=ROOT,
        text=True,
    )
    return sorted({ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def problems_of(value: Value) -> Iterator[str]:
    for statement in value.statements:
        lacking = set(statement.required)
        for path in files_of(statement):
            text = path.read_text()
            name = path.relative_to(ROOT).as_posix()
            for found in re.finditer(statement.pattern, text, re.M):
                lacking.discard(name)
                if found[1] != value.expected:
                    line = text.count("\n", 0, found.start(1)) + 1
                    yield f"{name}:{line}: {statement.what}: found {found[1]}, expected {value.expected} as in Cargo.toml"
        for name in sorted(lacking):
            yield f"{name}: {statement.what}: found none, expected {value.expected}"


def write(value: Value) -> None:
    for statement in value.statements:
        for path in files_of(statement):
            old = path.read_text()
            new = re.sub(statement.pattern, replacing(value.expected), old, flags=re.M)
            if new != old:
                path.write_text(new)
                print(f"{path.relative_to(ROOT)}: wrote {value.expected}")


def replacing(expected: str) -> Callable[[re.Match[str]], str]:
    def replace(found: re.Match[str]) -> str:
        start, end = found.start(1) - found.start(), found.end(1) - found.start()
        return found[0][:start] + expected + found[0][end:]

    return replace


def stale_placeholders(repository: str) -> Iterator[str]:
    """Names the files that still contain the placeholder, after a real address has replaced it in Cargo.toml."""
    placeholder = "example.org/" + "libflorence2"
    if placeholder in repository:
        return
    found = subprocess.run(["git", "grep", "-noI", placeholder], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield from (f"{line}: found the placeholder, expected {repository}" for line in found.stdout.splitlines())


def main() -> None:
    arguments = argparse.ArgumentParser(description="Checks that every file states the version and the address of Cargo.toml")
    arguments.add_argument("--set-version", metavar="VERSION")
    arguments.add_argument("--set-repository", metavar="URL")
    chosen = arguments.parse_args()
    version = chosen.set_version or stated_by_cargo("version")
    repository = chosen.set_repository or stated_by_cargo("repository")
    values = values_of(version, repository)
    if chosen.set_version or chosen.set_repository:
        for value in values:
            write(value)
    problems = [problem for value in values for problem in problems_of(value)] + list(stale_placeholders(repository))
    if problems:
        sys.exit("\n".join(problems))
    print(f"every file states the version {version} and the address {repository}")


if __name__ == "__main__":
    main()
