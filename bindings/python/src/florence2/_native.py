"""libflorence2's C API: its structs, its functions, its errors. ctypes releases the GIL in each call."""

from __future__ import annotations

import atexit
import ctypes
import enum
import json
import os
import sys
import threading
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path

ABI_VERSION = 1


class Status(enum.IntEnum):
    """Why a call failed: florence2_status."""

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
        """The status of a number that a later library adds: it has the number, and the name `UNKNOWN`."""
        if not isinstance(value, int):
            return None
        status = int.__new__(cls, value)
        status._name_, status._value_ = "UNKNOWN", value
        return status


class Error(Exception):
    """A call that failed, with the library's message. `status` may have a number that Status does not list."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


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
    ]


class LoadOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("device", c_char_p),
        ("dtype", c_char_p),
        ("adapters", POINTER(c_char_p)),
        ("adapters_len", c_size_t),
        ("threads", c_size_t),
    ]


class Token(ctypes.Structure):
    _fields_ = [("request", c_size_t), ("text", c_char_p), ("token_id", c_uint32), ("log_prob", c_float)]


TokenCallback = ctypes.CFUNCTYPE(c_int32, POINTER(Token), c_void_p)


class RunOptions(ctypes.Structure):
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
        ("compat", c_int32),
        ("reserved", c_uint32),
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
# Results and arguments of every function that is used.
FUNCTIONS = {
    "abi_version": (c_uint32, []),
    "version": (c_char_p, []),
    "system_info_json": (c_char_p, []),
    "trim": (None, []),
    "simd_level_set": (c_int32, [c_char_p, ERROR]),
    "device_count": (c_size_t, []),
    "device_name": (c_char_p, [c_size_t]),
    "error_message": (c_char_p, [c_void_p]),
    "error_free": (None, [c_void_p]),
    "image_from_encoded": (c_int32, [c_char_p, c_size_t, POINTER(c_void_p), ERROR]),
    "image_from_path": (c_int32, [c_char_p, POINTER(c_void_p), ERROR]),
    "image_from_pixels": (c_int32, [POINTER(Pixels), POINTER(c_void_p), ERROR]),
    "image_width_px": (c_uint32, [c_void_p]),
    "image_height_px": (c_uint32, [c_void_p]),
    "image_free": (None, [c_void_p]),
    "image_features_free": (None, [c_void_p]),
    "model_load": (c_int32, [c_char_p, POINTER(LoadOptions), POINTER(c_void_p), ERROR]),
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
    "model_run_batch": (c_int32, [c_void_p, POINTER(Request), c_size_t, POINTER(RunOptions), POINTER(c_void_p), ERROR]),
    "model_encode_image": (c_int32, [c_void_p, c_void_p, POINTER(RunOptions), POINTER(c_void_p), ERROR]),
    "model_score": (c_int32, [c_void_p, POINTER(Request), c_char_p, POINTER(RunOptions), POINTER(c_void_p), ERROR]),
    "score_json": (c_char_p, [c_void_p]),
    "score_free": (None, [c_void_p]),
}


def _load() -> ctypes.CDLL:
    """The library that FLORENCE2_LIBRARY names, else the one beside this file."""
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


def call(name: str, *arguments: object) -> object:
    """Calls a function that cannot fail."""
    return getattr(_library, f"florence2_{name}")(*arguments)


def call_or_raise(name: str, *arguments: object) -> None:
    """Calls a function whose last argument is the error."""
    error = c_void_p()
    status = getattr(_library, f"florence2_{name}")(*arguments, ctypes.byref(error))
    if status != Status.OK:
        message = _library.florence2_error_message(error).decode()
        _library.florence2_error_free(error)
        raise Error(Status(status), message or f"florence2 status {status}")


class RunningCallbacks:
    """Counts the calls of other threads than the main one that may call back into Python, and ends them at exit.

    Python ends a thread that calls into an interpreter which is gone, and the library's frames do not survive that. Here
    a daemon thread ends with SystemExit instead, which threads do not report.
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


def struct(kind: type[ctypes.Structure], **fields: object) -> ctypes.Structure:
    """An options struct with its size set: zero is the default of every other field."""
    value = kind(struct_size=ctypes.sizeof(kind))
    for name, field in fields.items():
        setattr(value, name, field)
    return value


def text(value: str | None) -> bytes | None:
    """As the library reads it: UTF-8 that ends with NUL, so none may be inside."""
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
    """What a model can be loaded onto."""
    return [call("device_name", index).decode() for index in range(call("device_count"))]


def system_info() -> dict[str, object]:
    """The library and the machine, for reports of faults."""
    return json.loads(call("system_info_json"))


def trim() -> None:
    """Frees memory that the library keeps for later runs."""
    call("trim")


def set_simd_level(level: str) -> None:
    """Sets the SIMD level of the device `cpu` for the whole process, before the first model is loaded."""
    call_or_raise("simd_level_set", text(level))
