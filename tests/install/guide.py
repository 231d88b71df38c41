"""Prints the commands of a section of docs/src/install.md as a shell script, or the output that the section states:

    python3 tests/install/guide.py commands|output SECTION
"""

import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/src/install.md"


def lines_of(section: str) -> list[str]:
    """The lines of the section's `console` blocks."""
    found = re.search(rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    if not found:
        sys.exit(f"{PAGE.name}: found no section `{section}`")
    blocks = re.findall(r"^```console\n(.*?)^```$", found[1], re.M | re.S)
    return "".join(blocks).splitlines()


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1] not in ("commands", "output"):
        sys.exit(__doc__)
    lines = lines_of(sys.argv[2])
    if sys.argv[1] == "commands":
        chosen = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    else:
        chosen = [line for line in lines if not line.startswith("$ ")]
    if not chosen:
        sys.exit(f"{PAGE.name}: found no {sys.argv[1]} in the section `{sys.argv[2]}`")
    print("\n".join(chosen))


if __name__ == "__main__":
    main()
