"""Draws held-out scenes for the demo model, with coloured shapes and short words.

    pip install pillow
    python3 benches/scenes.py FOLDER [COUNT] [SEED]

FOLDER is also a data set, with the objects in annotations.jsonl: `florence2 eval FOLDER` evaluates a model on it.
benches/agreement.py compares precisions on these scenes, benches/detections.py measures detections.
"""

import json
import math
import pathlib
import random
import sys

from PIL import Image, ImageDraw, ImageFont

COLOURS = {
    "red": (214, 40, 40), "green": (46, 160, 67), "blue": (38, 84, 200), "yellow": (240, 200, 30),
    "orange": (240, 130, 20), "purple": (130, 60, 170), "black": (25, 25, 25), "white": (245, 245, 245),
}  # fmt: skip
BACKGROUNDS = [(128, 128, 128), (200, 200, 200), (225, 210, 180), (170, 200, 225), (235, 180, 190), (120, 85, 60)]
SHAPES = ["circle", "square", "triangle", "star", "cross"]
WORDS = ["STOP", "EXIT", "OPEN", "CAFE", "TAXI", "SALE", "HELLO", "WORLD", "RUST", "BURN", "PARK", "HOTEL"]
SIDE = 192
# Scenes are drawn at twice the size and then reduced, so that edges are smooth.
SCALE = 2


def outline(shape, x, y, radius):
    """Returns the corners of a shape around (x, y)."""
    if shape == "square":
        return [(x - radius, y - radius), (x + radius, y - radius), (x + radius, y + radius), (x - radius, y + radius)]
    if shape == "triangle":
        return [(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)]
    if shape == "star":
        spikes = [(radius if k % 2 == 0 else 0.42 * radius, math.pi * k / 5 - math.pi / 2) for k in range(10)]
        return [(x + r * math.cos(angle), y + r * math.sin(angle)) for r, angle in spikes]
    arm = 0.36 * radius
    near, far = [-arm, arm], [-radius, radius]
    return [
        (x + near[0], y + far[0]), (x + near[1], y + far[0]), (x + near[1], y + near[0]), (x + far[1], y + near[0]),
        (x + far[1], y + near[1]), (x + near[1], y + near[1]), (x + near[1], y + far[1]), (x + near[0], y + far[1]),
        (x + near[0], y + near[1]), (x + far[0], y + near[1]), (x + far[0], y + near[0]), (x + near[0], y + near[0]),
    ]  # fmt: skip


def overlaps(a, b, gap=4):
    return not (a[2] + gap < b[0] or b[2] + gap < a[0] or a[3] + gap < b[1] or b[3] + gap < a[1])


def jittered(colour, by, rng):
    return tuple(max(0, min(255, part + rng.randint(-by, by))) for part in colour)


def extent(points):
    xs, ys = zip(*points)
    return min(xs), min(ys), max(xs), max(ys)


def draw_shape(draw, used, rng):
    """Draws a shape at a free position. Returns its label and its box, or None if it finds no position."""
    for _ in range(30):
        radius = rng.choice([rng.uniform(13, 19), rng.uniform(27, 40)])
        x, y = (rng.uniform(radius + 3, SIDE - radius - 3) for _ in "xy")
        box = (x - radius, y - radius, x + radius, y + radius)
        if any(overlaps(box, other) for other in used):
            continue
        shape, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
        fill = jittered(COLOURS[colour], 14, rng)
        used.append(box)
        if shape == "circle":
            draw.ellipse([SCALE * side for side in box], fill=fill)
            return f"{colour} {shape}", box
        points = outline(shape, x, y, radius)
        draw.polygon([(SCALE * px, SCALE * py) for px, py in points], fill=fill)
        return f"{colour} {shape}", extent(points)
    return None


def draw_word(draw, used, background, rng):
    """Draws a word at a free position. Draws nothing if it finds none."""
    for _ in range(30):
        text, font = rng.choice(WORDS), ImageFont.load_default(size=SCALE * rng.randint(17, 28))
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        width, height = (right - left) / SCALE, (bottom - top) / SCALE
        if width > SIDE - 8:
            continue
        x, y = rng.uniform(4, SIDE - width - 4), rng.uniform(4, SIDE - height - 4)
        box = (x, y, x + width, y + height)
        if any(overlaps(box, other) for other in used):
            continue
        fill = (20, 20, 20) if sum(background) > 330 else (240, 240, 240)
        draw.text((SCALE * x - left, SCALE * y - top), text, fill=fill, font=font)
        used.append(box)
        return


def scene(rng):
    """Returns the image and its shapes: pairs of a label and a box in pixels."""
    background = jittered(rng.choice(BACKGROUNDS), 12, rng)
    image = Image.new("RGB", (SCALE * SIDE, SCALE * SIDE), background)
    draw, used = ImageDraw.Draw(image), []
    shapes = [draw_shape(draw, used, rng) for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4]))]
    if rng.random() < 0.5:
        for _ in range(rng.choice([1, 1, 2])):
            draw_word(draw, used, background, rng)
    return image.resize((SIDE, SIDE), Image.LANCZOS), [shape for shape in shapes if shape]


def locations(box):
    """Returns the location tokens of a box."""
    return "".join(f"<loc_{max(0, min(999, int(side / SIDE * 1000)))}>" for side in box)


def main():
    folder = pathlib.Path(sys.argv[1])
    count, seed = (int(text) for text in (sys.argv[2:] + ["300", "77"][len(sys.argv) - 2 :])[:2])
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    with open(folder / "annotations.jsonl", "w") as annotations:
        for index in range(count):
            image, shapes = scene(rng)
            name = f"{index:03}.png"
            image.save(folder / name)
            suffix = "".join(label + locations(box) for label, box in shapes)
            line = {"image": name, "prefix": "<OD>", "suffix": suffix}
            annotations.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
