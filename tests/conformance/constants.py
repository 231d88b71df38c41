"""Checks the constants that bindings write by hand: numbers in Swift, names in Go, and the tokens of tasks in both.

    python3 tests/conformance/constants.py

Python's constants are generated from the header (`cargo xtask header`), and C++ and Go take the numbers from the header.
Swift cannot: the raw values of its enums must be literals.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GO = ROOT / "bindings/go"
SWIFT = ROOT / "bindings/swift/Sources/Florence2"
# Swift's types and the enums of the header whose numbers they repeat.
SWIFT_TYPES = {
    "Status": "status",
    "LogLevel": "log_level",
    "PixelFormat": "pixel_format",
    "YUVMatrix": "yuv_matrix",
    "YUVRange": "yuv_range",
    "Coordinates": "coordinates",
    "PostProcessingType": "post_processing_type",
}
# Members that a binding expresses otherwise.
NOT_IN_SWIFT = {
    "FLORENCE2_STATUS_OK": "no error",
    "FLORENCE2_LOG_LEVEL_OFF": "removeLogHandler",
    "FLORENCE2_POST_PROCESSING_TYPE_UNKNOWN": "nil",
}
# The enums whose members each have a name in Go.
GO_ENUMS = (
    "status", "log_level", "finish_reason", "region_kind", "pixel_format", "yuv_format", "yuv_matrix", "yuv_range", "coordinates",
    "task_input", "post_processing_type",
)
NOT_IN_GO = {"FLORENCE2_FINISH_REASON_NONE": "a result is not NULL"}


def enums_of_header() -> dict[str, dict[str, int]]:
    """The members of each enum and their numbers, without the prefix `florence2_` of the enum."""
    header = re.sub(r"/\*.*?\*/", "", (ROOT / "include/florence2.h").read_text(), flags=re.S)
    return {
        name: {member: int(number) for member, number in re.findall(r"(\w+) = (\d+)", body)}
        for name, body in re.findall(r"^enum florence2_(\w+)[^{;]*\{(.*?)\};", header, re.S | re.M)
    }


def code(folder: Path, extension: str) -> str:
    """The source code in a folder without comments."""
    files = sorted(folder.glob(f"*.{extension}"))
    return re.sub(r"//[^\n]*", "", "\n".join(path.read_text() for path in files if not path.name.endswith("_test.go")))


def swift_numbers(swift: str, name: str) -> dict[str, int]:
    """The numbers of an enum, whose cases count upwards, or of the constants of a struct."""
    numbers = {case: int(number) for case, number in re.findall(rf"static let (\w+) = {name}\(rawValue: (\d+)\)", swift)}
    body = re.search(rf"enum {name}: Int32[^{{]*\{{(.*?)\n    \}}", swift, re.S)
    following = 0
    for case, number in re.findall(r"^\s*case (\w+)(?: = (\d+))?\s*$", body[1] if body else "", re.M):
        following = int(number or following)
        numbers[case] = following
        following += 1
    return numbers


def swift_errors(swift: str, enums: dict[str, dict[str, int]]) -> Iterator[str]:
    for name, enum in SWIFT_TYPES.items():
        prefix = f"FLORENCE2_{enum.upper()}_"
        members = {member: number for member, number in enums[enum].items() if member not in NOT_IN_SWIFT}
        expected = {camel(member.removeprefix(prefix)): number for member, number in members.items()}
        found = swift_numbers(swift, name)
        if found != expected:
            yield f"swift: {name}: found {found}, expected {expected}"


def camel(name: str) -> str:
    first, *words = name.lower().split("_")
    return first + "".join(map(str.capitalize, words))


def go_errors(go: str, enums: dict[str, dict[str, int]]) -> Iterator[str]:
    for enum in GO_ENUMS:
        for member in enums[enum]:
            if member not in NOT_IN_GO and not re.search(rf"\bC\.{member}\b", go):
                yield f"go: found no {member}, expected a name for it"


def token_errors(language: str, found: str) -> Iterator[str]:
    """The tasks that a binding lists are those of the library, or it lists none."""
    token = re.compile(r'"(<[A-Z_]+>)"')
    expected = set(token.findall((ROOT / "crates/florence2-processor/src/prompt/task.rs").read_text()))
    tokens = set(token.findall(found))
    if tokens and tokens != expected:
        yield f"{language}: tasks: found {sorted(tokens)}, expected {sorted(expected)}"


def main() -> None:
    enums = enums_of_header()
    go, swift = code(GO, "go"), code(SWIFT, "swift")
    errors = [*swift_errors(swift, enums), *go_errors(go, enums)]
    errors += [*token_errors("go", go), *token_errors("swift", swift)]
    print("\n".join(errors) or f"the constants of {len(enums)} enums and of the tasks agree")
    sys.exit(bool(errors))


if __name__ == "__main__":
    main()
