"""Checks that the names in docs/src/languages/names.md exist in the source code of their languages.

    python3 tests/conformance/names.py
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/src/languages/names.md"
SOURCES = {
    # With the keys of JSON and the environment variables.
    "command line": ["crates/florence2-cli/src/*.rs", "crates/florence2*/src/*.rs", "crates/florence2-kernels/src/cpu/*.rs"],
    "Rust": ["crates/*/src/*.rs", "crates/*/src/*/*.rs"],
    "C": ["include/florence2.h"],
    "C++": ["bindings/cpp/florence2.hpp"],
    "Go": ["bindings/go/*.go"],
    "Swift": ["bindings/swift/Sources/Florence2/*.swift"],
    "Python": ["bindings/python/src/florence2/*.py"],
}
# Names that are no identifiers of the source code.
OTHERS = {"IMAGE", "null"}


def words(patterns: list[str]) -> set[str]:
    """The identifiers of the files, also without the prefix `florence2_` of C, and in small letters as subcommands."""
    found = {word for pattern in patterns for path in ROOT.glob(pattern) for word in re.findall(r"\w+", path.read_text())}
    return found | {word.removeprefix("florence2_") for word in found}


def rows() -> Iterator[tuple[str, str, str]]:
    """Yields the purpose, the language and the cell of each name."""
    languages: list[str] = []
    for line in PAGE.read_text().splitlines():
        if not line.startswith("| "):
            continue
        purpose, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if purpose == "purpose":
            languages = [cell.removesuffix(", JSON") for cell in cells]
            continue
        yield from ((purpose, language, cell) for language, cell in zip(languages, cells, strict=True))


def main() -> None:
    known = {language: words(patterns) for language, patterns in SOURCES.items()}
    known["command line"] |= {word.lower() for word in known["command line"]}
    errors = []
    for purpose, language, cell in rows():
        for name in re.findall(r"`([^`]+)`", cell):
            missing = set(re.findall(r"\w+", name.replace("--", "").replace("-", "_"))) - known[language] - OTHERS
            if missing:
                errors.append(f"{PAGE.name}: {purpose}: {language}: found no {', '.join(sorted(missing))}, expected `{name}`")
    print("\n".join(errors) or "the names exist")
    sys.exit(bool(errors))


if __name__ == "__main__":
    main()
