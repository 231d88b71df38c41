"""Compares a driver's output for each case with the expected output.

    driver CASES MODEL | python check.py LANGUAGE

Strings, ids, labels and coordinates must be equal. Scores and log-probabilities may differ by 1e-3, absolute or
relative.
"""

import json
import math
import sys
from pathlib import Path

TOLERANCE = 1e-3


def differences(found, expected, path=""):
    """Yields a message for each difference. Only the keys of `expected` are compared."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            if not isinstance(found, dict) or key not in found:
                yield f"{path}.{key}: found nothing, expected {value}"
            elif path == "" and key == "error":
                if value not in found[key]:
                    yield f"{path}.{key}: found {found[key]!r}, expected {value!r} in it"
            else:
                yield from differences(found[key], value, f"{path}.{key}")
    elif isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            yield f"{path}: found {found}, expected {expected}"
        else:
            for index, pair in enumerate(zip(found, expected)):
                yield from differences(*pair, f"{path}[{index}]")
    elif isinstance(expected, float) and isinstance(found, (int, float)):
        if not math.isclose(found, expected, abs_tol=TOLERANCE, rel_tol=TOLERANCE):
            yield f"{path}: found {found}, expected {expected}"
    elif found != expected:
        yield f"{path}: found {found!r}, expected {expected!r}"


def main():
    cases = json.loads((Path(__file__).parent / "cases.json").read_text())
    said = {line["name"]: line for line in map(json.loads, sys.stdin)}
    if not said:
        sys.exit(f"{sys.argv[1]}: the driver said nothing")
    failed = 0
    for case in cases:
        expected = case["expected"]
        found = said.get(case["name"], {})
        wrong = list(differences(found, expected))
        if "error" in found and not {"error", "stopped", "cancelled", "expired"} & set(expected):
            wrong.insert(0, f"found the error {found['error']!r}")
        for difference in wrong[:2]:
            print(f"{sys.argv[1]}: {case['name']}: {difference}"[:300])
        failed += bool(wrong)
    print(f"{sys.argv[1]}: {len(cases) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
