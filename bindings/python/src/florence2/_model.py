"""Models, requests and runs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from ctypes import byref, c_uint32, c_void_p
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _c_api
from ._c_api import CoordinatesName, RegionUnit
from ._generation_options import GenerationOptions
from ._handle import Cancel, Handle, made, pointer_of
from ._image import Image, ImageFeatures
from ._load import Adapter, LoadProgress, files_of, load_options
from ._native import Callbacks, call, call_or_raise, error_of, number, struct, text
from ._result import Result, Score

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class Request:
    """A question about an image.

    `image` is a path, bytes, a PIL image, an array, an `Image` or `ImageFeatures`. `task` is a task's token such as
    `<OD>`. A task that needs an input takes a text as `input` or a box (x1, y1, x2, y2) as `region`, in pixels of the
    image, or in fractions of its width and height with the `region_unit` `normalized`. `prompt` replaces the task with
    free text, for fine-tuned models.
    """

    image: Any
    task: str | None = None
    input: str | None = None
    region: Sequence[float] | None = None
    prompt: str | None = None
    region_unit: Literal["px", "normalized"] = "px"

    def _struct(self, kept: list[object]) -> _c_api.Request:
        """The request as the C API takes it. `kept` receives the image, which must outlive the request."""
        image = self.image if isinstance(self.image, (Image, ImageFeatures)) else Image(self.image)
        kept.append(image)
        request = struct(
            _c_api.Request,
            **{"image_features" if isinstance(image, ImageFeatures) else "image": image._pointer},
            **{name: text(getattr(self, name)) for name in ("task", "prompt", "input")},
        )
        if self.region is not None:
            region = list(self.region)
            if len(region) != len(request.region):
                raise ValueError(f"region: found {len(region)} numbers, expected x1, y1, x2, y2")
            request.region[:] = region
            request.region_unit = number("region_unit", self.region_unit, RegionUnit)
        return request


@dataclass(frozen=True)
class Token:
    """A generated token of an answer."""

    request: int
    """The index of the token's request in the batch."""
    token_id: int
    text: str
    """The text. A character that consists of several tokens is part of the text of the last of them."""
    log_prob: float
    """The natural logarithm of the token's probability, given the tokens before it."""


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run: the number of generated tokens of each incomplete answer, and the maximum number."""

    new_tokens: int
    max_new_tokens: int


class Model(Handle):
    """A loaded model. Immutable: any number of threads may run it at once."""

    @staticmethod
    def load(
        directory: str | os.PathLike[str],
        *,
        device: str | None = None,
        dtype: str | None = None,
        adapters: Sequence[str | os.PathLike[str] | Adapter] = (),
        threads: int = 0,
        spin_limit: int = 0,
        weights: str | os.PathLike[str] | None = None,
        processor: str | os.PathLike[str] | None = None,
        on_progress: Callable[[LoadProgress], object] | None = None,
        cancel: Cancel | None = None,
    ) -> Model:
        """Loads a model from a folder in Microsoft's or Hugging Face's layout.

        `device` is one of `devices()`, None for the best one. `dtype` is the number type of the weights and products:
        `f32`, `f16`, `bf16` or `int8`, None for `f32`. `adapters` are LoRA adapters, merged into the weights in order:
        folders, or `Adapter` for a scale or files in memory. `threads` is the number of the model's own threads, 0 for
        the thread pool of the process. `spin_limit` is the largest number of threads that spin between two operations
        on the CPU, 0 for 8 and -1 for none. `weights` is a weights file or an index of shards that replaces the
        folder's. `processor` is the folder of the processor's and the tokenizer's files, None for `directory`.

        `on_progress` is called before the first tensor and after each. The result `True` ends the loading with the status
        `CANCELLED`, as `cancel` does. An exception in it ends the loading and is raised here.
        """
        options, callbacks = load_options(
            device=device,
            dtype=dtype,
            adapters=adapters,
            threads=threads,
            spin_limit=spin_limit,
            weights=weights,
            processor=processor,
            on_progress=on_progress,
            cancel=cancel,
        )
        with callbacks.running():
            return Model(made("model_load", text(os.fspath(directory)), byref(options)), "model_free")

    @staticmethod
    def load_memory(
        files: Mapping[str, Any],
        *,
        device: str | None = None,
        dtype: str | None = None,
        adapters: Sequence[str | os.PathLike[str] | Adapter] = (),
        threads: int = 0,
        spin_limit: int = 0,
        on_progress: Callable[[LoadProgress], object] | None = None,
        cancel: Cancel | None = None,
    ) -> Model:
        """Loads a model from files in memory: the contents of a model's folder by the files' names.

        The files are config.json, preprocessor_config.json or processor_config.json, the tokenizer's files, the weights
        (one file, or shards with their index) and, optionally, generation_config.json. The library reads `bytes` in
        place; other buffers are copied. Otherwise as `load`.
        """
        options, callbacks = load_options(
            device=device,
            dtype=dtype,
            adapters=adapters,
            threads=threads,
            spin_limit=spin_limit,
            on_progress=on_progress,
            cancel=cancel,
        )
        with callbacks.running():
            return Model(made("model_load_memory", files_of(files), len(files), byref(options)), "model_free")

    @staticmethod
    def demo(
        *,
        device: str | None = None,
        dtype: str | None = None,
        adapters: Sequence[str | os.PathLike[str] | Adapter] = (),
        threads: int = 0,
        spin_limit: int = 0,
        on_progress: Callable[[LoadProgress], object] | None = None,
        cancel: Cancel | None = None,
    ) -> Model:
        """Loads the embedded demo model, which detects coloured shapes and reads short words. Otherwise as `load`."""
        options, callbacks = load_options(
            device=device,
            dtype=dtype,
            adapters=adapters,
            threads=threads,
            spin_limit=spin_limit,
            on_progress=on_progress,
            cancel=cancel,
        )
        with callbacks.running():
            return Model(made("model_load_demo", byref(options)), "model_free")

    @property
    def device(self) -> str:
        """The name of the model's device, such as `cpu`."""
        name: str = call("model_device", self._pointer).decode()
        return name

    @property
    def info(self) -> dict[str, Any]:
        """A description of the model: `device`, `dtype`, `threads`, `vocab_size`, `max_new_tokens` and `generation_config`.

        `generation_config` holds the generation options that apply if a run does not set them.
        """
        info: dict[str, Any] = json.loads(call("model_info_json", self._pointer))
        return info

    @property
    def warnings(self) -> list[str]:
        """Settings and tensors in the model's files that loading ignored, one line each."""
        count = call("model_warning_count", self._pointer)
        return [call("model_warning", self._pointer, index).decode() for index in range(count)]

    def token_id(self, token: str) -> int:
        """The id of a token of the vocabulary, for options such as `eos_token_id`."""
        found = c_uint32()
        call_or_raise("model_token_id", self._pointer, text(token), byref(found))
        return found.value

    def run(
        self,
        image: Any,
        task: str | None = None,
        *,
        input: str | None = None,
        region: Sequence[float] | None = None,
        region_unit: Literal["px", "normalized"] = "px",
        prompt: str | None = None,
        coordinates: CoordinatesName = "bin_centers",
        location_tolerance: int | None = None,
        timeout: float | None = None,
        cancel: Cancel | None = None,
        on_token: Callable[[Token], object] | None = None,
        on_progress: Callable[[RunProgress], object] | None = None,
        **generation: Unpack[GenerationOptions],
    ) -> Result:
        """Answers one request. `Request` describes the first arguments.

        `coordinates` is `bin_centers`, or `hf_integers` for the integers and the conventions of transformers.
        `location_tolerance` is the number of bins on each side of a generated coordinate that count as the same
        coordinate in the scores of regions and answers, of 1000 along a side of the image; None for 50. `timeout` is the time limit
        of the call in seconds, after which it fails with the status `DEADLINE_EXCEEDED`; None for no limit.

        `on_token` is called once per generated token: during greedy search and sampling, after a beam search.
        `on_progress` is called after each step of the search. The result `True` of a callback ends the run with the
        status `CANCELLED`, as `cancel` does; an exception in it ends the run and is raised here. `generation` holds the options
        of `GenerationOptions`, such as `num_beams=3`.
        """
        kept: list[object] = []
        request = Request(image, task, input, region, prompt, region_unit)._struct(kept)
        options, callbacks = _run_options(
            timeout, cancel, generation, coordinates, location_tolerance, on_token, on_progress
        )
        with callbacks.running():
            result = made("model_run", self._pointer, byref(request), byref(options))
        try:
            return _result(result)
        finally:
            call("result_free", result)

    @overload
    def run_batch(
        self,
        requests: Sequence[Request],
        *,
        return_exceptions: Literal[False] = False,
        coordinates: CoordinatesName = "bin_centers",
        location_tolerance: int | None = None,
        timeout: float | None = None,
        cancel: Cancel | None = None,
        on_token: Callable[[Token], object] | None = None,
        on_progress: Callable[[RunProgress], object] | None = None,
        **generation: Unpack[GenerationOptions],
    ) -> list[Result]: ...

    @overload
    def run_batch(
        self,
        requests: Sequence[Request],
        *,
        return_exceptions: bool,
        coordinates: CoordinatesName = "bin_centers",
        location_tolerance: int | None = None,
        timeout: float | None = None,
        cancel: Cancel | None = None,
        on_token: Callable[[Token], object] | None = None,
        on_progress: Callable[[RunProgress], object] | None = None,
        **generation: Unpack[GenerationOptions],
    ) -> list[Result | Exception]: ...

    def run_batch(
        self,
        requests: Sequence[Request],
        *,
        return_exceptions: bool = False,
        coordinates: CoordinatesName = "bin_centers",
        location_tolerance: int | None = None,
        timeout: float | None = None,
        cancel: Cancel | None = None,
        on_token: Callable[[Token], object] | None = None,
        on_progress: Callable[[RunProgress], object] | None = None,
        **generation: Unpack[GenerationOptions],
    ) -> list[Result] | list[Result | Exception]:
        """Answers requests in one batch. Each answer equals the one that its request gets alone.

        By default, an exception of one request is raised. With `return_exceptions`, as that of `asyncio.gather`, the
        list holds the exception of each request that failed, such as an image that cannot be decoded, instead of its
        result; the other requests are answered. Errors that concern all requests are raised in both cases: those of the
        options, the time limit, cancellation, callbacks and the device. Otherwise as `run`.
        """
        for index, request in enumerate(requests):
            if not isinstance(request, Request):
                raise TypeError(f"requests[{index}]: found {type(request).__name__}, expected Request")
        kept: list[object] = []
        refused: dict[int, Exception] = {}
        native = (_c_api.Request * len(requests))()
        for index, request in enumerate(requests):
            try:
                native[index] = request._struct(kept)
            except Exception as error:
                if not return_exceptions:
                    raise
                refused[index] = error
                native[index] = struct(_c_api.Request)  # The library refuses a request without an image.
        results = (c_void_p * len(requests))()
        errors = (c_void_p * len(requests))() if return_exceptions else None
        options, callbacks = _run_options(
            timeout, cancel, generation, coordinates, location_tolerance, on_token, on_progress
        )
        with callbacks.running():
            call_or_raise("model_run_batch", self._pointer, native, len(native), byref(options), results, errors)
        try:
            if errors is None:
                return [_result(result) for result in results]
            outcomes = [_outcome(*outcome) for outcome in zip(results, errors)]
            return [refused.get(index, outcome) for index, outcome in enumerate(outcomes)]
        finally:
            for result in results:
                call("result_free", result)
            for failure in errors or ():
                call("error_free", failure)

    def encode_image(self, image: Any, *, timeout: float | None = None, cancel: Cancel | None = None) -> ImageFeatures:
        """Runs the vision tower once, for any number of requests. `timeout` is in seconds."""
        image = image if isinstance(image, Image) else Image(image)
        options, _ = _run_options(timeout, cancel)
        pointer = made("model_encode_image", self._pointer, image._pointer, byref(options))
        return ImageFeatures(pointer, "image_features_free")

    def score(
        self,
        image: Any,
        task: str | None = None,
        *,
        target: str,
        input: str | None = None,
        region: Sequence[float] | None = None,
        region_unit: Literal["px", "normalized"] = "px",
        prompt: str | None = None,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Score:
        """Computes the log-probabilities of `target` as the answer to a request. `timeout` is in seconds."""
        kept: list[object] = []
        native = Request(image, task, input, region, prompt, region_unit)._struct(kept)
        options, _ = _run_options(timeout, cancel)
        score = made("model_score", self._pointer, byref(native), text(target), byref(options))
        try:
            return Score.from_json(call("score_json", score).decode())
        finally:
            call("score_free", score)


def _run_options(
    timeout: float | None,
    cancel: Cancel | None,
    generation: GenerationOptions | None = None,
    coordinates: CoordinatesName = "bin_centers",
    location_tolerance: int | None = None,
    on_token: Callable[[Token], object] | None = None,
    on_progress: Callable[[RunProgress], object] | None = None,
) -> tuple[_c_api.RunOptions, Callbacks]:
    """The options as the C API takes them, and the callbacks, which must surround the call."""
    callbacks = Callbacks()
    options = struct(
        _c_api.RunOptions,
        coordinates=number("coordinates", coordinates, _c_api.Coordinates),
        location_tolerance=_location_tolerance(location_tolerance),
        generation_config=json.dumps(generation).encode() if generation else None,
        deadline_ms=_deadline_ms(timeout),
        cancel=pointer_of(cancel),
        on_token=callbacks.native(_c_api.TokenCallback, on_token, _token),
        on_progress=callbacks.native(_c_api.ProgressCallback, on_progress, _progress),
    )
    return options, callbacks


def _location_tolerance(bins: int | None) -> int:
    """The field of the C API, which takes 0 for the default and -1 for no bins."""
    if bins is None:
        return 0
    if bins < 0:
        raise ValueError(f"location_tolerance: found {bins}, expected a number of bins of at least 0")
    return bins or -1


def _deadline_ms(timeout: float | None) -> int:
    """The field of the C API, which takes 0 for no limit."""
    if timeout is None:
        return 0
    if not 0 <= timeout < math.inf:
        raise ValueError(f"timeout: found {timeout}, expected a number of seconds of at least 0, or None")
    return max(math.ceil(timeout * 1000), 1)


def _token(token: Any) -> Token:
    return Token(token.request, token.token_id, token.text.decode(), token.log_prob)


def _progress(progress: Any) -> RunProgress:
    return RunProgress(progress.new_tokens, progress.max_new_tokens)


def _result(pointer: int | c_void_p | None) -> Result:
    return Result.from_json(call("result_json", pointer).decode())


def _outcome(result: int | None, error: int | None) -> Result | Exception:
    return error_of(call("error_status", error), error) if result is None else _result(result)
