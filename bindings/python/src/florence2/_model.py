"""Models, requests and runs."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Mapping, Sequence
from ctypes import byref, c_void_p
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _native
from ._generation_options import GenerationOptions
from ._handle import Cancel, Handle, made, pointer_of
from ._image import Image, ImageFeatures
from ._load import Adapter, LoadProgress, files_of, load_options
from ._native import Callback, call, call_or_raise, struct, text
from ._result import Result, Score

if TYPE_CHECKING:
    from typing_extensions import Unpack

_REGION_PX = 1


@dataclass(frozen=True)
class Request:
    """A question about an image.

    `task` is a task's token such as `<OD>`. A task that needs an input takes a text as `input` or a box in pixels as
    `region`. `prompt` replaces the task with free text, for fine-tuned models.
    """

    image: Any
    task: str | None = None
    input: str | None = None
    region: Sequence[float] | None = None
    prompt: str | None = None

    def _struct(self, kept: list[object]) -> _native.Request:
        """The request as the C API takes it. `kept` receives the image, which must outlive the request."""
        image = self.image if isinstance(self.image, (Image, ImageFeatures)) else Image(self.image)
        kept.append(image)
        request = struct(
            _native.Request,
            **{"image_features" if isinstance(image, ImageFeatures) else "image": image._pointer},
            **{name: text(getattr(self, name)) for name in ("task", "prompt", "input")},
        )
        if self.region is not None:
            request.region[:] = list(self.region)
            request.region_unit = _REGION_PX
        return request


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

        `on_progress` is called before the first tensor and after each. A true result ends the loading with the status
        `CANCELLED`, as `cancel` does. An exception in it ends the loading and is raised here.
        """
        options, callback = load_options(
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
        with callback.running():
            return Model(made("model_load", text(os.fspath(directory)), byref(options)), "model")

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
        options, callback = load_options(
            device=device,
            dtype=dtype,
            adapters=adapters,
            threads=threads,
            spin_limit=spin_limit,
            on_progress=on_progress,
            cancel=cancel,
        )
        with callback.running():
            return Model(made("model_load_memory", files_of(files), len(files), byref(options)), "model")

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
        options, callback = load_options(
            device=device,
            dtype=dtype,
            adapters=adapters,
            threads=threads,
            spin_limit=spin_limit,
            on_progress=on_progress,
            cancel=cancel,
        )
        with callback.running():
            return Model(made("model_load_demo", byref(options)), "model")

    @property
    def device(self) -> str:
        """The name of the model's device, such as `cpu`."""
        return call("model_device", self._pointer).decode()

    @property
    def warnings(self) -> list[str]:
        """Settings and tensors in the model's files that loading ignored, one line each."""
        count = call("model_warning_count", self._pointer)
        return [call("model_warning", self._pointer, index).decode() for index in range(count)]

    def run(
        self,
        image: Any,
        task: str | None = None,
        *,
        input: str | None = None,
        region: Sequence[float] | None = None,
        prompt: str | None = None,
        hf_compat: bool = False,
        deadline_ms: int = 0,
        cancel: Cancel | None = None,
        on_token: Callable[[int, str, float], object] | None = None,
        **generation: Unpack[GenerationOptions],
    ) -> Result:
        """Answers one request. `Request` describes the first arguments, `run_batch` the others."""
        request = Request(image, task, input, region, prompt)
        return self.run_batch(
            [request],
            hf_compat=hf_compat,
            deadline_ms=deadline_ms,
            cancel=cancel,
            on_token=on_token,
            **generation,
        )[0]

    def run_batch(
        self,
        requests: Sequence[Request],
        *,
        hf_compat: bool = False,
        deadline_ms: int = 0,
        cancel: Cancel | None = None,
        on_token: Callable[[int, str, float], object] | None = None,
        **generation: Unpack[GenerationOptions],
    ) -> list[Result]:
        """Answers requests in one batch. Each answer equals the one that its request gets alone.

        The error of a request is the error of the call. `hf_compat` returns the integer coordinates of transformers.
        `deadline_ms` limits the time of the call, 0 for no limit. `on_token` is called once per generated token with
        the index of its request, its text and its log-probability. A true result of it ends the run with the status
        `CANCELLED`, as `cancel` does; an exception in it ends the run and is raised here. `generation` holds the
        options of `GenerationOptions`, such as `num_beams=3`.
        """
        kept: list[object] = []
        native = (_native.Request * len(requests))(*(request._struct(kept) for request in requests))
        results = (c_void_p * len(requests))()
        options, callback = _run_options(deadline_ms, cancel, generation, hf_compat, on_token)
        with callback.running():
            call_or_raise("model_run_batch", self._pointer, native, len(native), byref(options), results, None)
        try:
            return [_result(result) for result in results]
        finally:
            _free("result", results)

    def run_batch_each(
        self,
        requests: Sequence[Request],
        *,
        hf_compat: bool = False,
        deadline_ms: int = 0,
        cancel: Cancel | None = None,
        on_token: Callable[[int, str, float], object] | None = None,
        **generation: Unpack[GenerationOptions],
    ) -> list[Result | Exception]:
        """Answers requests in one batch and returns, for each, its result or its exception.

        An exception of one request, such as an image that cannot be decoded, leaves the other requests their results.
        Errors that concern all requests are raised: of the options, the deadline, cancellation, `on_token` and the
        device. Otherwise as `run_batch`.
        """
        kept: list[object] = []
        refused: dict[int, Exception] = {}
        native = (_native.Request * len(requests))()
        for index, request in enumerate(requests):
            try:
                native[index] = request._struct(kept)
            except Exception as error:
                refused[index] = error
                native[index] = struct(_native.Request)  # The library refuses a request without an image.
        results, errors = (c_void_p * len(requests))(), (c_void_p * len(requests))()
        options, callback = _run_options(deadline_ms, cancel, generation, hf_compat, on_token)
        with callback.running():
            call_or_raise("model_run_batch", self._pointer, native, len(native), byref(options), results, errors)
        try:
            outcomes = [_outcome(result, error) for result, error in zip(results, errors)]
            return [refused.get(index, outcome) for index, outcome in enumerate(outcomes)]
        finally:
            _free("result", results)
            _free("error", errors)

    def encode_image(self, image: Any, *, deadline_ms: int = 0, cancel: Cancel | None = None) -> ImageFeatures:
        """Runs the vision tower once, for any number of requests."""
        image = image if isinstance(image, Image) else Image(image)
        options, _ = _run_options(deadline_ms, cancel)
        pointer = made("model_encode_image", self._pointer, image._pointer, byref(options))
        return ImageFeatures(pointer, "image_features")

    def score(
        self,
        image: Any,
        task: str | None = None,
        *,
        target: str,
        input: str | None = None,
        region: Sequence[float] | None = None,
        prompt: str | None = None,
        deadline_ms: int = 0,
        cancel: Cancel | None = None,
    ) -> Score:
        """Computes the log-probabilities of `target` as the answer to a request."""
        kept: list[object] = []
        native = Request(image, task, input, region, prompt)._struct(kept)
        options, _ = _run_options(deadline_ms, cancel)
        score = made("model_score", self._pointer, byref(native), text(target), byref(options))
        try:
            return Score.from_json(call("score_json", score).decode())
        finally:
            call("score_free", score)


def _run_options(
    deadline_ms: int,
    cancel: Cancel | None,
    generation: GenerationOptions | None = None,
    hf_compat: bool = False,
    on_token: Callable[[int, str, float], object] | None = None,
) -> tuple[_native.RunOptions, Callback]:
    """The options as the C API takes them, and the callback, which must surround the call."""
    callback = Callback(on_token, lambda token: (token.request, token.text.decode(), token.log_prob))
    options = struct(
        _native.RunOptions,
        coordinates=int(hf_compat),
        generation_config=json.dumps(generation).encode() if generation else None,
        deadline_ms=deadline_ms,
        cancel=pointer_of(cancel),
        on_token=callback.native(_native.TokenCallback),
    )
    return options, callback


def _result(pointer: int | None) -> Result:
    return Result.from_json(call("result_json", pointer).decode())


def _outcome(result: int | None, error: int | None) -> Result | Exception:
    return _native.error_of(call("error_status", error), error) if result is None else _result(result)


def _free(kind: str, pointers: ctypes.Array[c_void_p]) -> None:
    for pointer in pointers:
        call(f"{kind}_free", pointer)
