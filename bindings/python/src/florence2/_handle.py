"""Objects of the library."""

from __future__ import annotations

import weakref
from ctypes import byref, c_void_p

from ._native import call, call_or_raise


class Handle:
    """An object of the library, freed with its last reference.

    It is not freed at the interpreter's exit, because a daemon thread may be in a call that uses it.
    """

    def __init__(self, pointer: c_void_p, free: str) -> None:
        """`free` is the name of the function that frees the object."""
        self._pointer = pointer
        weakref.finalize(self, call, free, pointer).atexit = False


def made(function: str, *arguments: object) -> c_void_p:
    """Calls a function that creates an object."""
    pointer = c_void_p()
    call_or_raise(function, *arguments, byref(pointer))
    return pointer


class Cancel(Handle):
    """A cancel token: ends runs and loads early, from any thread."""

    def __init__(self) -> None:
        super().__init__(made("cancel_new"), "cancel_free")

    def fire(self) -> None:
        """Ends every call that was given this token."""
        call("cancel_fire", self._pointer)

    @property
    def fired(self) -> bool:
        """True if the token was fired."""
        fired: bool = call("cancel_is_fired", self._pointer)
        return fired


def pointer_of(cancel: Cancel | None) -> c_void_p | None:
    """The token as a field of a struct of options."""
    return None if cancel is None else cancel._pointer
