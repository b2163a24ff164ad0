"""YAML as plain values, from the events of the distribution's PyYAML, which never makes a value itself.

So there is nothing that a tag could construct. What makes YAML mean more than JSON is refused: anchors,
aliases, tags, several documents. Plain scalars mean what they mean to the CDI project's reader: `yes` and a
date are text.
"""

from __future__ import annotations

import os
import re
import site
import stat
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NoReturn

from fleetbox.hostside.cdi.fields import Object, Problem, SpecInvalid

_DEPTH_MAX = 20
# The first that matches decides; what none matches is text. Integers that are too long are floats here: no
# field takes either.
_PLAIN: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile("~|null|Null|NULL|"), lambda _: None),
    (re.compile("true|True|TRUE"), lambda _: True),
    (re.compile("false|False|FALSE"), lambda _: False),
    (re.compile("[-+]?(0|[1-9][0-9]{0,18})"), int),
    (re.compile("0o?[0-7]{1,18}"), lambda text: int(text.replace("o", ""), 8)),
    (re.compile("0x[0-9a-fA-F]{1,15}"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)
REMEDY = "role fleetbox.sandbox.gpu installs python3-yaml"


def load(text: str) -> Any:
    """Raises SpecInvalid."""
    yaml = _module()
    if yaml is None:
        raise SpecInvalid(Problem("the spec", "is YAML, and this host cannot read it", hint=REMEDY))
    try:
        return _document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        said = getattr(problem, "problem", None) or str(problem).splitlines()[0]
        raise SpecInvalid(Problem(_where(mark), f"is not YAML: {said}")) from None
    except (ValueError, OverflowError, RecursionError) as problem:
        # What PyYAML lets through of impossible escapes and version numbers.
        raise SpecInvalid(Problem("the spec", f"is not YAML: {problem}")) from None


def _document(events: Iterator[Any]) -> Any:
    """The value of the only document."""
    _next(events, "StreamStart")
    start = next(events)
    if _kind(start) != "DocumentStart":
        _refuse(start, "nothing is in it")
    value = _value(events, next(events), 0)
    _next(events, "DocumentEnd")
    _next(events, "StreamEnd", "a second document")
    return value


def _value(events: Iterator[Any], event: Any, depth: int) -> Any:
    kind = _kind(event)
    if kind == "Alias" or getattr(event, "anchor", None) is not None:
        _refuse(event, "anchors and aliases are not read", "write the value out")
    if event.tag is not None:
        _refuse(event, "tags are not read", "remove it")
    if depth > _DEPTH_MAX:
        _refuse(event, "is nested too deeply")
    if kind == "Scalar":
        return event.value if event.style is not None else _plain(event.value)
    inside = _until(events, f"{kind.removesuffix('Start')}End")
    if kind == "SequenceStart":
        return [_value(events, item, depth + 1) for item in inside]
    return Object([(_key(events, key, depth), _value(events, next(events), depth + 1)) for key in inside])


def _key(events: Iterator[Any], event: Any, depth: int) -> str:
    key = _value(events, event, depth + 1)
    if not isinstance(key, str):
        _refuse(event, "a key is not text", "quote it")
    return key


def _plain(text: str) -> Any:
    """What a scalar without quotes means."""
    return next((meant(text) for pattern, meant in _PLAIN if pattern.fullmatch(text)), text)


def _until(events: Iterator[Any], end: str) -> Iterator[Any]:
    for event in events:
        if _kind(event) == end:
            return
        yield event


def _next(events: Iterator[Any], kind: str, otherwise: str = "") -> None:
    event = next(events)
    if _kind(event) != kind:
        _refuse(event, otherwise or "is not expected")


def _kind(event: Any) -> str:
    return type(event).__name__[: -len("Event")]


def _refuse(event: Any, problem: str, hint: str = "") -> NoReturn:
    raise SpecInvalid(Problem(_where(event.start_mark), problem, hint=hint))


def _where(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the spec"


def _module() -> Any:
    """PyYAML: as this program has it already (on the control machine), or the distribution's own."""
    if "yaml" in sys.modules:
        return sys.modules["yaml"]
    for directory in filter(_is_roots, site.getsitepackages()):
        if _is_roots(f"{directory}/yaml") and _is_roots(f"{directory}/yaml/__init__.py"):
            # Last, so that no module of the standard library comes from there.
            sys.path.append(directory)
            try:
                return import_module("yaml")
            finally:
                sys.path.remove(directory)
    return None


def _is_roots(path: str) -> bool:
    """Debian's /usr/local/lib/python3*/dist-packages is writable by group staff, for example."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
