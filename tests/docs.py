"""Runs the code blocks of the README and of the guide (docs/src), and compares their output with the page.

    python3 tests/docs.py [--update] [PAGE..]     PAGE: README.md, docs/src/tasks/ocr.md, ..; all pages by default

`--update` writes the real outputs and pictures into the pages instead of comparing them.

- `console`: the commands after `$ ` run in one shell per page. Lines below a command are its expected output; numbers
  with a fraction may differ by 0.002. `--draw NAME.png` must write the picture docs/src/images/NAME.png, if the page shows it.
- `c`, `cpp`: compiled. A block without `#include` is the body of FUNCTION.
- `python`: the blocks of a page are one program, which runs after the page's commands.
- `toml`, `json`: parsed.
- `rust`: run by the tests of the crate docs/snippets.
- `go`, `swift`, `cmake`: must state their file.

A comment on the line before a block changes this:

- `<!-- file: PATH -->`: the block is a part of this file, apart from the indentation. It is not run by itself.
- `<!-- fails -->`: each command with an output must fail. The output includes standard error.
- `<!-- not run: REASON -->`: the block is not run. The list of these blocks is printed at the end.
- `<!-- not called: REASON -->`: a `rust` block is compiled, but not called.

`<!-- setup: NAME -->` at the start of a page runs the code in SETUP before its commands.
"""

import json
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs/src"
METADATA = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"]
TARGET = json.loads(subprocess.check_output(METADATA, cwd=ROOT))["target_directory"]
TOLERANCE = 0.002
# Shell code that runs before a page's commands, so that they work as on a machine with the language installed.
SETUP = {
    "go": "source bindings/go/toolchain.sh",
    "swift": 'swift() { SEEN=$target bindings/swift/toolchain.sh "$PWD" swift "$@"; }',
    # The venv with the package installed, as the page on Python installs it.
    "python_package": """cargo xtask dist --features demo >&2
        cp $target/dist/lib/libflorence2.so bindings/python/src/florence2/
        python3 -m venv "$folder/venv"
        PATH=$folder/venv/bin:$PATH
        pip install --quiet ./bindings/python""",
    "python": 'python3 -m venv "$folder/venv" && PATH=$folder/venv/bin:$PATH',
}
# The function that a block of C or C++ without `#include` is the body of.
FUNCTION = {
    "c": """
        #include <florence2.h>
        #include <stdio.h>
        void block(florence2_model *model, florence2_image *image, florence2_error *error);
        void block(florence2_model *model, florence2_image *image, florence2_error *error) {
        """,
    "cpp": """
        #include <florence2.hpp>
        #include <iostream>
        void block(const florence2::model &model, const florence2::image &image);
        void block(const florence2::model &model, const florence2::image &image) {
        """,
}
COMPILERS = {
    "c": ["cc", "-std=c11", "-xc"],
    "cpp": ["c++", "-std=c++17", "-xc++", f"-I{ROOT}/bindings/cpp"],
}
BLOCK = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*) -->\n)?^```(?P<kind>\w+)[^\n]*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass
class Block:
    page: Path
    line: int
    kind: str
    text: str
    marker: str
    value: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass
class Command:
    text: str
    expected: str
    block: Block


def fail(place: str, message: str) -> NoReturn:
    sys.exit(f"{place}: {message}")


def blocks_of(page: Path) -> list[Block]:
    content = page.read_text()
    found: list[Block] = []
    for match in BLOCK.finditer(content):
        marker, _, value = (match["marker"] or "").partition(": ")
        line = content.count("\n", 0, match.start("text")) + 1
        if match["kind"] == "rust" and marker == "not run":
            fail(f"{page}:{line}", "found `not run`, expected `not called`, because the block is compiled")
        found.append(Block(page, line, match["kind"], match["text"], marker, value))
    if len(re.findall(r"^```", content, re.MULTILINE)) != 2 * len(found):
        fail(str(page), "expected a language after the opening line of each block")
    return found


def check_part(block: Block) -> None:
    """Checks that the block is a part of its file, apart from the indentation."""
    lines = (ROOT / block.value).read_text().splitlines()
    size = block.text.count("\n")
    parts = (textwrap.dedent("\n".join(lines[at : at + size])) + "\n" for at in range(len(lines) - size + 1))
    if block.text not in parts:
        fail(block.place, f"the block is not a part of {block.value}")


def check_compiles(block: Block) -> None:
    source = block.text
    if "#include" not in source:
        source = textwrap.dedent(FUNCTION[block.kind]) + source + "}\n"
    options = ["-fsyntax-only", "-Wall", "-Werror", "-Wno-unused", f"-I{ROOT}/include", "-"]
    if subprocess.run(COMPILERS[block.kind] + options, input=source, text=True).returncode != 0:
        fail(block.place, "the block does not compile")


def check_static(block: Block) -> None:
    """Checks a block that is not run in the page's shell."""
    if block.marker == "file":
        check_part(block)
    elif block.kind in COMPILERS:
        check_compiles(block)
    elif block.kind == "toml":
        tomllib.loads(block.text)
    elif block.kind == "json":
        json.loads(block.text)
    elif block.kind not in ("console", "python", "rust"):
        fail(block.place, f"found a block of {block.kind}, expected `<!-- file: PATH -->` before it")


def commands_of(block: Block) -> list[Command]:
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    commands = []
    for part in parts[1:]:
        command, expected = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n(.*)", part, re.DOTALL).groups()
        commands.append(Command(command, expected, block))
    return commands


def in_target(command: str) -> str:
    """Returns the command with `target` replaced by cargo's target directory, which CARGO_TARGET_DIR may set."""
    return re.sub(r"(?<![\w/])(\$PWD/)?target/", f"{TARGET}/", command)


def written_files(commands: list[Command]) -> list[str]:
    """Returns the names of the files that the commands write into the current folder."""
    return [name for command in commands for name in re.findall(r"(?:--draw|-o) ([\w.-]+)$", command.text, re.MULTILINE)]


def script_of(page: Path, commands: list[Command], python: str, folder: Path) -> str:
    setup = re.search(r"^<!-- setup: (\w+) -->$", page.read_text(), re.MULTILINE)
    lines = ["set -euo pipefail", f"folder={folder}", f"target={TARGET}", f"PATH={TARGET}/release:$PATH"]
    lines.append(SETUP[setup[1]] if setup else "")
    for index, command in enumerate(commands):
        runnable = in_target(command.text)
        lines.append("echo " + shlex.quote(f"$ {command.text}") + " >&2")
        if not command.expected:
            lines.append(f"{runnable} >&2")
        elif command.block.marker == "fails":
            lines.append(f"if {runnable} > {folder}/{index} 2>&1; then echo found success, expected failure >&2; exit 1; fi")
        else:
            lines.append(f"{runnable} > {folder}/{index}")
    if python:
        (folder / "page.py").write_text(python)
        lines.append(f"python3 {folder}/page.py >&2")
    return "\n".join(lines)


def same_output(found: str, expected: str) -> bool:
    """Compares outputs. Numbers with a fraction may differ by TOLERANCE: they depend on the processor's instructions."""
    number = r"-?\d+\.\d+"
    if re.sub(number, "N", found) != re.sub(number, "N", expected):
        return False
    pairs = zip(re.findall(number, found), re.findall(number, expected))
    return all(abs(float(a) - float(b)) <= TOLERANCE for a, b in pairs)


def write_output(command: Command, found: str) -> None:
    content = command.block.page.read_text()
    old = f"$ {command.text}\n{command.expected}"
    command.block.page.write_text(content.replace(old, f"$ {command.text}\n{found}"))


def compare(command: Command, found: str, update: bool) -> None:
    if same_output(found, command.expected):
        return
    if not update:
        fail(command.block.place, f"`{command.text}`: found\n{found}expected\n{command.expected}")
    write_output(command, found)
    print(f"{command.block.place}: wrote the output of `{command.text}`")


def compare_picture(page: Path, name: str, update: bool) -> None:
    """Compares a picture that a command wrote with the one that the page shows."""
    shown = re.search(rf"\]\(([\w./-]*images/{re.escape(name)})\)", page.read_text())
    if not shown:
        return
    stored, written = page.parent / shown[1], ROOT / name
    if update:
        stored.write_bytes(written.read_bytes())
    elif stored.read_bytes() != written.read_bytes():
        fail(str(page.relative_to(ROOT)), f"{name} differs from the picture that the command draws; tests/docs.py --update writes it")


def run_session(page: Path, blocks: list[Block], update: bool) -> None:
    """Runs the commands of a page in one shell, then its Python program."""
    commands = [command for block in blocks if block.kind == "console" for command in commands_of(block)]
    python = "".join(block.text for block in blocks if block.kind == "python" and block.marker != "file")
    if not commands and not python:
        return
    files = written_files(commands)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run = subprocess.run(["bash", "-c", script_of(page, commands, python, folder)], cwd=ROOT)
            if run.returncode != 0:
                fail(str(page.relative_to(ROOT)), "the last command above failed")
            for index, command in enumerate(commands):
                if command.expected:
                    compare(command, (folder / str(index)).read_text(), update)
        for file in files:
            if file.endswith(".png"):
                compare_picture(page, file, update)
    finally:
        for file in files:
            (ROOT / file).unlink(missing_ok=True)


def main() -> None:
    arguments = sys.argv[1:]
    update = "--update" in arguments
    named = [Path(argument).resolve() for argument in arguments if argument != "--update"]
    skipped = []
    for page in named or [ROOT / "README.md", *sorted(GUIDE.rglob("*.md"))]:
        blocks = blocks_of(page)
        skipped += [block for block in blocks if block.marker in ("not run", "not called")]
        run = [block for block in blocks if block.marker not in ("not run", "not called")]
        for block in run:
            check_static(block)
        run_session(page, run, update)
        if blocks:
            print(f"{page.relative_to(ROOT)}: {len(run)} of {len(blocks)} blocks hold")
    for block in skipped:
        print(f"{block.place}: {block.marker}: {block.value}")


if __name__ == "__main__":
    main()
