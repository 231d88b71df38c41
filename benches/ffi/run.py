"""Measures the overhead of the C API over the facade, in alternation, with the demo model.

    python3 benches/ffi/run.py

Prints the median over rounds of each round's median. The overhead is the difference of "outside", the time of a call
outside the model. It excludes the jitter of the model.
"""

import json
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets/demo-model"
ROUNDS = 15
LOADS = 10
RUNS = 300


def build() -> dict[str, Path]:
    """Builds the two programs and returns their paths."""
    cargo = ["cargo", "bench", "--workspace", "--bench", "calls", "--no-run", "--message-format=json"]
    messages = map(json.loads, subprocess.run(cargo, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.splitlines())
    [facade] = [message["executable"] for message in messages if message.get("target", {}).get("name") == "calls"]
    subprocess.run(["cargo", "xtask", "dist", "--features", "demo"], cwd=ROOT, check=True)
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"]
    target = Path(json.loads(subprocess.check_output(metadata, cwd=ROOT))["target_directory"])
    dist = target / "dist"
    c = target / "calls-c"
    compile_ = ["cc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{dist}/include"]
    link = [f"-L{dist}/lib", "-lflorence2", f"-Wl,-rpath,{dist}/lib", "-o", c]
    subprocess.run([*compile_, ROOT / "benches/ffi/calls.c", *link], check=True)
    return {"Rust": Path(facade), "C": c}


def measure(program: Path) -> dict[str, float]:
    """Runs one round and returns the microseconds of each part."""
    arguments = [program, ASSETS, ASSETS / "scenes/scene-1.png", str(LOADS), str(RUNS)]
    lines = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: float(value) for name, value in map(str.split, lines)}


def main() -> None:
    programs = build()
    rounds: dict[str, list[dict[str, float]]] = {language: [] for language in programs}
    for index in range(ROUNDS):
        # The order alternates, so that neither program is always first.
        for language in sorted(programs, reverse=index % 2 == 0):
            rounds[language].append(measure(programs[language]))
    print("| part | Rust µs | C µs | difference |\n|---|---|---|---|")
    for part in rounds["C"][0]:
        rust, c = (statistics.median(each[part] for each in rounds[language]) for language in ("Rust", "C"))
        print(f"| {part} | {rust:.1f} | {c:.1f} | {c - rust:+.1f} |")


if __name__ == "__main__":
    main()
