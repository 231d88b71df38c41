"""Runs the cases of cases.json with the Python binding: driver.py CASES MODEL_FOLDER. Prints one JSON object per line."""

import json
import sys
import threading
from pathlib import Path

from florence2 import Cancel, Error, Image, Model, Request, Status

FOLDER = sys.argv[2]
MODEL = Model.load(FOLDER)


def answer_of(result):
    regions = [{"kind": region.kind, "label": region.label, "points": region.points} for region in result.regions]
    return {
        "text": result.text,
        "token_ids": result.token_ids,
        "sequence_score": result.sequence_score,
        "regions": regions,
        "alternatives": [alternative.text for alternative in result.alternatives],
    }


def request_of(asked, encode_first):
    image = Image(f"{FOLDER}/scenes/{asked['image']}")
    subject = MODEL.encode_image(image) if encode_first else image
    return Request(subject, **{key: value for key, value in asked.items() if key != "image"})


def listen(request, stop_after, options):
    heard = []

    def hear(token):
        heard.append(token.text)
        return len(heard) == stop_after

    try:
        MODEL.run_batch([request], on_token=hear, **options)
    except Error as error:
        if error.status != Status.CANCELLED:
            raise
    return {"streamed": "".join(heard), "stopped": len(heard)}


def end_early(request, call, after_ms, options):
    cancel, status = Cancel(), None
    limits = {"cancel": cancel} if call == "cancel" else {"timeout": after_ms / 1000}
    timer = threading.Timer(after_ms / 1000, cancel.fire)
    timer.start()
    try:
        MODEL.run_batch([request], **limits, **options)
    except Error as error:
        status = error.status
    timer.join()
    return {"cancelled": status == Status.CANCELLED, "expired": status == Status.DEADLINE_EXCEEDED}


def say(asked):
    call = asked["call"]
    if call == "load":
        Model.load(asked.get("directory", FOLDER), device=asked.get("device"))
        return {}
    requests = [request_of(request, "encode_first" in asked) for request in asked["requests"]]
    options = {"coordinates": "hf_integers", **asked.get("generation", {})}
    if call == "score":
        one = requests[0]
        score = MODEL.score(one.image, one.task, target=asked["target"])
        return {"loss": score.loss, "log_probs": [token.log_prob for token in score.tokens]}
    if call in ("stream", "stop"):
        return listen(requests[0], asked.get("stop_after"), options)
    if call in ("cancel", "deadline"):
        return end_early(requests[0], call, asked["after_ms"], options)
    return {"answers": [answer_of(result) for result in MODEL.run_batch(requests, **options)]}


for asked in json.loads(Path(sys.argv[1]).read_text()):
    try:
        said = say(asked)
    except Error as error:
        said = {"error": str(error)}
    print(json.dumps({"name": asked["name"], **said}))
