"""Measures the agreement of bf16 and int8 with f32 on a folder of images.

    cargo build --release -p florence2-cli
    python3 benches/agreement.py IMAGES [--model DIR] [--task OD]

Prints for each precision the number of answers with the same token ids as f32, the number with the same labels, and the
mean intersection over union of the boxes in answers with the same labels.
"""

import argparse
import json
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]


def target():
    """Returns cargo's target directory."""
    cargo = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"]
    return pathlib.Path(json.loads(subprocess.check_output(cargo, cwd=ROOT))["target_directory"])


def answers(arguments, precision):
    images = sorted(path for path in arguments.images.iterdir() if path.suffix in {".png", ".jpg"})
    command = [target() / "release/florence2", "run", *images, "--dtype", precision, "--task", arguments.task, "--format", "jsonl"]
    if arguments.model:
        command += ["--model", arguments.model]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def box(region):
    xs, ys = zip(*region["points"])
    return min(xs), min(ys), max(xs), max(ys)


def intersection_over_union(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b))
    return width * height / (areas - width * height) if areas else 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("--model")
    parser.add_argument("--task", default="OD")
    arguments = parser.parse_args()
    expected = answers(arguments, "f32")
    print("| precision | images | same ids | same labels | overlap of boxes |\n|---|---|---|---|---|")
    for precision in ("bf16", "int8"):
        found = answers(arguments, precision)
        pairs = list(zip(found, expected, strict=True))
        same_ids = sum(a["token_ids"] == b["token_ids"] for a, b in pairs)
        labels = lambda answer: [region["label"] for region in answer["regions"]]
        alike = [(a, b) for a, b in pairs if labels(a) == labels(b)]
        overlaps = [
            intersection_over_union(box(x), box(y))
            for a, b in alike
            for x, y in zip(a["regions"], b["regions"])
        ]
        mean = statistics.mean(overlaps) if overlaps else float("nan")
        print(f"| {precision} | {len(pairs)} | {same_ids} | {len(alike)} | {mean:.4f} |")


if __name__ == "__main__":
    main()
