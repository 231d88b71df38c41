"""The binding on the demo model, whose answers on its scene are known."""

import io
import math
import subprocess
import sys
import threading
from pathlib import Path

import florence2
import numpy
import PIL.Image
import pytest
from florence2 import Cancel, Error, Image, Model, Request, Status

ASSETS = Path(__file__).parents[3] / "assets/demo-model"
SCENE = ASSETS / "scenes/scene-1.png"


@pytest.fixture(scope="module")
def model():
    return Model.demo()


def test_library():
    assert florence2.version() == florence2.__version__
    assert florence2.devices()[0] == "cpu"


def test_regions(model):
    result = model.run(SCENE, "<OD>")
    assert [region.label for region in result.regions] == ["white circle", "orange star", "purple square"]
    circle = result.regions[0]
    assert circle.kind == "box" and circle.points[0] == pytest.approx((31.392, 31.392))
    assert 0.9 < circle.score.label <= 1 and 0 < circle.score.locations < circle.score.label
    assert result.size == (192, 192) and result.task == "<OD>" and result.token_ids[0] == 2
    assert result.hf["<OD>"]["labels"] == [region.label for region in result.regions]
    compat = model.run(SCENE, "<OD>", hf_compat=True)
    assert all(value == int(value) for value in compat.hf["<OD>"]["bboxes"][0])


def test_every_kind_of_image(model):
    expected = model.run(SCENE, "<OD>").token_ids
    picture = PIL.Image.open(SCENE).convert("RGB")
    encoded = io.BytesIO()
    picture.save(encoded, "png")
    rgba = numpy.asarray(picture.convert("RGBA"))
    strided = numpy.asarray(picture)[:, ::-1][:, ::-1]
    for image in (str(SCENE), SCENE.read_bytes(), encoded.getvalue(), picture, numpy.asarray(picture), rgba, strided, Image(SCENE)):
        assert model.run(image, "<OD>").token_ids == expected
    assert Image(numpy.zeros((2, 5), numpy.uint8)).size == (5, 2)
    for wrong in (3, None, numpy.zeros((2, 2, 3)), numpy.zeros((2, 2, 2), numpy.uint8)):
        with pytest.raises(TypeError):
            Image(wrong)


def test_batches_features_and_options(model):
    features = model.encode_image(SCENE)
    requests = [Request(features, "<CAPTION>"), Request(SCENE, "<REGION_TO_CATEGORY>", region=(30, 30, 104, 104))]
    together = model.run_batch(requests, num_beams=2)
    assert together[0].token_ids == model.run(SCENE, "<CAPTION>", num_beams=2).token_ids
    alone = model.run(SCENE, "<REGION_TO_CATEGORY>", region=(30, 30, 104, 104), num_beams=2)
    assert together[1].token_ids == alone.token_ids
    several = model.run(SCENE, "<CAPTION>", num_beams=3, num_return_sequences=3)
    assert len(several.alternatives) == 2


def test_tokens_are_heard(model):
    heard = []
    result = model.run(SCENE, "<CAPTION>", num_beams=1, on_token=lambda request, text, log_prob: heard.append(text))
    assert result.text in "".join(heard) and len(heard) > 2
    with pytest.raises(Error) as stopped:
        model.run(SCENE, "<CAPTION>", num_beams=1, on_token=lambda *token: True)
    assert stopped.value.status == Status.CANCELLED

    def fail(*token):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.run(SCENE, "<CAPTION>", num_beams=1, on_token=fail)


def test_score(model):
    score = model.score(SCENE, "<CAPTION>", target="a white circle")
    assert score.loss == pytest.approx(-sum(token.log_prob for token in score.tokens) / len(score.tokens), rel=1e-4)


def test_system_and_warnings(model):
    assert florence2.system_info()["version"] == florence2.version()
    assert florence2.system_info()["devices"] == florence2.devices()
    assert model.warnings == []
    florence2.trim()
    with pytest.raises(Error, match="abacus"):
        florence2.set_simd_level("abacus")
    with pytest.raises(Error, match="f99"):
        Model.demo(dtype="f99")


def test_refusals(model):
    for status, run in {
        Status.INVALID_ARGUMENT: lambda: model.run(SCENE, "<NOTHING>"),
        Status.IO: lambda: model.run("nowhere.png", "<OD>"),
        Status.INVALID_IMAGE: lambda: model.run(b"no image", "<OD>"),
        Status.UNSUPPORTED_DEVICE: lambda: Model.demo(device="abacus"),
        Status.DEADLINE_EXCEEDED: lambda: model.run(SCENE, "<CAPTION>", deadline_ms=1, min_new_tokens=200, max_new_tokens=200),
    }.items():
        with pytest.raises(Error) as refused:
            run()
        assert refused.value.status == status and str(refused.value)
    with pytest.raises(Error, match="abacus"):
        Model.demo(device="abacus")
    with pytest.raises(Error, match="numbeams"):
        model.run(SCENE, "<OD>", numbeams=3)
    with pytest.raises(ValueError, match="NUL"):
        model.run(SCENE, "<O\0D>")
    cancel = Cancel()
    cancel.fire()
    assert cancel.fired
    with pytest.raises(Error) as cancelled:
        model.run(SCENE, "<OD>", cancel=cancel)
    assert cancelled.value.status == Status.CANCELLED


def test_folders_and_threads(model):
    loaded = Model.load(ASSETS, threads=1)
    expected = model.run(SCENE, "<OD>").token_ids
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(loaded.run(SCENE, "<OD>").token_ids)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 8


def test_unicode(model):
    result = model.run(SCENE, "<CAPTION_TO_PHRASE_GROUNDING>", input="ein weißer Kreis 🟠")
    assert math.isfinite(result.sequence_score)


def test_a_status_of_a_later_library_is_an_error(monkeypatch):
    class Later:
        def florence2_later(self, _error):
            return 99

        def florence2_error_message(self, _error):
            return b""

        def florence2_error_free(self, _error):
            pass

    monkeypatch.setattr(florence2._native, "_library", Later())
    with pytest.raises(Error, match="99") as refused:
        florence2._native.call_or_raise("later")
    assert refused.value.status == 99 and refused.value.status.name == "UNKNOWN"
    assert isinstance(refused.value.status, Status)
    with pytest.raises(ValueError):
        Status("a name")


THREADS_AT_EXIT = """
import sys, threading, time
from florence2 import Image, Model
model, image = Model.demo(threads=1), Image(sys.argv[1])
options = {"num_beams": 1, "min_new_tokens": 200, "max_new_tokens": 200}
if sys.argv[2] == "callback":
    options["on_token"] = lambda *token: None
started = threading.Event()

def work():
    while True:
        started.set()
        model.run(image, "<CAPTION>", **options)

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
started.wait()
time.sleep(float(sys.argv[3]))
"""


@pytest.mark.parametrize("kind", ["plain", "callback"])
def test_threads_run_at_the_interpreters_exit(kind):
    for pause in ("0", "0.05", "0.1"):
        command = [sys.executable, "-c", THREADS_AT_EXIT, SCENE, kind, pause]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0 and not ended.stderr, ended.stderr


def test_handles_are_freed_with_their_last_reference_and_not_at_exit(monkeypatch):
    freed = []
    monkeypatch.setattr(florence2._model, "call", lambda name, pointer: freed.append(name))
    image = Image(SCENE)
    finalizer = next(made for made in florence2._model.weakref.finalize._registry if made.peek() and made.peek()[0] is image)
    assert not finalizer.atexit
    del image
    assert freed == ["image_free"]
