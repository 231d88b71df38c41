"""Checks the relative links of the README, the guide and the other Markdown files: the file and the heading must exist.

    python3 tests/links.py

Links of the guide must stay in docs/src, because the built guide contains no other files. Every page must be in SUMMARY.md.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs/src"
LINK = re.compile(r"\]\(([^()\s]+)\)")


def prose_of(page: Path) -> str:
    """Returns the page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """Returns the ids of the page's headings, as GitHub and mdBook derive them."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def problem_of(page: Path, link: str) -> str | None:
    if re.match(r"[a-z]+:", link):
        return None
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return "the file does not exist"
    if GUIDE in page.parents and GUIDE not in target.parents:
        return "the target is outside docs/src"
    if anchor and anchor not in anchors_of(target):
        return "the file has no such heading"
    return None


def main() -> None:
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, text=True)
    pages = [ROOT / name for name in listed.splitlines() if (ROOT / name).exists()]
    problems = []
    for page in pages:
        for link in LINK.findall(prose_of(page)):
            if problem := problem_of(page, link):
                problems.append(f"{page.relative_to(ROOT)}: `{link}`: {problem}")
    summary = (GUIDE / "SUMMARY.md").read_text()
    for page in sorted(GUIDE.rglob("*.md")):
        name = page.relative_to(GUIDE).as_posix()
        if name != "SUMMARY.md" and f"]({name})" not in summary:
            problems.append(f"docs/src/{name}: SUMMARY.md does not list it")
    if problems:
        sys.exit("\n".join(problems))
    print(f"the links of {len(pages)} files hold")


if __name__ == "__main__":
    main()
