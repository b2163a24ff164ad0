"""Strict reading of a spec's values: what is taken must have its type, and what is left over is an error.

Nothing is raised on the way, so that all errors of a spec come at once, each with the path of its field.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fleetbox.hostside import gpu_words
from fleetbox.hostside.text import escape

ITEMS_MAX = 1024
_MISSING: Any = object()


class Problem(NamedTuple):
    """One error; `where` is the path of the field, or a line."""

    where: str
    problem: str
    value: str = ""
    hint: str = ""

    def __str__(self) -> str:
        shown = f": {self.value}" if self.value else ""
        hint = f"; {self.hint}" if self.hint else ""
        return escape(f"{self.where}: {self.problem}{shown}{hint}")


class SpecInvalid(Exception):
    """A spec is broken; `problems` is everything that is wrong with it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*map(str, problems))
        self.problems = problems


class Object(dict[str, Any]):
    """An object as it was written; `twice` are keys that it has more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.twice = (
            sorted({name for name in names if names.count(name) > 1}) if len(self) < len(pairs) else []
        )


class Reading:
    """What was found of one spec so far: errors, and the fields that need a version of the specification."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.younger: list[tuple[str, str]] = []

    def wrong(self, where: str, problem: str, value: object = _MISSING, hint: str = "") -> None:
        shown = "" if value is _MISSING else f"{value!r:.80}"
        self.problems.append(Problem(where or "the spec", problem, shown, hint))

    def needs(self, version: str, where: str) -> None:
        self.younger.append((version, where))


class Fields:
    """The fields of one object, each taken once; `close` reports the others."""

    def __init__(self, value: object, where: str, reading: Reading) -> None:
        self.where = where
        self.reading = reading
        self._left = dict(value) if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            reading.wrong(where, "is not an object", value)
        for name in getattr(value, "twice", ()):
            reading.wrong(self.at(name), "appears twice", hint="keep one")

    def at(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def wrong(self, name: str, problem: str, value: object = _MISSING, hint: str = "") -> None:
        self.reading.wrong(self.at(name), problem, value, hint)

    def text(self, name: str, *, required: bool = False, since: str = "") -> str:
        value = self._take(name, since)
        if value is _MISSING:
            if required:
                self.wrong(name, "is missing")
            return ""
        if required and value == "":
            self.wrong(name, "is empty")
        return self._text(value, self.at(name))

    def word(self, name: str, words: tuple[str, ...], *, required: bool = False, since: str = "") -> str:
        value = self.text(name, required=required, since=since)
        if value and value not in words:
            self.wrong(name, "is not known", value, hint=f"one of {', '.join(words)}")
        return value

    def number(self, name: str, maximum: int) -> int | None:
        value = self._take(name)
        return None if value is _MISSING else self._number(value, self.at(name), maximum)

    def boolean(self, name: str, *, since: str = "") -> None:
        value = self._take(name, since)
        if value is not _MISSING and not isinstance(value, bool):
            self.wrong(name, "is not true or false", value)

    def texts(self, name: str, *, since: str = "") -> list[tuple[str, str]]:
        """Where each is, and it."""
        return [(where, self._text(value, where)) for where, value in self._items(name, since)]

    def numbers(self, name: str, maximum: int, *, since: str = "") -> list[int]:
        found = (self._number(value, where, maximum) for where, value in self._items(name, since))
        return [number for number in found if number is not None]

    def objects(self, name: str, *, since: str = "") -> list[Fields]:
        return [Fields(value, where, self.reading) for where, value in self._items(name, since)]

    def inner(self, name: str, *, since: str = "") -> Fields | None:
        value = self._take(name, since)
        return None if value is _MISSING else Fields(value, self.at(name), self.reading)

    def labels(self, name: str, *, since: str) -> None:
        """An object of texts under names of any kind, which mean nothing here."""
        found = self.inner(name, since=since)
        for label in list(found._left) if found else ():
            found.text(label)  # type: ignore[union-attr]

    def close(self) -> None:
        for name in self._left:
            self.wrong(name, "is no field that the specification knows", hint="remove it")

    def _take(self, name: str, since: str = "") -> object:
        value = self._left.pop(name, _MISSING)
        if since and value is not _MISSING and value not in ("", [], {}):
            self.reading.needs(since, self.at(name))
        return value

    def _items(self, name: str, since: str) -> Iterator[tuple[str, object]]:
        value = self._take(name, since)
        if value is _MISSING:
            return
        if not isinstance(value, list):
            self.wrong(name, "is not a list", value)
        elif len(value) > ITEMS_MAX:
            self.wrong(name, f"has {len(value)} entries", hint=f"at most {ITEMS_MAX} are read")
        else:
            yield from ((f"{self.at(name)}[{index}]", item) for index, item in enumerate(value))

    def _text(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            self.reading.wrong(where, "is not text", value, hint="quote it")
            return ""
        if not gpu_words.is_value(value):
            self.reading.wrong(where, "has control characters, or is too long", value)
            return ""
        return value

    def _number(self, value: object, where: str, maximum: int) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int):
            self.reading.wrong(where, "is not a number", value)
            return None
        if not 0 <= value <= maximum:
            self.reading.wrong(where, "is out of range", value, hint=f"from 0 to {maximum}")
            return None
        return value
