"""The base class of the C API's enums."""

from __future__ import annotations

import enum
from typing import TypeVar

_Member = TypeVar("_Member", bound="Enumeration")


class Enumeration(enum.IntEnum):
    """An enum of the C API. Later libraries may add values."""

    @classmethod
    def _missing_(cls, value: object) -> Enumeration | None:
        """Returns a member named `UNKNOWN` for a number that this binding does not list."""
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = "UNKNOWN", value
        return member
