"""Writes cases.json: calls for the library in every language, and the results of transformers.

    pip install -r ../fixtures/requirements.txt pillow && python make_cases.py

The cases use the demo model. Coordinates are the integers that transformers returns.
"""

import json
import re
import sys
from pathlib import Path

import torch
from transformers import Florence2ForConditionalGeneration

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "fixtures"))
from demo import MODEL, pixel_values  # noqa: E402
from postprocess import processor  # noqa: E402

SCENES = {"scene-1.png": (192, 192), "scene-2.jpg": (480, 320)}
LONG = {"num_beams": 8, "min_new_tokens": 200, "max_new_tokens": 200}


class Reference:
    """The model and the processor of transformers, with the image of the first scene."""

    def __init__(self):
        self.processor = processor()
        self.tokenizer = self.processor.tokenizer
        self.model = Florence2ForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float64, attn_implementation="eager").eval()
        self.pixels = pixel_values().double()
        with torch.no_grad():
            self.image_tokens = self.model.model.get_image_features(self.pixels).pooler_output.shape[1]

    def inputs(self, task, text):
        [prompt] = self.processor._construct_prompts((task or "") + (text or ""))
        ids = [self.model.config.image_token_id] * self.image_tokens + self.tokenizer(prompt).input_ids
        return {"pixel_values": self.pixels, "input_ids": torch.tensor([ids])}

    def generate(self, task, text, options):
        """Returns the token ids and the scores of the generated sequences, best first."""
        beams = options.get("num_beams", self.model.generation_config.num_beams) > 1
        with torch.no_grad():
            output = self.model.generate(
                **self.inputs(task, text), **options, return_dict_in_generate=True, output_scores=True,
            )
        ids = [self.trim(row) for row in output.sequences.tolist()]
        if beams:
            return ids, output.sequences_scores.tolist()
        steps = zip(output.scores, ids[0][1:])
        return ids, [sum(torch.log_softmax(step[0], -1)[token].item() for step, token in steps) / (len(ids[0]) - 1)]

    def trim(self, ids):
        end = self.model.config.text_config.eos_token_id
        return ids[:ids.index(end, 1) + 1] if end in ids[1:] else ids

    def score(self, task, target):
        labels = torch.tensor([self.tokenizer(target).input_ids])
        with torch.no_grad():
            output = self.model(**self.inputs(task, None), labels=labels)
        log_probs = torch.log_softmax(output.logits[0], -1).gather(1, labels.T)[:, 0]
        return {"loss": output.loss.item(), "log_probs": log_probs.tolist()}

    def answer(self, task, ids, score, size):
        text = self.tokenizer.decode(ids, skip_special_tokens=False)
        plain = re.sub("<s>|</s>|<pad>", "", text).strip()
        regions = []
        if task is not None:
            regions = flatten(self.processor.post_process_generation(text=text, task=task, image_size=size)[task])
        return {"text": plain, "token_ids": ids, "sequence_score": score, "regions": regions}


def flatten(result):
    """Converts a result of transformers to regions with kind, label and points."""
    if isinstance(result, str):
        return []
    pairs = lambda flat: [list(pair) for pair in zip(flat[::2], flat[1::2])]
    labels = result.get("labels") or result.get("bboxes_labels") or []
    regions = [("box", label, pairs(box)) for box, label in zip(result.get("bboxes", []), labels)]
    regions += [("quad", label, pairs(quad)) for quad, label in zip(result.get("quad_boxes", []), labels)]
    polygon_labels = result.get("polygons_labels", result.get("labels"))
    for rings, label in zip(result.get("polygons", []), polygon_labels or []):
        regions += [("polygon", label, pairs(ring)) for ring in rings]
    return [{"kind": kind, "label": label, "points": points} for kind, label, points in regions]


def asked(image, question):
    task, text = re.fullmatch(r"(<[A-Z_]+>)(.*)", question).groups()
    return {"image": image, "task": task} | ({"input": text} if text else {})


def scene_cases(reference):
    for image, size in SCENES.items():
        scene = json.loads((MODEL / "scenes" / image).with_suffix(".json").read_text())
        for question, stored in scene.items():
            request = asked(image, question)
            answer = reference.answer(request["task"], stored["reference_ids"], stored["reference_sequence_score"], size)
            yield {"name": f"{image} {request['task']}", "call": "run", "requests": [request], "expected": {"answers": [answer]}}


def option_cases(reference):
    """Yields calls with other generation options than the model's."""
    caption, grounding = "<CAPTION>", "<CAPTION_TO_PHRASE_GROUNDING>"
    for name, task, text, options in [
        ("greedy", "<OD>", None, {"num_beams": 1}),
        ("wide beams", "<DENSE_REGION_CAPTION>", None, {"num_beams": 6, "length_penalty": 2.0}),
        ("short", caption, None, {"max_new_tokens": 5}),
        ("more new tokens than positions", caption, None, {"max_new_tokens": 100000}),
        ("penalties", caption, None, {"num_beams": 2, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2}),
        ("never", caption, None, {"num_beams": 4, "early_stopping": "never", "length_penalty": 0.5}),
        ("several", caption, None, {"num_beams": 3, "num_return_sequences": 3}),
        ("unicode", grounding, "ein weißer Kreis 🟠 та 星", {}),
        ("free prompt", None, "What is the region <loc_1>? ", {"num_beams": 1, "max_new_tokens": 9}),
    ]:
        ids, scores = reference.generate(task, text, options)
        answers = [reference.answer(task, *pair, SCENES["scene-1.png"]) for pair in zip(ids, scores)]
        answers[0]["alternatives"] = [answer["text"] for answer in answers[1:]]
        request = {"image": "scene-1.png"} | ({"task": task} if task else {"prompt": text}) | ({"input": text} if task and text else {})
        yield {"name": name, "call": "run", "generation": options, "requests": [request], "expected": {"answers": answers[:1]}}


def batches(cases):
    """Yields batches with one image and with both. The results equal those of the requests alone."""
    first = [case for case in cases if case["name"].startswith("scene-1")]
    every = lambda chosen: {
        "requests": [case["requests"][0] for case in chosen],
        "expected": {"answers": [case["expected"]["answers"][0] for case in chosen]},
    }
    yield {"name": "all tasks in a batch", "call": "run"} | every(first)
    yield {"name": "two images in a batch", "call": "run"} | every(cases[3:5] + cases[18:20] + cases[0:1])
    yield {"name": "an image encoded once", "call": "run", "encode_first": True} | every(first[:4])
    by_task = {case["requests"][0]["task"]: case for case in first}
    category = by_task["<REGION_TO_CATEGORY>"]
    bins = [int(bin) for bin in re.findall(r"\d+", category["requests"][0]["input"])]
    region = [(bin + 0.5) * 192 / 1000 for bin in bins]
    request = {"image": "scene-1.png", "task": "<REGION_TO_CATEGORY>", "region": region}
    yield {"name": "a region in pixels", "call": "run", "requests": [request], "expected": category["expected"]}


def control_cases(reference, cases):
    caption = {"image": "scene-1.png", "task": "<CAPTION>"}
    ids, _ = reference.generate("<CAPTION>", None, {"num_beams": 1})
    text = reference.tokenizer.decode(ids[0], skip_special_tokens=True)
    yield {"name": "stream", "call": "stream", "generation": {"num_beams": 1}, "requests": [caption], "expected": {"streamed": text}}
    yield {"name": "stop", "call": "stop", "stop_after": 3, "generation": {"num_beams": 1}, "requests": [caption], "expected": {"stopped": 3}}
    yield {"name": "cancel", "call": "cancel", "after_ms": 20, "generation": LONG, "requests": [caption], "expected": {"cancelled": True}}
    yield {"name": "deadline", "call": "deadline", "after_ms": 5, "generation": LONG, "requests": [caption], "expected": {"expired": True}}
    for target in ["a white circle", "ein weißer Kreis 🟠"]:
        expected = reference.score("<CAPTION>", target)
        yield {"name": f"score {target}", "call": "score", "target": target, "requests": [caption], "expected": expected}


def errors():
    """Yields calls that fail in every language, and a part of the error message."""
    caption = {"image": "scene-1.png", "task": "<CAPTION>"}
    for name, request, generation, says in [
        ("unknown task", caption | {"task": "<NOTHING>"}, {}, "<NOTHING>"),
        ("missing input", caption | {"task": "<OPEN_VOCABULARY_DETECTION>"}, {}, "<OPEN_VOCABULARY_DETECTION>"),
        ("input of a task without", caption | {"input": "a cat"}, {}, "<CAPTION>"),
        ("no beams", caption, {"num_beams": 0}, "num_beams"),
        ("unknown option", caption, {"numbeams": 3}, "numbeams"),
        ("more answers than beams", caption, {"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences"),
        ("missing image", caption | {"image": "nowhere.png"}, {}, "nowhere.png"),
        ("no image", caption | {"image": "scene-1.json"}, {}, "scene-1.json"),
        ("region out of order", {"image": "scene-1.png", "task": "<REGION_TO_CATEGORY>", "region": [90, 90, 10, 10]}, {}, "region"),
    ]:
        yield {"name": name, "call": "run", "generation": generation, "requests": [request], "expected": {"error": says}}
    yield {"name": "unknown device", "call": "load", "device": "abacus", "expected": {"error": "abacus"}}
    yield {"name": "missing model", "call": "load", "directory": "nowhere", "expected": {"error": "nowhere"}}


def main():
    reference = Reference()
    cases = list(scene_cases(reference))
    cases += [*option_cases(reference), *batches(cases), *control_cases(reference, cases), *errors()]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
