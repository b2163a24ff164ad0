"""What every operation of a launch plan is: a value that checks its arguments and knows its words.

An argument that looks like a path may begin with a placeholder, which only the launcher fills in, since
only it knows who launches, and where. What these checks let through the launcher takes; it checks again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import ClassVar

from fleetbox.errors import PolicyError

PATH_LIMIT = 4095
PLACEHOLDERS = ("${WORKSPACE}", "${HOME}", "${TMPDIR}")

Check = Callable[[str], bool]


class PlanInvalid(PolicyError):
    """Bytes that are no launch plan, or a policy that does not fit into one."""


def one_of(*words: str) -> Check:
    return lambda value: value in words


def matches(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def is_normal(path: str) -> bool:
    return len(path.encode()) <= PATH_LIMIT and not {"", ".", ".."} & set(path.split("/"))


def is_path(value: str) -> bool:
    """Absolute, or a placeholder as the whole first component."""
    first, slash, rest = value.partition("/")
    if first and first not in PLACEHOLDERS:
        return False
    is_base = value == "/" or (bool(first) and not slash)
    return is_base or (len(value.encode()) <= PATH_LIMIT and is_normal(rest))


def is_device(value: str) -> bool:
    return value.startswith("/dev/") and is_path(value)


@dataclass(frozen=True)
class Operation:
    """One record. A subclass's fields are its arguments in order, with one check each."""

    op: ClassVar[str]
    checks: ClassVar[tuple[Check, ...]]

    def __post_init__(self) -> None:
        for argument, check in zip(self.arguments(), self.checks, strict=True):
            if "\0" in argument or not check(argument):
                raise PlanInvalid(f"{self.op}: {argument!r} cannot stand in a launch plan")

    def arguments(self) -> tuple[str, ...]:
        return astuple(self)

    def describe(self) -> str:
        """One line of words for a person."""
        raise NotImplementedError


@dataclass(frozen=True)
class Word(Operation):
    """One word out of a few; `words` says what each means."""

    value: str
    words: ClassVar[Mapping[str, str]]

    def __init_subclass__(cls) -> None:
        cls.checks = (one_of(*cls.words),)

    def describe(self) -> str:
        return self.words[self.value]
