"""Calling a GPU vendor's library through ctypes, and what its calls answer. Sent into the sandbox as source.

Nothing here frees what it took: the process that calls ends right after, and a driver cleans up behind it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

SIZE = 1 << 16  # bytes that make the round trip through the memory of a GPU
NAME = 24  # characters of a GPU's name that are told


class Missing(Exception):
    """None of the names of a library could be loaded."""


class Failed(Exception):
    """A call that did not answer 0: its name, the number and what the library calls that."""

    def __init__(self, call: str, number: int, name: str) -> None:
        super().__init__(call)
        self.answer = [call, number, name]


class Device(NamedTuple):
    """One GPU as a library shows it; "" for what it does not say, memory in MiB."""

    uuid: str
    pci: str
    name: str
    memory: int


class Library:
    """A loaded library whose calls answer 0 or raise Failed."""

    def __init__(self, names: Sequence[str], error_name: Callable[[Any, int], str]) -> None:
        self._error_name = error_name
        self.name, self._loaded = loaded(names)

    def call(self, name: str, *arguments: object) -> None:
        """Raises Failed, also for a function that the library does not have: it is too old."""
        try:
            function = getattr(self._loaded, name)
        except AttributeError:
            raise Failed(name, -1, "not in this library") from None
        number = function(*arguments)
        if number:
            raise Failed(name, number, self._error_name(self._loaded, number))

    def number(self, name: str, *arguments: object) -> int:
        """What a call writes into its first argument, an int."""
        value = ctypes.c_int(0)
        self.call(name, ctypes.byref(value), *arguments)
        return value.value

    def text(self, name: str, device: object) -> str:
        """What a call writes into a buffer; "" where it does not know."""
        buffer = ctypes.create_string_buffer(96)
        try:
            self.call(name, buffer, 95, device)
        except Failed:
            return ""
        return buffer.value.decode("ascii", "replace")


def loaded(names: Sequence[str]) -> tuple[str, Any]:
    """The first of these that can be loaded. Raises Missing with what the loader said of the first."""
    problems = []
    for name in names:
        try:
            return name, ctypes.CDLL(name)
        except OSError as problem:
            problems.append(str(problem)[:200])
    raise Missing(problems[0])


def pattern() -> ctypes.Array[ctypes.c_char]:
    """Bytes to send through a GPU's memory."""
    return ctypes.create_string_buffer(os.urandom(SIZE), SIZE)


def compare(sent: Any, received: Any) -> None:
    """Raises Failed where memory did not keep what it was given."""
    if bytes(sent) != bytes(received):
        raise Failed("round trip", -1, "other bytes came back")
