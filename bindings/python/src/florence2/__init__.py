"""Microsoft's Florence-2: caption, detect, ground, segment and read text, with libflorence2.

>>> from florence2 import Model
>>> model = Model.demo()
>>> result = model.run("scene.png", "<OD>")
>>> [region.label for region in result.regions]
"""

from ._generation_options import GenerationOptions
from ._handle import Cancel
from ._image import Image, ImageFeatures
from ._load import Adapter, LoadProgress
from ._model import Model, Request
from ._native import Error, Status, abi_version, devices, set_simd_level, system_info, trim, version
from ._result import Region, RegionScore, Result, Score, ScoredToken

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
    "Score",
    "ScoredToken",
    "Status",
    "abi_version",
    "devices",
    "set_simd_level",
    "system_info",
    "trim",
    "version",
]
__version__ = version()
