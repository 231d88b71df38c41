"""The C API of libflorence2: structs, functions and errors. ctypes releases the GIL during each call."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import enum
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, TypeVar

ABI_VERSION = 1


class Status(enum.IntEnum):
    """The outcome of a call: florence2_status."""

    OK = 0
    INVALID_ARGUMENT = 1
    IO = 2
    INVALID_MODEL = 3
    INVALID_IMAGE = 4
    UNSUPPORTED_DEVICE = 5
    NOT_IN_THIS_BUILD = 6
    CANCELLED = 7
    DEADLINE_EXCEEDED = 8
    NOT_FINITE = 9
    PANIC = 10
    DEVICE_FAILED = 11
    FORKED = 12

    @classmethod
    def _missing_(cls, value: object) -> Status | None:
        """Returns a status named `UNKNOWN` for a number that this binding does not list: later libraries add some."""
        if not isinstance(value, int):
            return None
        status = int.__new__(cls, value)
        status._name_, status._value_ = "UNKNOWN", value
        return status


class Error(Exception):
    """The error of a failed call, with the library's message. `status` may have a number that Status does not list."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class DecodeOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("max_pixels", c_uint64)]


class Pixels(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("data", c_char_p),
        ("data_len", c_size_t),
        ("stride_bytes", c_size_t),
        ("width_px", c_uint32),
        ("height_px", c_uint32),
        ("format", c_int32),
        ("reserved", c_uint32),
        ("region_x_px", c_uint32),
        ("region_y_px", c_uint32),
        ("region_width_px", c_uint32),
        ("region_height_px", c_uint32),
    ]


class Yuv(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("y", c_char_p),
        ("y_len", c_size_t),
        ("y_stride_bytes", c_size_t),
        ("u", c_char_p),
        ("u_len", c_size_t),
        ("u_stride_bytes", c_size_t),
        ("v", c_char_p),
        ("v_len", c_size_t),
        ("v_stride_bytes", c_size_t),
        ("width_px", c_uint32),
        ("height_px", c_uint32),
        ("format", c_int32),
        ("matrix", c_int32),
        ("range", c_int32),
        ("reserved", c_uint32),
        ("region_x_px", c_uint32),
        ("region_y_px", c_uint32),
        ("region_width_px", c_uint32),
        ("region_height_px", c_uint32),
    ]


class File(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("data", c_char_p), ("data_len", c_size_t)]


class Adapter(ctypes.Structure):
    _fields_ = [
        ("folder", c_char_p),
        ("files", POINTER(File)),
        ("files_len", c_size_t),
        ("scale", c_float),
        ("reserved", c_uint32),
    ]


class LoadProgress(ctypes.Structure):
    _fields_ = [
        ("tensors", c_size_t),
        ("total_tensors", c_size_t),
        ("parameters", c_uint64),
        ("total_parameters", c_uint64),
    ]


LoadProgressCallback = ctypes.CFUNCTYPE(c_int32, POINTER(LoadProgress), c_void_p)


class LoadOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("device", c_char_p),
        ("dtype", c_char_p),
        ("adapters", POINTER(Adapter)),
        ("adapters_len", c_size_t),
        ("threads", c_size_t),
        ("spin_limit", c_int32),
        ("reserved", c_uint32),
        ("on_progress", LoadProgressCallback),
        ("user", c_void_p),
        ("cancel", c_void_p),
        ("weights", c_char_p),
        ("processor", c_char_p),
    ]


class Token(ctypes.Structure):
    _fields_ = [("request", c_size_t), ("text", c_char_p), ("token_id", c_uint32), ("log_prob", c_float)]


TokenCallback = ctypes.CFUNCTYPE(c_int32, POINTER(Token), c_void_p)


class RunOptions(ctypes.Structure):
    """The first fields of florence2_run_options: `generation_config` holds the options of the later ones."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("num_beams", c_uint32),
        ("num_return_sequences", c_uint32),
        ("max_new_tokens", c_uint32),
        ("min_new_tokens", c_uint32),
        ("do_sample", c_int32),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("temperature", c_float),
        ("repetition_penalty", c_float),
        ("length_penalty", c_float),
        ("no_repeat_ngram_size", c_int32),
        ("early_stopping", c_int32),
        ("coordinates", c_int32),
        ("location_tolerance", c_int32),
        ("seed", c_uint64),
        ("eos_token_ids", POINTER(c_uint32)),
        ("eos_token_ids_len", c_size_t),
        ("generation_config", c_char_p),
        ("deadline_ms", c_uint64),
        ("cancel", c_void_p),
        ("on_token", TokenCallback),
        ("on_progress", c_void_p),
        ("user", c_void_p),
    ]


class Request(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("image", c_void_p),
        ("image_features", c_void_p),
        ("task", c_char_p),
        ("prompt", c_char_p),
        ("input", c_char_p),
        ("region", c_double * 4),
        ("region_unit", c_int32),
        ("reserved", c_uint32),
    ]


ERROR = POINTER(c_void_p)
# The result and the arguments of each function that the binding calls.
FUNCTIONS = {
    "abi_version": (c_uint32, []),
    "version": (c_char_p, []),
    "system_info_json": (c_char_p, []),
    "trim": (None, []),
    "simd_level_set": (c_int32, [c_char_p, ERROR]),
    "device_count": (c_size_t, []),
    "device_name": (c_char_p, [c_size_t]),
    "error_status": (c_int32, [c_void_p]),
    "error_message": (c_char_p, [c_void_p]),
    "error_free": (None, [c_void_p]),
    "image_from_encoded": (c_int32, [c_char_p, c_size_t, POINTER(DecodeOptions), POINTER(c_void_p), ERROR]),
    "image_from_path": (c_int32, [c_char_p, POINTER(DecodeOptions), POINTER(c_void_p), ERROR]),
    "image_from_pixels": (c_int32, [POINTER(Pixels), POINTER(c_void_p), ERROR]),
    "image_from_yuv": (c_int32, [POINTER(Yuv), POINTER(c_void_p), ERROR]),
    "image_width_px": (c_uint32, [c_void_p]),
    "image_height_px": (c_uint32, [c_void_p]),
    "image_free": (None, [c_void_p]),
    "image_features_free": (None, [c_void_p]),
    "model_load": (c_int32, [c_char_p, POINTER(LoadOptions), POINTER(c_void_p), ERROR]),
    "model_load_memory": (c_int32, [POINTER(File), c_size_t, POINTER(LoadOptions), POINTER(c_void_p), ERROR]),
    "model_load_demo": (c_int32, [POINTER(LoadOptions), POINTER(c_void_p), ERROR]),
    "model_device": (c_char_p, [c_void_p]),
    "model_warning_count": (c_size_t, [c_void_p]),
    "model_warning": (c_char_p, [c_void_p, c_size_t]),
    "model_free": (None, [c_void_p]),
    "cancel_new": (c_int32, [POINTER(c_void_p), ERROR]),
    "cancel_fire": (None, [c_void_p]),
    "cancel_is_fired": (ctypes.c_bool, [c_void_p]),
    "cancel_free": (None, [c_void_p]),
    "result_json": (c_char_p, [c_void_p]),
    "result_free": (None, [c_void_p]),
    "model_run": (c_int32, [c_void_p, POINTER(Request), POINTER(RunOptions), POINTER(c_void_p), ERROR]),
    "model_run_batch": (
        c_int32,
        [c_void_p, POINTER(Request), c_size_t, POINTER(RunOptions), POINTER(c_void_p), POINTER(c_void_p), ERROR],
    ),
    "model_encode_image": (c_int32, [c_void_p, c_void_p, POINTER(RunOptions), POINTER(c_void_p), ERROR]),
    "model_score": (c_int32, [c_void_p, POINTER(Request), c_char_p, POINTER(RunOptions), POINTER(c_void_p), ERROR]),
    "score_json": (c_char_p, [c_void_p]),
    "score_free": (None, [c_void_p]),
}


def _load() -> ctypes.CDLL:
    """Loads the library that FLORENCE2_LIBRARY names, or the one beside this file."""
    suffix = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")
    path = os.environ.get("FLORENCE2_LIBRARY") or Path(__file__).with_name(f"libflorence2.{suffix}")
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, f"florence2_{name}")
        function.restype, function.argtypes = result, arguments
    found = library.florence2_abi_version()
    if found != ABI_VERSION:
        raise ImportError(f"{path}: found ABI {found}, expected {ABI_VERSION}")
    return library


_library = _load()


def call(name: str, *arguments: object) -> Any:
    """Calls a function that does not fail."""
    return getattr(_library, f"florence2_{name}")(*arguments)


def call_or_raise(name: str, *arguments: object) -> None:
    """Calls a function whose last argument receives the error."""
    pointer = c_void_p()
    status = getattr(_library, f"florence2_{name}")(*arguments, ctypes.byref(pointer))
    if status != Status.OK:
        error = error_of(status, pointer)
        call("error_free", pointer)
        raise error


def error_of(status: int, pointer: object) -> Error:
    """Copies an error of the library."""
    message = call("error_message", pointer).decode()
    return Error(Status(status), message or f"florence2 status {status}")


class RunningCallbacks:
    """Counts the calls with callbacks on threads other than the main one, and waits at exit until they have ended.

    Python terminates a thread that enters a finalized interpreter, and the library's frames must not be unwound. Such
    calls therefore end before the interpreter does, with SystemExit, which the threading module does not report.
    """

    LIMIT_S = 10.0

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self.ending = False
        atexit.register(self._end)

    def __enter__(self) -> None:
        with self._changed:
            if self.ending:
                raise SystemExit
            self._count += 1

    def __exit__(self, *_exception: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            self.ending = True
            self._changed.wait_for(lambda: self._count == 0, self.LIMIT_S)


running_callbacks = RunningCallbacks()


class Callback:
    """A Python function as a callback of one call: a true result or an exception of it ends the call.

    `arguments` converts the struct that the library passes to the arguments of `function`.
    """

    def __init__(self, function: Callable[..., object] | None, arguments: Callable[[Any], tuple[object, ...]]) -> None:
        self._function = function
        self._arguments = arguments
        self._raised: list[BaseException] = []
        self._is_ended_at_exit = function is not None and threading.current_thread() is not threading.main_thread()

    def native(self, kind: Any) -> Any:
        """The C function of the type `kind`, NULL without a function."""
        return kind() if self._function is None else kind(self._receive)

    def _receive(self, value: Any, _user: object) -> int:
        if self._raised or self._is_ended_at_exit and running_callbacks.ending:
            return 1
        try:
            return int(bool(self._function(*self._arguments(value.contents))))
        except BaseException as error:  # No exception may unwind through the library.
            self._raised.append(error)
            return 1

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Surrounds the call. Raises the function's exception instead of the library's error."""
        try:
            with running_callbacks if self._is_ended_at_exit else contextlib.nullcontext():
                yield
        except Error:
            if self._raised:
                raise self._raised[0] from None
            if self._is_ended_at_exit and running_callbacks.ending:
                raise SystemExit from None
            raise


_Struct = TypeVar("_Struct", bound=ctypes.Structure)


def struct(kind: type[_Struct], **fields: object) -> _Struct:
    """Creates a struct with its size set. Zero is the default of each field that `fields` lacks."""
    value = kind(struct_size=ctypes.sizeof(kind))
    for name, field in fields.items():
        setattr(value, name, field)
        # ctypes cuts integers to the field's size.
        if isinstance(field, int) and getattr(value, name) != field:
            raise ValueError(f"{name}: found {field}, expected an integer within the range of the C API's field")
    return value


def text(value: str | None) -> bytes | None:
    """Encodes a C string: UTF-8 that ends with NUL, so that the text may contain none."""
    if value is not None and "\0" in value:
        raise ValueError("text: found a NUL character, expected none")
    return None if value is None else value.encode()


def version() -> str:
    """The library's version."""
    return call("version").decode()


def abi_version() -> int:
    """The version of the library's binary interface."""
    return call("abi_version")


def devices() -> list[str]:
    """The devices of this build and machine, best first, as `Model.load` takes them."""
    return [call("device_name", index).decode() for index in range(call("device_count"))]


def system_info() -> dict[str, object]:
    """A description of the library and the machine, for bug reports."""
    return json.loads(call("system_info_json"))


def trim() -> None:
    """Returns memory that the library keeps for later runs to the system."""
    call("trim")


def set_simd_level(level: str) -> None:
    """Sets the SIMD level of the device `cpu` for the whole process, before the first model is loaded."""
    call_or_raise("simd_level_set", text(level))
