"""Models, images and runs."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from ctypes import byref, c_char_p, c_void_p
from dataclasses import dataclass
from typing import Any

from . import _native
from ._native import call, call_or_raise, struct, text
from ._result import Result, Score

_FORMATS = {3: 0, 4: 1}
_GRAY = 4
_REGION_PX = 1


class _Handle:
    """An object of the library, freed with its last reference.

    At the interpreter's exit it is not freed: a daemon thread may be in a call that uses it.
    """

    def __init__(self, pointer: c_void_p, kind: str) -> None:
        self._pointer = pointer
        weakref.finalize(self, call, f"{kind}_free", pointer).atexit = False


def _made(kind: str, function: str, *arguments: object) -> c_void_p:
    pointer = c_void_p()
    call_or_raise(function, *arguments, byref(pointer))
    return pointer


class Image(_Handle):
    """A decoded image, of a path, encoded bytes, a PIL image or a uint8 array `[height, width(, channels)]`."""

    def __init__(self, source: Any) -> None:
        super().__init__(_image(source), "image")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return call("image_width_px", self._pointer), call("image_height_px", self._pointer)


def _image(source: Any) -> c_void_p:
    if isinstance(source, (str, os.PathLike)):
        return _made("image", "image_from_path", text(os.fspath(source)))
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        return _made("image", "image_from_encoded", data, len(data))
    if hasattr(source, "convert") and hasattr(source, "tobytes"):
        return _pixels(source.convert("RGB").tobytes(), *source.size, 3)
    if hasattr(source, "__array_interface__"):
        return _array(source)
    raise TypeError(f"image: found {type(source).__name__}, expected a path, bytes, a PIL image or an array")


def _array(array: Any) -> c_void_p:
    shape, kind = array.shape, array.__array_interface__["typestr"]
    channels = {2: (1,), 3: shape[2:]}.get(len(shape), (0,))[0]
    if kind != "|u1" or channels not in (1, 3, 4):
        raise TypeError(f"image: found an array of {kind} {tuple(shape)}, expected uint8 [height, width(, 1, 3 or 4)]")
    return _pixels(array.tobytes(), shape[1], shape[0], channels)


def _pixels(data: bytes, width: int, height: int, channels: int) -> c_void_p:
    pixels = struct(
        _native.Pixels,
        data=data,
        data_len=len(data),
        width_px=width,
        height_px=height,
        format=_FORMATS.get(channels, _GRAY),
    )
    return _made("image", "image_from_pixels", byref(pixels))


class ImageFeatures(_Handle):
    """An image that went through the vision tower once, to be asked often."""


class Cancel(_Handle):
    """Ends runs early, from any thread."""

    def __init__(self) -> None:
        super().__init__(_made("cancel", "cancel_new"), "cancel")

    def fire(self) -> None:
        """Ends every run that was given this."""
        call("cancel_fire", self._pointer)

    @property
    def fired(self) -> bool:
        """Whether it was fired."""
        return call("cancel_is_fired", self._pointer)


@dataclass(frozen=True)
class Request:
    """A question about an image.

    `task` is a task's token such as `<OD>`, with `input` its text, or `region` its box in pixels where it
    needs one; `prompt` instead is free text for fine-tunes.
    """

    image: Any
    task: str | None = None
    input: str | None = None
    region: Sequence[float] | None = None
    prompt: str | None = None

    def _fill(self, request: _native.Request, kept: list[object]) -> None:
        subject = self.image if isinstance(self.image, (Image, ImageFeatures)) else Image(self.image)
        kept.append(subject)
        request.struct_size = ctypes.sizeof(_native.Request)
        field = "image_features" if isinstance(subject, ImageFeatures) else "image"
        setattr(request, field, subject._pointer)
        for name in ("task", "prompt", "input"):
            setattr(request, name, text(getattr(self, name)))
        if self.region is not None:
            request.region[:] = list(self.region)
            request.region_unit = _REGION_PX


class Model(_Handle):
    """A loaded model. Immutable: any number of threads may run it at once."""

    @staticmethod
    def load(
        directory: str | os.PathLike[str],
        *,
        device: str | None = None,
        dtype: str | None = None,
        adapters: Sequence[str | os.PathLike[str]] = (),
        threads: int = 0,
    ) -> Model:
        """Loads a folder in either layout, with LoRA adapters merged in order.

        `device` is one of `devices()`, None the best one; `dtype` is how weights are kept and multiplied: `f32`, `f16`,
        `bf16` or `int8`, as the device has them, None for `f32`. `threads` are the model's own; 0 is for the process's.
        """
        options, _kept = _load_options(device, dtype, adapters, threads)
        return Model(_made("model", "model_load", text(os.fspath(directory)), byref(options)), "model")

    @staticmethod
    def demo(*, device: str | None = None, dtype: str | None = None, threads: int = 0) -> Model:
        """The embedded demo model, which knows coloured shapes and short words."""
        options, _kept = _load_options(device, dtype, (), threads)
        return Model(_made("model", "model_load_demo", byref(options)), "model")

    @property
    def device(self) -> str:
        """Where the model is."""
        return call("model_device", self._pointer).decode()

    @property
    def warnings(self) -> list[str]:
        """Settings and tensors of the model's files that it was loaded without, one line each."""
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
        **options: Any,
    ) -> Result:
        """Answers one request: see Request for it, and run_batch for `options`."""
        return self.run_batch([Request(image, task, input, region, prompt)], **options)[0]

    def run_batch(
        self,
        requests: Sequence[Request],
        *,
        hf_compat: bool = False,
        deadline_ms: int = 0,
        cancel: Cancel | None = None,
        on_token: Callable[[int, str, float], object] | None = None,
        **generation: Any,
    ) -> list[Result]:
        """Answers requests together, each as it would be answered alone.

        `generation` holds options by their names in generation_config.json (`num_beams=3`). `on_token`
        hears of each token, with its request, text and log-probability, and ends the run by returning
        something true; what it raises is raised here. `hf_compat` gives transformers' integer coordinates.
        """
        kept: list[object] = []
        native = (_native.Request * len(requests))()
        for request, slot in zip(requests, native):
            request._fill(slot, kept)
        raised: list[BaseException] = []
        options = _run_options(deadline_ms, cancel, generation)
        options.compat = int(hf_compat)
        is_ended_at_exit = on_token is not None and threading.current_thread() is not threading.main_thread()
        if on_token is not None:
            options.on_token = _token_callback(on_token, raised, is_ended_at_exit)
        results = (c_void_p * len(requests))()
        try:
            with _native.running_callbacks if is_ended_at_exit else contextlib.nullcontext():
                call_or_raise("model_run_batch", self._pointer, native, len(requests), byref(options), results)
        except _native.Error:
            if raised:
                raise raised[0] from None
            if is_ended_at_exit and _native.running_callbacks.ending:
                raise SystemExit from None
            raise
        try:
            return [Result.from_json(call("result_json", result).decode()) for result in results]
        finally:
            for result in results:
                call("result_free", result)

    def encode_image(self, image: Any, *, deadline_ms: int = 0, cancel: Cancel | None = None) -> ImageFeatures:
        """Runs the vision tower, once for many requests."""
        image = image if isinstance(image, Image) else Image(image)
        options = _run_options(deadline_ms, cancel, {})
        pointer = _made("image_features", "model_encode_image", self._pointer, image._pointer, byref(options))
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
        """How likely the model finds `target` as the answer."""
        kept: list[object] = []
        native = _native.Request()
        Request(image, task, input, region, prompt)._fill(native, kept)
        options = _run_options(deadline_ms, cancel, {})
        score = _made("score", "model_score", self._pointer, byref(native), text(target), byref(options))
        try:
            return Score.from_json(call("score_json", score).decode())
        finally:
            call("score_free", score)


def _load_options(
    device: str | None, dtype: str | None, adapters: Sequence[str | os.PathLike[str]], threads: int
) -> tuple[ctypes.Structure, object]:
    paths = (c_char_p * len(adapters))(*(text(os.fspath(adapter)) for adapter in adapters))
    options = struct(
        _native.LoadOptions,
        device=text(device),
        dtype=text(dtype),
        adapters_len=len(adapters),
        threads=threads,
    )
    if adapters:
        options.adapters = paths
    return options, paths


def _run_options(deadline_ms: int, cancel: Cancel | None, generation: dict[str, Any]) -> _native.RunOptions:
    return struct(
        _native.RunOptions,
        deadline_ms=deadline_ms,
        cancel=cancel._pointer if cancel is not None else None,
        generation_config=json.dumps(generation).encode() if generation else None,
    )


def _token_callback(
    on_token: Callable[[int, str, float], object], raised: list[BaseException], is_ended_at_exit: bool
) -> Any:
    def hear(token: Any, _user: object) -> int:
        if raised or is_ended_at_exit and _native.running_callbacks.ending:
            return 1
        try:
            token = token.contents
            return int(bool(on_token(token.request, token.text.decode(), token.log_prob)))
        except BaseException as error:  # Nothing may unwind through the library.
            raised.append(error)
            return 1

    return _native.TokenCallback(hear)
