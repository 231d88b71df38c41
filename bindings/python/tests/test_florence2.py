"""The binding on the demo model, whose answers on its scene are known."""

import io
import math
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


def test_refusals(model):
    for status, run in {
        Status.INVALID_ARGUMENT: lambda: model.run(SCENE, "<NOTHING>"),
        Status.IO: lambda: model.run("nowhere.png", "<OD>"),
        Status.INVALID_IMAGE: lambda: model.run(b"no image", "<OD>"),
        Status.UNSUPPORTED_DEVICE: lambda: Model.demo(dtype="f99"),
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
