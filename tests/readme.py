"""Runs the README's commands for each language and compares their output with the README. Also checks that the README's
code blocks are parts of the files that the README links.

    python3 tests/readme.py [LANGUAGE..]      of Rust C C++ Go Swift Python; all by default

As in CI, Go and Swift are installed if they are missing, and Python runs in a new virtual environment.
"""

import json
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
METADATA = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"]
TARGET = json.loads(subprocess.check_output(METADATA, cwd=ROOT))["target_directory"]
LANGUAGES = ["Rust", "C", "C++", "Go", "Swift", "Python"]
# Shell code that runs before a language's commands, so that they work as on a machine with the language installed.
BEFORE = {
    "Go": "source bindings/go/toolchain.sh",
    "Swift": 'swift() { SEEN=$target bindings/swift/toolchain.sh "$PWD" swift "$@"; }',
    "Python": 'python3 -m venv "$folder/venv" && PATH=$folder/venv/bin:$PATH',
}


def section(readme: str, language: str) -> str:
    found = re.search(rf"^## In {re.escape(language)}\n(.*?)^## ", readme, re.DOTALL | re.MULTILINE)
    if not found:
        sys.exit(f"README.md: expected a section `## In {language}`")
    return found[1]


def check_code(language: str, text: str) -> None:
    """Checks that every code block is a part of the last file linked before it, except for the indentation."""
    blocks = [block for block in re.finditer(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if block[1] != "console"]
    if not blocks:
        sys.exit(f"README.md, {language}: expected a block of code")
    for block in blocks:
        file = re.findall(r"\]\((examples/[^)]*)\)", text[: block.start()])[-1]
        lines = (ROOT / file).read_text().splitlines()
        size = block[2].count("\n")
        parts = (textwrap.dedent("\n".join(lines[at : at + size])) + "\n" for at in range(len(lines) - size + 1))
        if block[2] not in parts:
            sys.exit(f"README.md, {language}: a block of code is not in {file}")


def in_target(command: str) -> str:
    """Returns the command with `target` replaced by cargo's target directory, which CARGO_TARGET_DIR may set."""
    return re.sub(r"(?<![\w/])(\$PWD/)?target/", f"{TARGET}/", command)


def run_commands(language: str, text: str) -> None:
    """Runs the commands of the console block, and compares their output where the README prints it."""
    [console] = re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    commands = [part.split("\n", 1) for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]]
    with tempfile.TemporaryDirectory() as folder:
        script = ["set -euo pipefail", f"folder={folder}", f"target={TARGET}", BEFORE.get(language, "")]
        for index, (command, printed) in enumerate(commands):
            script.append(f"echo '$' {command!r} >&2")
            runnable = in_target(command)
            script.append(f"{runnable} > $folder/{index}" if printed else f"{runnable} >&2")
        subprocess.run(["bash", "-c", "\n".join(script)], cwd=ROOT, check=True)
        outputs = [(command, printed, index) for index, (command, printed) in enumerate(commands) if printed]
        if not outputs:
            sys.exit(f"README.md, {language}: expected a command with its output")
        for command, printed, index in outputs:
            found = (Path(folder) / str(index)).read_text()
            if found != printed:
                sys.exit(f"README.md, {language}: `{command}`: found\n{found}expected\n{printed}")


def main() -> None:
    readme = (ROOT / "README.md").read_text()
    for language in sys.argv[1:] or LANGUAGES:
        text = section(readme, language)
        check_code(language, text)
        try:
            run_commands(language, text)
        finally:
            (ROOT / "detect").unlink(missing_ok=True)
        print(f"README.md: what it says of {language} holds")


if __name__ == "__main__":
    main()
