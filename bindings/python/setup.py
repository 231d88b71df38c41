"""The wheel contains the library for one platform, and works with every Python."""

import os

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel


class PlatformWheel(bdist_wheel):
    """Tagged py3-none-PLATFORM. PLATFORM is FLORENCE2_WHEEL_PLATFORM, or the platform of this Python."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        return "py3", "none", os.environ.get("FLORENCE2_WHEEL_PLATFORM") or super().get_tag()[2]


setup(cmdclass={"bdist_wheel": PlatformWheel})
