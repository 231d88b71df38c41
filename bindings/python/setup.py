"""The wheel contains the library for one platform, and works with every Python."""

import os

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel


class BinaryDistribution(Distribution):
    """Places the package beside its metadata, in the folder for modules with native code."""

    def has_ext_modules(self):
        return True


class PlatformWheel(bdist_wheel):
    """Tagged py3-none-PLATFORM. PLATFORM is FLORENCE2_WHEEL_PLATFORM, or the platform of this Python."""

    def get_tag(self):
        return "py3", "none", os.environ.get("FLORENCE2_WHEEL_PLATFORM") or super().get_tag()[2]


setup(distclass=BinaryDistribution, cmdclass={"bdist_wheel": PlatformWheel})
