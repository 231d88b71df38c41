"""Calls of libflorence2: loading, errors and callbacks. ctypes releases the GIL during each call."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from ctypes import c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from ._c_api import (
    ABI_VERSION,
    FUNCTIONS,
    LogCallback,
    LogLevel,
    LogLevelName,
    PostProcessingType,
    PostProcessingTypeName,
    Status,
    TaskInput,
    TaskInputName,
)
from ._enumeration import Enumeration


class Error(Exception):
    """The error of a failed call, with the library's message. `status` may have a number that Status does not list."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


def _load() -> ctypes.CDLL:
    """Loads the library that FLORENCE2_LIBRARY names, or the one beside this file."""
    name = {"darwin": "libflorence2.dylib", "win32": "florence2.dll"}.get(sys.platform, "libflorence2.so")
    path = os.environ.get("FLORENCE2_LIBRARY") or Path(__file__).with_name(name)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(
            f"{path}: cannot be loaded: {error}; expected the library of this package, or its path in FLORENCE2_LIBRARY"
        ) from None
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, f"florence2_{name}", None)
        if function is None:
            raise ImportError(f"{path}: found no function florence2_{name}, expected the version of this package or later")
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


class Callbacks:
    """Python functions as the callbacks of one call: the result `True` or an exception of one of them ends the call."""

    def __init__(self) -> None:
        self._raised: list[BaseException] = []
        self._is_ended_at_exit = False

    def native(self, kind: Any, function: Callable[[Any], object] | None, argument: Callable[[Any], object]) -> Any:
        """Returns the C function of the type `kind`; NULL without a function.

        `argument` converts the struct that the library passes to the argument of `function`.
        """
        if function is None:
            return kind()
        self._is_ended_at_exit = threading.current_thread() is not threading.main_thread()

        def receive(value: Any, _user: object) -> int:
            if self._raised or self._is_ended_at_exit and running_callbacks.ending:
                return 1
            try:
                return int(function(argument(value.contents)) is True)
            except BaseException as error:  # No exception may unwind through the library.
                self._raised.append(error)
                return 1

        return kind(receive)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Surrounds the call. Raises a function's exception instead of the library's error."""
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


def number(argument: str, name: str, kind: type[Enumeration]) -> int:
    """Returns the number of an enum's member by its name in lower case."""
    names = {member.name.lower(): member.value for member in kind}
    if name not in names:
        raise ValueError(f"{argument}: found {name!r}, expected one of {', '.join(names)}")
    return names[name]


def text(value: str | None) -> bytes | None:
    """Encodes a C string: UTF-8 that ends with NUL, so that the text may contain none."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"text: found {type(value).__name__}, expected str")
    if value is not None and "\0" in value:
        raise ValueError("text: found a NUL character, expected none")
    return None if value is None else value.encode()


def version() -> str:
    """The library's version."""
    found: str = call("version").decode()
    return found


def abi_version() -> int:
    """The version of the library's binary interface."""
    found: int = call("abi_version")
    return found


def devices() -> list[str]:
    """The devices of this build and machine, best first, as `Model.load` takes them."""
    return [call("device_name", index).decode() for index in range(call("device_count"))]


@dataclass(frozen=True)
class Task:
    """A task of the model."""

    token: str
    """The task's token, such as `<OD>`."""
    input: TaskInputName
    """The input that the task needs besides the image: `none`, `text` or `region`."""
    post_processing_type: PostProcessingTypeName
    """The format of the answers, as in transformers: `pure_text`, `bboxes`, `ocr` and others."""


def tasks() -> list[Task]:
    """The tasks of Florence-2."""
    return [_task(call("task_token", index)) for index in range(call("task_count"))]


def _task(token: bytes) -> Task:
    input_ = TaskInput(call("task_input_of", token)).name.lower()
    post_processing_type = PostProcessingType(call("task_post_processing_type", token)).name.lower()
    return Task(token.decode(), cast(TaskInputName, input_), cast(PostProcessingTypeName, post_processing_type))


def system_info() -> dict[str, Any]:
    """A description of the library and the machine, for bug reports."""
    info: dict[str, Any] = json.loads(call("system_info_json"))
    return info


def trim() -> None:
    """Returns memory that the library keeps for later runs to the system."""
    call("trim")


def set_simd_level(level: str) -> None:
    """Sets the SIMD level of the device `cpu` for the whole process, before the first model is loaded."""
    call_or_raise("simd_level_set", text(level))


_LOGGER = logging.getLogger("florence2")
_LOGGING_LEVELS = {
    LogLevel.ERROR: logging.ERROR,
    LogLevel.WARN: logging.WARNING,
    LogLevel.INFO: logging.INFO,
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.TRACE: logging.DEBUG,
}


def _receive_message(level: int, target: bytes, message: bytes, _user: object) -> None:
    with contextlib.suppress(Exception):  # No exception may unwind through the library.
        _LOGGER.log(_LOGGING_LEVELS.get(LogLevel(level), logging.DEBUG), "%s: %s", target.decode(), message.decode())


_LOG_CALLBACK = LogCallback(_receive_message)


def set_log_level(level: LogLevelName) -> None:
    """Sends the library's messages of this level and of more severe levels to the logger `florence2`.

    At first, the level is `off`. Handlers of the logger must not load or run a model.
    """
    found = number("level", level, LogLevel)
    call_or_raise("log_set", _LOG_CALLBACK if found else LogCallback(), None, found)
    atexit.unregister(set_log_level)
    if found:
        # A callback must not be called while the interpreter is finalized.
        atexit.register(set_log_level, "off")
