"""Checks that each language's binding calls every function of include/florence2.h, and that its tests reach the call.

    python3 tests/conformance/coverage.py [--list]      --list prints the gaps, and what only the tests reach

The check is static. A binding is split into functions and types. One is reached if a conformance driver or a test of the
binding, or another part that is reached, contains its name. A function of the header is tested if a reached part
contains it. C has no binding: its driver and tests call the functions.
"""

from __future__ import annotations

import ast
import fnmatch
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IN_RESULT_JSON = "the binding reads result_json, which contains it"
IN_SCORE_JSON = "the binding reads score_json, which contains it"
RESULT_PARTS = {
    f"result_{part}": IN_RESULT_JSON
    for part in (
        "alternative", "alternative_count", "finish_reason", "image_height_px", "image_width_px", "raw_text", "region",
        "region_count", "score", "sequence_score", "task", "text", "timings", "token_count", "token_ids", "token_log_probs",
    )
}
SCORE_PARTS = {f"score_{part}": IN_SCORE_JSON for part in ("loss", "token", "token_count")}


@dataclass
class Language:
    """The files of a language, as patterns, and the functions that they need not call, with the reasons."""

    binding: list[str]
    tests: list[str]
    not_called: dict[str, str] = field(default_factory=dict)
    not_tested: dict[str, str] = field(default_factory=dict)


LANGUAGES = {
    "c": Language(
        binding=[],
        tests=["tests/conformance/driver.c", "tests/c/*.c", "examples/c/*.c"],
    ),
    "cpp": Language(
        binding=["bindings/cpp/florence2.hpp"],
        tests=["tests/conformance/driver.cpp", "tests/cpp/*.cpp"],
    ),
    "go": Language(
        binding=["bindings/go/*.go"],
        tests=["tests/conformance/go-driver/*.go", "bindings/go/*_test.go"],
        not_called={
            "cancel_is_fired": "contexts have Err",
            "score_json": "Score has its values",
        },
    ),
    "swift": Language(
        binding=["bindings/swift/Sources/Florence2/*.swift"],
        tests=["tests/conformance/swift-driver/Sources/driver/*.swift", "bindings/swift/Tests/*/*.swift"],
        not_called=RESULT_PARTS | SCORE_PARTS | {"cancel_is_fired": "isCancelled of the task is its equivalent"},
    ),
    "python": Language(
        binding=["bindings/python/src/florence2/*.py"],
        tests=["tests/conformance/driver.py", "bindings/python/tests/*.py"],
        not_called=RESULT_PARTS
        | SCORE_PARTS
        | {
            "*_init": "ctypes clears a struct, and the function `struct` sets its size",
            "status_name": "Status has the names",
        },
    ),
}


@dataclass
class Part:
    """A part of the source code: the names that it declares and the identifiers that it contains."""

    declares: set[str]
    contains: set[str]


def functions_of_header() -> set[str]:
    """The functions of the header, without the prefix `florence2_`."""
    header = without_comments((ROOT / "include/florence2.h").read_text())
    header = re.sub(r"^#.*", "", header, flags=re.M)
    return set(re.findall(r"\bflorence2_(\w+)\(", header))


def without_comments(code: str) -> str:
    """The code of C, C++, Go or Swift without comments, strings and characters."""
    token = r'/\*.*?\*/|//[^\n]*|"""(?:.*?)"""|"(?:\\.|[^"\\\n])*"|`[^`]*`|\'(?:\\.|[^\'\\\n])+\''
    return re.sub(token, lambda found: '""' if found[0][0] in "\"'`" else " ", code, flags=re.S)


def identifiers(code: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", code))


TYPE = re.compile(r"\b(?:class|struct|enum|extension|protocol|actor|namespace|interface|union|extern)\b")
KEYWORDS = {"if", "for", "while", "switch", "catch", "guard", "decltype", "noexcept", "requires", "explicit", "sizeof", "import"}


def blocks(code: str) -> Iterator[tuple[str, str]]:
    """Yields the outermost blocks in braces, each with the text before it, and the text after the last as a header."""
    start = depth = opened = 0
    for found in re.finditer(r"[{}]", code):
        if found[0] == "{":
            if depth == 0:
                opened = found.start()
            depth += 1
        elif depth > 0:
            depth -= 1
            if depth == 0:
                yield code[start:opened], code[opened + 1 : found.start()]
                start = found.end()
    yield code[start:], ""


def parts_in_braces(code: str, scope: str = "") -> Iterator[Part]:
    """Yields the parts of code in C++, Go or Swift."""
    for before, body in blocks(code):
        *statements, head = re.split(r"[;\n](?=\s*\n)|;|\n\n", before.rstrip())
        for statement in statements:
            yield Part(declared_by(statement) or {scope}, identifiers(statement))
        if not body:
            yield Part(declared_by(head) or {scope}, identifiers(head))
            continue
        kind = TYPE.search(re.sub(r"<[^<>]*>", "", head)) if "(" not in head else None
        if kind:
            yield from parts_in_braces(body, type_name(head) or scope)
        else:
            yield Part(function_names(head, scope), identifiers(head) | identifiers(body))


def type_name(head: str) -> str:
    found = re.search(r"\b(?:class|struct|enum(?: class)?|extension|protocol|actor|union)\s+(\w+)|type\s+(\w+)\s+struct", head)
    return next(filter(None, found.groups())) if found else ""


def function_names(head: str, scope: str) -> set[str]:
    """The name of a function, method or property. Those of initialisers and destructors are that of the type."""
    named = re.search(r"\bfunc\s*(?:\([^)]*\)\s*)?(\w+)", head) or re.search(r"\b(?:var|let)\s+(\w+)", head)
    called = [name for name in re.findall(r"(\w+)\s*\(", head) if name not in KEYWORDS]
    name = named[1] if named else called[0] if called else scope
    # Go's `init` is outside of types and always runs.
    return {scope or "florence2" if name in ("init", "deinit", "operator") else name}


def declared_by(statement: str) -> set[str]:
    return set(re.findall(r"\b(?:using|let|var|const|typedef)\s+(\w+)", statement)[:1])


def parts_of_python(code: str) -> Iterator[Part]:
    """Yields the functions and methods, and the statements outside of them, which an import runs."""
    for node in ast.parse(code).body:
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                name = getattr(member, "name", "__init__")
                is_special = name.startswith("__") and name.endswith("__")
                yield Part({node.name if is_special else name}, names_of_python(member))
        elif not isinstance(node, (ast.Import, ast.ImportFrom)):
            yield Part({getattr(node, "name", "florence2")}, names_of_python(node))


def names_of_python(tree: ast.AST) -> set[str]:
    """The identifiers, and the texts that calls receive, with the prefix `florence2_`: the binding's `call` adds it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Call):
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            names |= {f"florence2_{text}" for text in texts if isinstance(text, str)}
    return names


def parts_of(patterns: list[str]) -> list[Part]:
    """The parts of a binding. Python's generated declarations call nothing."""
    parts: list[Part] = []
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            if path.name.endswith("_test.go") or path.name == "_c_api.py":
                continue
            code = path.read_text()
            if path.suffix == ".go":
                # The comment before `import "C"` is code in C.
                code += "\n".join(re.findall(r'/\*((?:(?!\*/).)*)\*/\s*import "C"', code, re.S))
            parts += parts_of_python(code) if path.suffix == ".py" else parts_in_braces(without_comments(code))
    return parts


def names_in_tests(patterns: list[str]) -> set[str]:
    names: set[str] = set()
    for pattern in patterns:
        paths = list(ROOT.glob(pattern))
        if not paths:
            sys.exit(f"coverage: {pattern}: found no file")
        for path in paths:
            code = path.read_text()
            is_python = path.suffix == ".py"
            names |= names_of_python(ast.parse(code)) if is_python else identifiers(without_comments(code))
    return names


def reached(parts: list[Part], names: set[str]) -> set[str]:
    """The identifiers in the parts that the names reach."""
    names = names | {"florence2"}
    remaining = parts
    while True:
        entered = [part for part in remaining if part.declares & names]
        if not entered:
            return names
        remaining = [part for part in remaining if not part.declares & names]
        for part in entered:
            names |= part.contains


def gaps(language: Language, functions: set[str]) -> tuple[set[str], set[str]]:
    """The functions that the binding does not call, and those that it calls and that no test reaches."""
    with_prefix = {f"florence2_{name}": name for name in functions}
    parts = parts_of(language.binding)
    contained = set().union(*(part.contains for part in parts)) if language.binding else set(with_prefix)
    found = reached(parts, names_in_tests(language.tests))
    called = {with_prefix[name] for name in contained & with_prefix.keys()}
    tested = {with_prefix[name] for name in found & with_prefix.keys()}
    return functions - called, called - tested


def unexcused(kind: str, found: set[str], exceptions: dict[str, str]) -> Iterator[str]:
    """Yields an error for each gap without an exception, and for each exception without a gap."""
    for name in sorted(found):
        if not any(fnmatch.fnmatch(name, pattern) for pattern in exceptions):
            yield f"florence2_{name}: {kind}"
    for pattern in exceptions:
        if not fnmatch.filter(found, pattern):
            yield f"{pattern}: found an exception in coverage.py, expected none: it is no longer true that it is {kind}"


def print_gaps(name: str, language: Language, functions: set[str]) -> None:
    """Prints the gaps without the exceptions, and the functions that the conformance driver does not reach."""
    not_called, not_tested = gaps(language, functions)
    by_driver = Language(language.binding, [path for path in language.tests if "conformance" in path])
    for kind, found in (
        ("not called", not_called),
        ("not tested", not_tested),
        ("tested, but not by the conformance driver", gaps(by_driver, functions)[1] - not_tested),
    ):
        print(f"{name}: {kind}: {' '.join(sorted(found))}")


def main() -> None:
    functions = functions_of_header()
    if "--list" in sys.argv:
        for name, language in LANGUAGES.items():
            print_gaps(name, language, functions)
        return
    failed = False
    for name, language in LANGUAGES.items():
        not_called, not_tested = gaps(language, functions)
        errors = [*unexcused("not called", not_called, language.not_called)]
        errors += unexcused("not tested", not_tested, language.not_tested)
        for error in errors:
            print(f"{name}: {error}")
        failed |= bool(errors)
        print(f"{name}: {len(functions)} functions, {len(not_called)} not called, {len(not_tested)} not tested")
    sys.exit(failed)


if __name__ == "__main__":
    main()
