"""Tests of the binding with the demo model and its scenes."""

import ctypes
import io
import json
import logging
import math
import re
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import florence2
import numpy
import PIL.Image
import pytest
from florence2 import (
    Adapter,
    Cancel,
    Error,
    GenerationOptions,
    Image,
    LoadProgress,
    Model,
    Region,
    RegionScore,
    Request,
    Result,
    RunProgress,
    Status,
    Token,
)
from florence2._c_api import PixelFormatName, YuvFormatName, YuvMatrixName, YuvRangeName

ROOT = Path(__file__).parents[3]
ASSETS = ROOT / "assets/demo-model"
SCENE = ASSETS / "scenes/scene-1.png"
REQUIRED = ("config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors")
FILES = {name: (ASSETS / name).read_bytes() for name in (*REQUIRED, "generation_config.json")}


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.demo()


def score_of(region: Region) -> RegionScore:
    assert region.score is not None
    return region.score


def test_library() -> None:
    assert florence2.version() == florence2.__version__
    assert florence2.devices()[0] == "cpu"


def test_regions(model: Model) -> None:
    result = model.run(SCENE, "<OD>")
    assert [region.label for region in result.regions] == ["white circle", "orange star", "purple square"]
    circle = result.regions[0]
    assert circle.kind == "box" and circle.points[0] == pytest.approx((31.392, 31.392))
    assert circle.bounding_box == (*circle.points[0], *circle.points[1])
    score = score_of(circle)
    assert score.label is not None and 0.9 < score.label <= 1 and 0.9 < score.locations <= 1
    assert score.overall == pytest.approx(score.label * score.locations)
    assert result.image_size == (192, 192) and result.task == "<OD>" and result.token_ids[0] == 2
    assert result.hf["<OD>"]["labels"] == [region.label for region in result.regions]
    coordinates = model.run(SCENE, "<OD>", coordinates="hf_integers")
    assert all(value == int(value) for value in coordinates.hf["<OD>"]["bboxes"][0])


def test_every_kind_of_image(model: Model) -> None:
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


def test_batches_features_and_options(model: Model) -> None:
    features = model.encode_image(SCENE)
    requests = [Request(features, "<CAPTION>"), Request(SCENE, "<REGION_TO_CATEGORY>", region=(30, 30, 104, 104))]
    together = model.run_batch(requests, num_beams=2)
    assert together[0].token_ids == model.run(SCENE, "<CAPTION>", num_beams=2).token_ids
    alone = model.run(SCENE, "<REGION_TO_CATEGORY>", region=(30, 30, 104, 104), num_beams=2)
    assert together[1].token_ids == alone.token_ids
    several = model.run(SCENE, "<CAPTION>", num_beams=3, num_return_sequences=3)
    assert len(several.alternatives) == 2


def test_token_callbacks(model: Model) -> None:
    texts = []
    result = model.run(SCENE, "<CAPTION>", num_beams=1, on_token=lambda token: texts.append(token.text))
    assert result.text in "".join(texts) and len(texts) > 2
    # Other true results, such as the number of characters that `write` returns, do not end a run.
    assert model.run(SCENE, "<CAPTION>", num_beams=1, on_token=lambda token: 13).text == result.text
    with pytest.raises(Error) as stopped:
        model.run(SCENE, "<CAPTION>", num_beams=1, on_token=lambda token: True)
    assert stopped.value.status == Status.CANCELLED

    def fail(token: Token) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.run(SCENE, "<CAPTION>", num_beams=1, on_token=fail)


def test_tokens_and_progress(model: Model) -> None:
    tokens: list[Token] = []
    steps: list[RunProgress] = []
    result = model.run(SCENE, "<CAPTION>", num_beams=1, max_new_tokens=9, on_token=tokens.append, on_progress=steps.append)
    assert [token.token_id for token in tokens] == result.token_ids[1:]
    assert [token.log_prob for token in tokens] == pytest.approx(result.token_log_probs[1:])
    assert all(isinstance(token, Token) and token.request == 0 for token in tokens)
    assert all(isinstance(step, RunProgress) and step.max_new_tokens == 9 for step in steps)
    assert [step.new_tokens for step in steps] == list(range(1, len(steps) + 1))
    with pytest.raises(Error) as stopped:
        model.run(SCENE, "<CAPTION>", num_beams=3, on_progress=lambda progress: progress.new_tokens == 2)
    assert stopped.value.status == Status.CANCELLED


def test_location_tolerance(model: Model) -> None:
    scores = {
        bins: score_of(model.run(SCENE, "<OD>", location_tolerance=bins).regions[0]) for bins in (None, 0, 1, 50)
    }
    assert scores[None] == scores[50]
    assert 0 < scores[0].locations < scores[1].locations < scores[50].locations <= 1
    with pytest.raises(ValueError, match="location_tolerance: found -1"):
        model.run(SCENE, "<OD>", location_tolerance=-1)
    with pytest.raises(ValueError, match="coordinates: found 'hf', expected one of bin_centers, hf_integers"):
        model.run(SCENE, "<OD>", coordinates="hf")  # type: ignore[arg-type]


def test_timeouts(model: Model) -> None:
    long: GenerationOptions = {"min_new_tokens": 200, "max_new_tokens": 200}
    for timeout in (0, 0.001):
        for call in (partial(model.run, SCENE, "<CAPTION>", **long), partial(model.encode_image, SCENE)):
            with pytest.raises(Error) as ended:
                call(timeout=timeout)
            assert ended.value.status == Status.DEADLINE_EXCEEDED
    assert model.run(SCENE, "<CAPTION>", timeout=600.5).text
    for timeout in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="timeout"):
            model.run(SCENE, "<OD>", timeout=timeout)


def test_regions_as_input(model: Model) -> None:
    pixels = model.run(SCENE, "<REGION_TO_CATEGORY>", region=(24, 24, 96, 96))
    fractions = model.run(SCENE, "<REGION_TO_CATEGORY>", region=(0.125, 0.125, 0.5, 0.5), region_unit="normalized")
    assert pixels.token_ids == fractions.token_ids
    assert pixels.input == "<loc_125><loc_125><loc_500><loc_500>" and model.run(SCENE, "<OD>").input is None
    with pytest.raises(ValueError, match="region_unit"):
        model.run(SCENE, "<REGION_TO_CATEGORY>", region=(24, 24, 96, 96), region_unit="cm")  # type: ignore[arg-type]


def test_absent_scores(model: Model) -> None:
    text = model.run(SCENE, "<CAPTION>")
    assert text.regions == [] and text.score is not None and 0 < text.score <= 1
    assert score_of(model.run(SCENE, "<REGION_PROPOSAL>").regions[0]).label is None
    assert model.run(SCENE, "<CAPTION>", max_new_tokens=1, forced_eos_token_id=2).score is None


def test_quads_and_timings(model: Model) -> None:
    result = model.run(SCENE, "<OCR_WITH_REGION>")
    quad = result.regions[0]
    xs, ys = zip(*quad.points)
    assert quad.kind == "quad" and len(quad.points) == 4
    assert quad.bounding_box == (min(xs), min(ys), max(xs), max(ys))
    assert result.timings.vision_ms > 0 and result.timings.generate_ms > 0


def test_tasks(model: Model) -> None:
    tasks = {task.token: task for task in florence2.tasks()}
    assert len(tasks) == 15
    assert (tasks["<OD>"].input, tasks["<OD>"].post_processing_type) == ("none", "description_with_bboxes")
    assert tasks["<CAPTION_TO_PHRASE_GROUNDING>"].input == "text"
    assert tasks["<REGION_TO_CATEGORY>"].input == "region"


def test_info_and_token_ids(model: Model) -> None:
    assert model.info["device"] == model.device and model.info["generation_config"]["num_beams"] == 3
    assert model.token_id("</s>") == 2
    with pytest.raises(Error, match="no token"):
        model.token_id("no token")


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    florence2.set_log_level("info")
    try:
        with caplog.at_level(logging.DEBUG, "florence2"):
            Model.demo()
        assert any(record.levelno == logging.INFO for record in caplog.records)
        caplog.clear()
        florence2.set_log_level("off")
        Model.demo()
        assert not caplog.records
    finally:
        florence2.set_log_level("off")
    with pytest.raises(ValueError, match="level: found 'loud', expected one of off, error"):
        florence2.set_log_level("loud")  # type: ignore[arg-type]


def objects(model: Model, image: Any = SCENE) -> tuple[list[int], list[float]]:
    result = model.run(image, "<OD>")
    return result.token_ids, result.token_log_probs


def test_load_progress(model: Model) -> None:
    seen: list[LoadProgress] = []
    loaded = Model.demo(on_progress=seen.append, spin_limit=-1)
    assert objects(loaded) == objects(model)
    assert all(isinstance(progress, LoadProgress) for progress in seen)
    first, last = seen[0], seen[-1]
    assert (first.tensors, first.parameters) == (0, 0)
    assert last.tensors == last.total_tensors > 10 and last.parameters == last.total_parameters > 1000
    assert [progress.tensors for progress in seen] == sorted({progress.tensors for progress in seen})
    assert {(p.total_tensors, p.total_parameters) for p in seen} == {(last.total_tensors, last.total_parameters)}


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("load", [Model.demo, partial(Model.load, ASSETS), partial(Model.load_memory, FILES)])
def test_loading_ends_early(load: Callable[..., Model], is_last: bool) -> None:
    calls = []

    def stop(progress: LoadProgress) -> bool:
        calls.append(progress)
        return progress.tensors == (progress.total_tensors if is_last else 3)

    with pytest.raises(Error) as stopped:
        load(on_progress=stop)
    assert stopped.value.status == Status.CANCELLED and calls[-1].tensors == len(calls) - 1

    def fail(progress: LoadProgress) -> None:
        if stop(progress):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        load(on_progress=fail)
    calls.clear()
    cancel = Cancel()
    cancel.fire()
    with pytest.raises(Error) as cancelled:
        load(on_progress=stop, cancel=cancel)
    assert cancelled.value.status == Status.CANCELLED and not calls


def test_loading_ends_early_on_another_thread() -> None:
    raised = []

    def fail(progress: LoadProgress) -> None:
        raise KeyError("mine")

    def work() -> None:
        try:
            Model.demo(on_progress=fail)
        except KeyError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(raised) == 1


def test_loading_from_memory(model: Model) -> None:
    assert objects(Model.load_memory(FILES)) == objects(model)
    assert objects(Model.load_memory({name: memoryview(data) for name, data in FILES.items()})) == objects(model)
    for missing in REQUIRED:
        with pytest.raises(Error, match=re.escape(missing)) as refused:
            Model.load_memory({name: data for name, data in FILES.items() if name != missing})
        assert refused.value.status == Status.IO
    with pytest.raises(Error, match="model.safetensors") as refused:
        Model.load_memory({**FILES, "model.safetensors": FILES["model.safetensors"][:-9]})
    assert refused.value.status == Status.INVALID_MODEL
    with pytest.raises(Error, match="confg.json") as refused:
        Model.load_memory({**FILES, "confg.json": b"{}"})
    assert refused.value.status == Status.INVALID_ARGUMENT


def test_weights_and_processor_of_other_folders(model: Model, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_bytes(FILES["config.json"])
    (tmp_path / "fine-tuned.weights").write_bytes(FILES["model.safetensors"])
    loaded = Model.load(tmp_path / "model", weights=tmp_path / "fine-tuned.weights", processor=ASSETS)
    assert loaded.run(SCENE, "<OD>", num_beams=1).token_ids == model.run(SCENE, "<OD>", num_beams=1).token_ids
    for option in ("weights", "processor"):
        with pytest.raises(Error, match="/nowhere") as refused:
            Model.load(ASSETS, **{option: "/nowhere"})  # type: ignore[arg-type]
        assert refused.value.status == Status.IO


def adapter_files() -> dict[str, bytes]:
    """An adapter of the demo model, whose matrices are ones."""
    sizes = {"lora_A": [1, 128], "lora_B": [512, 1]}
    header, end = {}, 0
    for name, shape in sizes.items():
        start, end = end, end + 4 * math.prod(shape)
        key = f"base_model.model.model.language_model.decoder.layers.0.fc1.{name}.weight"
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["fc1"]}
    return {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": struct.pack("<Q", len(encoded)) + encoded + numpy.ones(end // 4, "<f4").tobytes(),
    }


def test_adapters(model: Model, tmp_path: Path) -> None:
    files = adapter_files()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    base, changed = objects(model), objects(Model.demo(adapters=[Adapter(files=files)]))
    assert changed[0] != base[0]
    assert objects(Model.demo(adapters=[tmp_path])) == changed
    assert objects(Model.load(ASSETS, adapters=[str(tmp_path)])) == changed
    assert objects(Model.load_memory(FILES, adapters=[Adapter(tmp_path)])) == changed
    assert objects(Model.demo(adapters=[Adapter(tmp_path, 0.125)])) not in (base, changed)
    # The second adapter subtracts the updates of the first.
    assert objects(Model.demo(adapters=[tmp_path, Adapter(files=files, scale=-1)]))[0] == base[0]


def test_adapter_errors() -> None:
    files = adapter_files()
    for status, part, adapter in (
        (Status.IO, "/nowhere", "/nowhere"),
        (Status.IO, "model.safetensors", Adapter(files={"adapter_config.json": files["adapter_config.json"]})),
        (Status.INVALID_ARGUMENT, r"options.adapters\[1\]", Adapter()),
        (Status.INVALID_ARGUMENT, r"options.adapters\[1\]", Adapter("/nowhere", files=files)),
        (Status.INVALID_ARGUMENT, "scale", Adapter(files=files, scale=math.nan)),
    ):
        with pytest.raises(Error, match=part) as refused:
            Model.demo(adapters=[Adapter(files=files), adapter])
        assert refused.value.status == status
    for scale in (0, 1e-50):
        with pytest.raises(ValueError, match="scale"):
            Model.demo(adapters=[Adapter(files=files, scale=scale)])


def test_failures_of_one_request(model: Model) -> None:
    def fail() -> None:
        raise OSError("truncated")

    class Truncated:
        size = (1, 1)
        tobytes = None
        convert = staticmethod(lambda mode: fail())

    requests = [
        Request(SCENE, "<OD>"),
        Request(SCENE, "<NOTHING>"),
        Request("nowhere.png", "<OD>"),
        Request(SCENE, "<O\0D>"),
        Request(SCENE, "<OD>", region=(1, 2)),
        Request(Truncated(), "<OD>"),
        Request(SCENE, prompt="a " * 4096),
        Request(SCENE, "<CAPTION>"),
    ]
    tokens = []
    outcomes = model.run_batch(requests, return_exceptions=True, num_beams=1, on_token=lambda token: tokens.append(token.request))
    for index in (0, 7):
        alone, outcome = model.run(SCENE, requests[index].task, num_beams=1), outcomes[index]
        assert isinstance(outcome, Result) and outcome.token_ids == alone.token_ids
        assert tokens.count(index) == len(alone.token_ids) - 1
    assert set(tokens) == {0, 7}
    for index, status, part in ((1, Status.INVALID_ARGUMENT, "<NOTHING>"), (2, Status.IO, "nowhere.png"), (6, Status.INVALID_ARGUMENT, "positions")):
        outcome = outcomes[index]
        assert isinstance(outcome, Error) and outcome.status == status and part in str(outcome)
    assert [type(outcomes[index]) for index in (3, 4, 5)] == [ValueError, ValueError, OSError]
    assert model.run_batch([], return_exceptions=True) == []


def test_failures_of_all_requests(model: Model) -> None:
    requests = [Request(SCENE, "<OD>"), Request(SCENE, "<NOTHING>")]
    with pytest.raises(Error, match="NOTHING"):
        model.run_batch(requests)
    cancel = Cancel()
    cancel.fire()
    with pytest.raises(Error) as cancelled:
        model.run_batch(requests, return_exceptions=True, cancel=cancel)
    assert cancelled.value.status == Status.CANCELLED
    with pytest.raises(Error, match="numbeams"):
        model.run_batch(requests, return_exceptions=True, numbeams=3)  # type: ignore[call-overload]

    def fail(token: Token) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.run_batch(requests, return_exceptions=True, num_beams=1, on_token=fail)


def test_max_pixels() -> None:
    data = SCENE.read_bytes()
    for source in (SCENE, data, memoryview(data)):
        assert Image(source, max_pixels=192 * 192).size == (192, 192)
        with pytest.raises(Error, match=str(192 * 192 - 1)) as refused:
            Image(source, max_pixels=192 * 192 - 1)
        assert refused.value.status == Status.INVALID_IMAGE
    with pytest.raises(ValueError, match="max_pixels"):
        Image(SCENE, max_pixels=-1)
    with pytest.raises(TypeError, match="max_pixels"):
        Image(numpy.zeros((2, 2), numpy.uint8), max_pixels=4)


def test_pixels_and_their_regions(model: Model) -> None:
    rgb = numpy.asarray(PIL.Image.open(SCENE).convert("RGB"))
    alpha = numpy.zeros((192, 192, 1), numpy.uint8)
    gray = numpy.ascontiguousarray(rgb[..., 1])
    format: PixelFormatName
    for format, array, expected in (
        ("rgb", rgb, rgb),
        ("rgba", numpy.concatenate([rgb, alpha], 2), rgb),
        ("bgr", rgb[..., ::-1], rgb),
        ("bgra", numpy.concatenate([rgb[..., ::-1], alpha], 2), rgb),
        ("gray", gray, gray),
    ):
        padded = numpy.full((192, 1000), 90, numpy.uint8)
        row_bytes = array[0].size
        padded[:, :row_bytes] = array.reshape(192, row_bytes)
        whole = Image.from_pixels(array, (192, 192), format)
        assert objects(model, whole) == objects(model, Image(expected))
        cut = Image.from_pixels(padded.tobytes(), (192, 192), format, stride_bytes=1000, region=(5, 7, 180, 192))
        assert cut.size == (175, 185)
        assert objects(model, cut) == objects(model, Image(expected[7:192, 5:180])) != objects(model, whole)
    with pytest.raises(ValueError, match="format: found 'cmyk'"):
        Image.from_pixels(rgb, (192, 192), "cmyk")  # type: ignore[arg-type]
    with pytest.raises(Error) as refused:
        Image.from_pixels(rgb, (192, 193))
    assert refused.value.status == Status.INVALID_ARGUMENT
    with pytest.raises(ValueError, match="width_px"):
        Image.from_pixels(rgb, (2**32 + 192, 192))


@pytest.mark.parametrize("region", [(0, 0, 0, 0), (5, 5, 5, 9), (9, 5, 5, 9), (-1, 0, 5, 5), (0, 0, 193, 5), (0, 0, 5, 193)])
def test_regions_outside_the_image(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="region"):
        Image.from_pixels(bytes(192 * 192), (192, 192), "gray", region=region)
    with pytest.raises(ValueError, match="region"):
        Image.from_yuv([bytes(192 * 192), bytes(192 * 96)], (192, 192), region=region)


def yuv_scene(kr: float, kb: float, is_full: bool) -> tuple[Any, Any, Any, Any]:
    """A scene whose colours are equal in 2x2 pixels, of an odd size: Y, U, V, and the RGB of each pixel."""
    small = numpy.asarray(PIL.Image.open(SCENE).convert("RGB").resize((96, 96)), float)
    red, green, blue = numpy.moveaxis(small, 2, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    scale_y, scale_c, offset = (1, 255 / 2, 0) if is_full else (219 / 255, 112, 16)
    y = numpy.rint(luma * scale_y + offset)
    u = numpy.clip(numpy.rint((blue - luma) / (1 - kb) / 255 * scale_c + 128), 0, 255)
    v = numpy.clip(numpy.rint((red - luma) / (1 - kr) / 255 * scale_c + 128), 0, 255)
    luma, cb, cr = (y - offset) / scale_y, (u - 128) * 255 / scale_c * (1 - kb), (v - 128) * 255 / scale_c * (1 - kr)
    rgb = numpy.stack([luma + cr, luma - (kb * cb + kr * cr) / (1 - kr - kb), luma + cb], 2)
    rgb = numpy.clip(numpy.floor(rgb + 0.5), 0, 255).astype(numpy.uint8)
    y, u, v = (plane.astype(numpy.uint8) for plane in (y, u, v))
    return y.repeat(2, 0).repeat(2, 1)[:191, :191], u, v, rgb.repeat(2, 0).repeat(2, 1)[:191, :191]


MATRICES = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


@pytest.mark.parametrize("range", ["limited", "full"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_yuv_frames(model: Model, matrix: YuvMatrixName, range: YuvRangeName) -> None:
    y, u, v, rgb = yuv_scene(*MATRICES[matrix], range == "full")
    frames: dict[YuvFormatName, list[Any]] = {"nv12": [y, numpy.stack([u, v], 2)], "i420": [y, u, v]}
    other: YuvMatrixName = "bt709" if matrix == "bt601" else "bt601"
    for format, planes in frames.items():
        decode = partial(Image.from_yuv, format=format, range=range)
        found = decode(planes, (191, 191), matrix=matrix)
        assert found.size == (191, 191)
        assert objects(model, found) == objects(model, Image(rgb))
        padded: list[bytes] = []
        strides: list[int] = []
        for plane in planes:
            rows = plane.reshape(len(plane), -1)
            strides.append(rows.shape[1] + 9 + len(strides))
            padded.append(numpy.pad(rows, ((0, 0), (0, strides[-1] - rows.shape[1])), constant_values=90).tobytes())
        cut = decode(padded, (191, 191), matrix=matrix, strides_bytes=strides, region=(5, 7, 180, 191))
        assert objects(model, cut) == objects(model, Image(rgb[7:, 5:180]))
        unlike = decode(planes, (191, 191), matrix=other)
        assert objects(model, unlike) != objects(model, Image(rgb))


def test_gray_nv12_equals_gray_pixels(model: Model) -> None:
    gray = numpy.asarray(PIL.Image.open(SCENE).convert("L"))
    chroma = bytes([128]) * (192 * 96)
    frame = Image.from_yuv([gray, chroma], (192, 192), range="full")
    assert objects(model, frame) == objects(model, Image(gray))
    assert objects(model, Image.from_yuv([gray, chroma], (192, 192))) != objects(model, Image(gray))


def test_yuv_errors() -> None:
    y, uv, u = bytes(16), bytes(8), bytes(4)
    assert Image.from_yuv([y, uv], (4, 4)).size == Image.from_yuv([y, u, u], (4, 4), "i420").size == (4, 4)
    calls: dict[str, Callable[[], object]] = {
        "format": lambda: Image.from_yuv([y, uv], (4, 4), "nv21"),  # type: ignore[arg-type]
        "matrix": lambda: Image.from_yuv([y, uv], (4, 4), matrix="bt2020"),  # type: ignore[arg-type]
        "range": lambda: Image.from_yuv([y, uv], (4, 4), range="video"),  # type: ignore[arg-type]
        "planes: found 3": lambda: Image.from_yuv([y, u, u], (4, 4)),
        "strides_bytes: found 3": lambda: Image.from_yuv([y, uv], (4, 4), strides_bytes=(4, 4, 4)),
    }
    for part, call in calls.items():
        with pytest.raises(ValueError, match=part):
            call()
    with pytest.raises(Error, match="`v`") as refused:
        Image.from_yuv([y, u, u[1:]], (4, 4), "i420")
    assert refused.value.status == Status.INVALID_ARGUMENT


def test_score(model: Model) -> None:
    score = model.score(SCENE, "<CAPTION>", target="a white circle")
    assert score.loss == pytest.approx(-sum(token.log_prob for token in score.tokens) / len(score.tokens), rel=1e-4)


def test_system_and_warnings(model: Model) -> None:
    assert florence2.system_info()["version"] == florence2.version()
    assert florence2.system_info()["devices"] == florence2.devices()
    assert model.warnings == []
    florence2.trim()
    with pytest.raises(Error, match="abacus"):
        florence2.set_simd_level("abacus")
    with pytest.raises(Error, match="f99"):
        Model.demo(dtype="f99")
    with pytest.raises(Error, match="options.spin_limit"):
        Model.demo(spin_limit=-2)


def test_arguments_of_a_wrong_type(model: Model) -> None:
    wide = numpy.zeros((2, 2, 3), dtype=numpy.int64)
    calls: dict[str, Callable[[], object]] = {
        "data: found items of 8 bytes": lambda: Image.from_pixels(wide, (2, 2)),
        "adapters: found str, expected a sequence": lambda: Model.demo(adapters="folder"),
        "requests\\[0\\]: found str, expected Request": lambda: model.run_batch([str(SCENE)]),  # type: ignore[list-item]
        "text: found list, expected str": lambda: model.run(SCENE, "<OD>", input=["car"]),  # type: ignore[arg-type]
    }
    for message, wrong in calls.items():
        with pytest.raises(TypeError, match=message):
            wrong()
    with pytest.raises(ValueError, match="region: found 3 numbers"):
        model.run(SCENE, "<REGION_TO_CATEGORY>", region=(1, 2, 3))


def test_refusals(model: Model) -> None:
    runs: dict[Status, Callable[[], object]] = {
        Status.INVALID_ARGUMENT: lambda: model.run(SCENE, "<NOTHING>"),
        Status.IO: lambda: model.run("nowhere.png", "<OD>"),
        Status.INVALID_IMAGE: lambda: model.run(b"no image", "<OD>"),
        Status.UNSUPPORTED_DEVICE: lambda: Model.demo(device="abacus"),
        Status.DEADLINE_EXCEEDED: lambda: model.run(SCENE, "<CAPTION>", timeout=0.001, min_new_tokens=200, max_new_tokens=200),
    }
    for status, run in runs.items():
        with pytest.raises(Error) as refused:
            run()
        assert refused.value.status == status and str(refused.value)
    with pytest.raises(Error, match="abacus"):
        Model.demo(device="abacus")
    with pytest.raises(Error, match="numbeams"):
        model.run(SCENE, "<OD>", numbeams=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="NUL"):
        model.run(SCENE, "<O\0D>")
    cancel = Cancel()
    cancel.fire()
    assert cancel.fired
    with pytest.raises(Error) as cancelled:
        model.run(SCENE, "<OD>", cancel=cancel)
    assert cancelled.value.status == Status.CANCELLED


def test_folders_and_threads(model: Model) -> None:
    loaded = Model.load(ASSETS, threads=1)
    expected = model.run(SCENE, "<OD>").token_ids
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(loaded.run(SCENE, "<OD>").token_ids)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 8


def test_unicode(model: Model) -> None:
    result = model.run(SCENE, "<CAPTION_TO_PHRASE_GROUNDING>", input="ein weißer Kreis 🟠")
    assert math.isfinite(result.sequence_score)


def test_a_status_of_a_later_library_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later:
        def florence2_later(self, _error: object) -> int:
            return 99

        def florence2_error_message(self, _error: object) -> bytes:
            return b""

        def florence2_error_free(self, _error: object) -> None:
            pass

    monkeypatch.setattr(florence2._native, "_library", Later())
    with pytest.raises(Error, match="99") as refused:
        florence2._native.call_or_raise("later")
    assert refused.value.status == 99 and refused.value.status.name == "UNKNOWN"
    assert isinstance(refused.value.status, Status)
    with pytest.raises(ValueError):
        Status("a name")  # type: ignore[arg-type]


THREADS_AT_EXIT = """
import sys, threading, time
from florence2 import Image, Model
model, image = Model.demo(threads=1), Image(sys.argv[1])
options = {"num_beams": 1, "min_new_tokens": 200, "max_new_tokens": 200}
if sys.argv[2] == "token-callback":
    options["on_token"] = lambda token: None
started = threading.Event()

def work() -> None:
    while True:
        started.set()
        if sys.argv[2] == "load-callback":
            Model.demo(threads=1, on_progress=lambda progress: time.sleep(0.001))
        else:
            model.run(image, "<CAPTION>", **options)

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
started.wait()
time.sleep(float(sys.argv[3]))
"""


@pytest.mark.parametrize("kind", ["plain", "token-callback", "load-callback"])
def test_threads_run_at_the_interpreters_exit(kind: str) -> None:
    for pause in ("0", "0.05", "0.1"):
        command = [sys.executable, "-c", THREADS_AT_EXIT, str(SCENE), kind, pause]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0 and not ended.stderr, ended.stderr


def test_handles_are_freed_with_their_last_reference_and_not_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    freed = []
    monkeypatch.setattr(florence2._handle, "call", lambda name, pointer: freed.append(name))
    image = Image(SCENE)
    finalizer = next(made for made in weakref.finalize._registry if made.peek() and made.peek()[0] is image)  # type: ignore[attr-defined]
    assert not finalizer.atexit
    del image
    assert freed == ["image_free"]
