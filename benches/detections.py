"""Measures how well scores rank detections, and how well they are calibrated, on generated scenes.

    pip install pillow
    cargo build --release -p florence2-cli
    python3 benches/detections.py [--seed 77] [--count 300] [any flag of `florence2 run`]

Draws scenes with benches/scenes.py (without those that show a label twice) and detects their shapes. Prints for each
score of a region:

- AP50, AP75 and AP: the average precision at an overlap (intersection over union) of 0.50, of 0.75, and its mean from
  0.50 to 0.95, with 101 points of recall, as the mean over the labels; detections are ranked by the score. A detection
  matches the free box of its label with the largest overlap. `none` ranks by the order in the answer.
- ECE: the expected calibration error in 10 bins. A detection is a hit if it overlaps a box of its label by 0.5.
"""

import argparse
import collections
import json
import pathlib
import random
import subprocess
import tempfile

import agreement
import scenes

SCORES = {
    "none": None,
    "label": lambda score: score["label"],
    "locations": lambda score: score["locations"],
    "overall": lambda score: score["overall"],
}


def draw(folder, count, seed):
    """Draws scenes. Returns their files and their boxes: label -> scene -> boxes."""
    rng, paths = random.Random(seed), []
    boxes = collections.defaultdict(lambda: collections.defaultdict(list))
    while len(paths) < count:
        image, shapes = scenes.scene(rng)
        if len({label for label, _ in shapes}) < len(shapes):
            continue
        for label, box in shapes:
            boxes[label][len(paths)].append(box)
        paths.append(folder / f"{len(paths):04}.png")
        image.save(paths[-1])
    return paths, boxes


def detect(paths, flags):
    """Returns the detections: label -> tuples of a scene, a box and the scores."""
    command = [agreement.target() / "release/florence2", "run", *paths, "--task", "OD", "--format", "jsonl", *flags]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    detections = collections.defaultdict(list)
    for scene, line in enumerate(lines):
        for region in json.loads(line)["regions"]:
            detections[region["label"]].append((scene, agreement.box(region), region["score"]))
    return detections


def hits(detections, boxes, overlap):
    """Returns for each detection, in this order, whether it matches a box that no earlier one matches."""
    free = {scene: list(found) for scene, found in boxes.items()}
    matched = []
    for scene, box, _ in detections:
        candidates = free.get(scene, [])
        overlaps = [agreement.intersection_over_union(candidate, box) for candidate in candidates]
        best = max(range(len(overlaps)), key=overlaps.__getitem__, default=None)
        matched.append(best is not None and overlaps[best] >= overlap)
        if matched[-1]:
            candidates.pop(best)
    return matched


def average_precision(ranked, boxes, overlap):
    """The average precision of one label's detections, in the order of their rank."""
    total, found, points = sum(map(len, boxes.values())), 0, []
    for index, hit in enumerate(hits(ranked, boxes, overlap)):
        found += hit
        points.append((found / total, found / (index + 1)))
    at = lambda recall: max((precision for reached, precision in points if reached >= recall), default=0.0)
    return sum(at(step / 100) for step in range(101)) / 101


def calibration_error(ranked, boxes, score):
    """The expected calibration error of all labels' detections."""
    bins = collections.defaultdict(list)
    for label, found in ranked.items():
        for (_, _, scores), hit in zip(found, hits(found, boxes.get(label, {}), 0.5)):
            value = score(scores)
            bins[min(int(10 * value), 9)].append((value, hit))
    total = sum(map(len, bins.values()))
    return sum(abs(sum(value - hit for value, hit in found)) for found in bins.values()) / total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--count", type=int, default=300)
    arguments, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        paths, boxes = draw(pathlib.Path(folder), arguments.count, arguments.seed)
        detections = detect(paths, flags)
    objects = sum(len(found) for scene in boxes.values() for found in scene.values())
    print(f"{objects} objects, {sum(map(len, detections.values()))} detections\n")
    print("| score | AP50 | AP75 | AP | ECE |\n|---|---|---|---|---|")
    for name, score in SCORES.items():
        rank = (lambda detection: -score(detection[2])) if score else (lambda _: 0)
        ranked = {label: sorted(found, key=rank) for label, found in detections.items()}
        values = []
        for overlap in (0.5 + 0.05 * step for step in range(10)):
            per_label = [average_precision(ranked.get(label, []), boxes[label], overlap) for label in boxes]
            values.append(sum(per_label) / len(per_label))
        error = f"{calibration_error(ranked, boxes, score):.3f}" if score else ""
        print(f"| {name} | {values[0]:.3f} | {values[5]:.3f} | {sum(values) / 10:.3f} | {error} |")


main()
