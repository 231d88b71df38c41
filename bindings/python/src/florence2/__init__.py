"""Microsoft's Florence-2: caption, detect, ground, segment and read text, with libflorence2.

>>> from florence2 import Model
>>> model = Model.demo()
>>> result = model.run("scene.png", "<OD>")
>>> [region.label for region in result.regions]
"""

from ._c_api import Status
from ._generation_options import GenerationOptions
from ._handle import Cancel
from ._image import Image, ImageFeatures
from ._load import Adapter, LoadProgress
from ._model import Model, Request, RunProgress, Token
from ._native import (
    Error,
    Task,
    abi_version,
    devices,
    set_log_level,
    set_simd_level,
    system_info,
    tasks,
    trim,
    version,
)
from ._result import Region, RegionScore, Result, Score, ScoredToken, Timings

__all__ = [
    "Adapter",
    "Cancel",
    "Error",
    "GenerationOptions",
    "Image",
    "ImageFeatures",
    "LoadProgress",
    "Model",
    "Region",
    "RegionScore",
    "Request",
    "Result",
    "RunProgress",
    "Score",
    "ScoredToken",
    "Status",
    "Task",
    "Timings",
    "Token",
    "abi_version",
    "devices",
    "set_log_level",
    "set_simd_level",
    "system_info",
    "tasks",
    "trim",
    "version",
]
__version__ = version()
