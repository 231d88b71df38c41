"""Options of loading a model."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import _c_api
from ._handle import Cancel, pointer_of
from ._native import Callbacks, struct, text

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter in PEFT's format: a folder, or its files in memory by their names.

    `scale` is the factor of the adapter's updates, as PEFT's `set_scale`.
    """

    folder: Path | None = None
    scale: float = 1.0
    files: Mapping[str, Any] | None = None

    def _struct(self) -> _c_api.Adapter:
        # The C API takes 0 for 1.
        if ctypes.c_float(self.scale).value == 0:
            raise ValueError(f"scale: found {self.scale}, expected a number other than 0")
        adapter = _c_api.Adapter(folder=text(_path(self.folder)), scale=self.scale)
        if self.files is not None:
            adapter.files, adapter.files_len = files_of(self.files), len(self.files)
        return adapter


@dataclass(frozen=True)
class LoadProgress:
    """The progress of loading a model: tensors, and values in tensors (parameters), of the totals."""

    tensors: int
    total_tensors: int
    parameters: int
    total_parameters: int


def files_of(files: Mapping[str, Any]) -> ctypes.Array[_c_api.File]:
    """Files in memory. The library reads `bytes` in place; other buffers are copied."""
    array = (_c_api.File * len(files))()
    for file, (name, data) in zip(array, files.items()):
        data = data if isinstance(data, bytes) else memoryview(data).tobytes()
        file.name, file.data, file.data_len = text(name), data, len(data)
    return array


def load_options(
    *,
    device: str | None,
    dtype: str | None,
    adapters: Sequence[Path | Adapter],
    threads: int,
    spin_limit: int,
    on_progress: Callable[[LoadProgress], object] | None,
    cancel: Cancel | None,
    weights: Path | None = None,
    processor: Path | None = None,
) -> tuple[_c_api.LoadOptions, Callbacks]:
    """The options as the C API takes them, and the callbacks, which must surround the call."""
    if isinstance(adapters, (str, bytes, os.PathLike, Adapter)):
        raise TypeError(f"adapters: found {type(adapters).__name__}, expected a sequence of folders or adapters")
    native = [(adapter if isinstance(adapter, Adapter) else Adapter(adapter))._struct() for adapter in adapters]
    callbacks = Callbacks()
    options = struct(
        _c_api.LoadOptions,
        device=text(device),
        dtype=text(dtype),
        adapters=(_c_api.Adapter * len(native))(*native),
        adapters_len=len(native),
        threads=threads,
        spin_limit=spin_limit,
        on_progress=callbacks.native(_c_api.LoadProgressCallback, on_progress, _progress),
        cancel=pointer_of(cancel),
        weights=text(_path(weights)),
        processor=text(_path(processor)),
    )
    return options, callbacks


def _progress(progress: Any) -> LoadProgress:
    return LoadProgress(progress.tensors, progress.total_tensors, progress.parameters, progress.total_parameters)


def _path(path: Path | None) -> str | None:
    return None if path is None else os.fspath(path)
