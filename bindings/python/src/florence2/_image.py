"""Images: files, pixels and YUV frames."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from ctypes import byref, c_void_p
from typing import Any

from ._c_api import (
    DecodeOptions,
    PixelFormat,
    PixelFormatName,
    Pixels,
    Yuv,
    YuvFormat,
    YuvFormatName,
    YuvMatrix,
    YuvMatrixName,
    YuvRange,
    YuvRangeName,
)
from ._handle import Handle, made
from ._native import call, number, struct, text

_FORMAT_OF_CHANNELS = {1: "gray", 3: "rgb", 4: "rgba"}
_YUV_PLANES = {"nv12": "yu", "i420": "yuv"}


class Image(Handle):
    """A decoded image, from a path, encoded bytes, a PIL image or a uint8 array `[height, width(, channels)]`.

    `max_pixels` is the largest number of pixels that are decoded from a path or bytes, 0 for 178,956,970. A larger image
    is refused before it is decoded. The channels of an array are gray, RGB or RGBA; `from_pixels` accepts other orders.
    """

    def __init__(self, source: Any, *, max_pixels: int = 0) -> None:
        super().__init__(_image(source, max_pixels), "image_free")

    @classmethod
    def from_pixels(
        cls,
        data: Any,
        size: tuple[int, int],
        format: PixelFormatName = "rgb",
        *,
        stride_bytes: int = 0,
        region: Sequence[int] | None = None,
    ) -> Image:
        """Copies pixels from a buffer, such as bytes or a memoryview.

        `size` is width and height in pixels. `format` is `rgb`, `rgba`, `bgr`, `bgra` or `gray`, of one byte per channel.
        `stride_bytes` is the distance between the starts of two rows, 0 for rows without gaps. `region` is the box
        (x1, y1, x2, y2) of the pixels that become the image, without column x2 and row y2; None for all pixels.
        """
        data = _bytes(data)
        pixels = struct(
            Pixels,
            data=data,
            data_len=len(data),
            stride_bytes=stride_bytes,
            format=number("format", format, PixelFormat),
            **_size_fields(size, region),
        )
        return cls._of("image_from_pixels", byref(pixels))

    @classmethod
    def from_yuv(
        cls,
        planes: Sequence[Any],
        size: tuple[int, int],
        format: YuvFormatName = "nv12",
        *,
        matrix: YuvMatrixName = "bt601",
        range: YuvRangeName = "limited",
        strides_bytes: Sequence[int] | None = None,
        region: Sequence[int] | None = None,
    ) -> Image:
        """Converts a YUV frame with 4:2:0 subsampling to RGB.

        `planes` are buffers: Y and interleaved UV with the `format` `nv12`, and Y, U and V with `i420`. `matrix` is
        `bt601` or `bt709`. `range` is `limited` (luma 16 to 235, chroma 16 to 240) or `full` (0 to 255). `strides_bytes`
        has one number per plane. Otherwise as `from_pixels`.
        """
        format_number = number("format", format, YuvFormat)
        names = _YUV_PLANES[format]
        strides_bytes = [0] * len(names) if strides_bytes is None else strides_bytes
        for argument, values in (("planes", planes), ("strides_bytes", strides_bytes)):
            if len(values) != len(names):
                raise ValueError(f"{argument}: found {len(values)}, expected {len(names)} with the format {format}")
        fields: dict[str, Any] = {}
        for name, plane, stride_bytes in zip(names, map(_bytes, planes), strides_bytes):
            fields |= {name: plane, f"{name}_len": len(plane), f"{name}_stride_bytes": stride_bytes}
        yuv = struct(
            Yuv,
            format=format_number,
            matrix=number("matrix", matrix, YuvMatrix),
            range=number("range", range, YuvRange),
            **fields,
            **_size_fields(size, region),
        )
        return cls._of("image_from_yuv", byref(yuv))

    @classmethod
    def _of(cls, function: str, *arguments: object) -> Image:
        image = cls.__new__(cls)
        Handle.__init__(image, made(function, *arguments), "image_free")
        return image

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return call("image_width_px", self._pointer), call("image_height_px", self._pointer)


class ImageFeatures(Handle):
    """The vision tower's output for an image, for any number of requests to the model that computed it."""


def _image(source: Any, max_pixels: int) -> c_void_p:
    options = struct(DecodeOptions, max_pixels=max_pixels)
    if isinstance(source, (str, os.PathLike)):
        return made("image_from_path", text(os.fspath(source)), byref(options))
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = _bytes(source)
        return made("image_from_encoded", data, len(data), byref(options))
    if max_pixels:
        raise TypeError(f"max_pixels: found an image of {type(source).__name__}, expected a path or bytes")
    if hasattr(source, "convert") and hasattr(source, "tobytes"):
        width, height = source.size
        return _pixels(source.convert("RGB").tobytes(), width, height, 3)
    if hasattr(source, "__array_interface__"):
        return _array(source)
    raise TypeError(f"image: found {type(source).__name__}, expected a path, bytes, a PIL image or an array")


def _array(array: Any) -> c_void_p:
    shape, kind = array.shape, array.__array_interface__["typestr"]
    channels = {2: (1,), 3: shape[2:]}.get(len(shape), (0,))[0]
    if kind != "|u1" or channels not in _FORMAT_OF_CHANNELS:
        raise TypeError(f"image: found an array of {kind} {tuple(shape)}, expected uint8 [height, width(, 1, 3 or 4)]")
    return _pixels(array.tobytes(), shape[1], shape[0], channels)


def _pixels(data: bytes, width: int, height: int, channels: int) -> c_void_p:
    pixels = struct(
        Pixels,
        data=data,
        data_len=len(data),
        width_px=width,
        height_px=height,
        format=PixelFormat[_FORMAT_OF_CHANNELS[channels].upper()],
    )
    return made("image_from_pixels", byref(pixels))


def _size_fields(size: tuple[int, int], region: Sequence[int] | None) -> dict[str, int]:
    width, height = map(operator.index, size)
    fields = {"width_px": width, "height_px": height}
    if region is not None:
        x1, y1, x2, y2 = map(operator.index, region)
        # The C API takes an empty region at the origin for all pixels.
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise ValueError(f"region: found {tuple(region)}, expected x1 < x2 and y1 < y2 within {width}x{height} pixels")
        fields |= {"region_x_px": x1, "region_y_px": y1, "region_width_px": x2 - x1, "region_height_px": y2 - y1}
    return fields


def _bytes(buffer: Any) -> bytes:
    if isinstance(buffer, bytes):
        return buffer
    view = memoryview(buffer)
    if view.itemsize != 1:
        raise TypeError(f"data: found items of {view.itemsize} bytes ({view.format}), expected bytes")
    return view.tobytes()
