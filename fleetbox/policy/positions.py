"""YAML text as plain data that still knows where each value was written.

It is built from PyYAML's parser events, not with its loader, for three reasons: a nesting bomb overflows the
C loader's stack, a duplicate key is lost in it, and YAML 1.1 reads `off` as a boolean. Here a plain scalar
is null, true, false or a decimal number; everything else is text, so `landlock: off` means what it says.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

import yaml

from fleetbox.policy.errors import Violation, shorten

Scalar: TypeAlias = bool | int | str | None
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"
Loc: TypeAlias = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
MAX_VALUES = 50_000
MAX_DEPTH = 16

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Not `~`: in a policy it is the home directory.
_WORDS: dict[str, Scalar] = {"": None, "null": None, "true": True, "false": False}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was read: its name as the author knows it, and its lines as YAML counts them."""

    file: str
    lines: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, file: str, text: str) -> "Source":
        return cls(file, tuple(_LINE_BREAK.split(text)))


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands in a source, counted from 1, and how many characters it is wide."""

    source: Source
    line: int
    column: int
    width: int = 1

    def __str__(self) -> str:
        return f"{self.source.file}:{self.line}"

    def violation(self, name: str, problem: str, value: object = "", hint: str = "") -> Violation:
        lines = self.source.lines
        text = lines[self.line - 1] if 0 < self.line <= len(lines) else ""
        return Violation(
            file=self.source.file, line=self.line, column=self.column, field=name, problem=problem,
            value=shorten(value), source=text, hint=hint, width=self.width,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """One value and its place. A mapping keeps the place of each key; aliases share nodes."""

    position: Position
    value: "Scalar | tuple[Node, ...] | Mapping[str, Node]"
    keys: Mapping[str, Position] = field(default_factory=dict)

    def plain(self) -> Value:
        if isinstance(self.value, tuple):
            return [item.plain() for item in self.value]
        if isinstance(self.value, Mapping):
            return {key: item.plain() for key, item in self.value.items()}
        return self.value

    def child(self, step: str | int) -> "Node | None":
        if isinstance(self.value, Mapping) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, tuple) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def at(self, loc: Loc) -> "Node":
        """The node at `loc`, or the nearest one above it that exists."""
        node = self
        for step in loc:
            below = node.child(step)
            if below is None:
                break
            node = below
        return node

    def key(self, loc: Loc) -> Position:
        """The place of the key that `loc` ends with; of the value where there is no such key."""
        parent = self.at(loc[:-1])
        return parent.keys.get(str(loc[-1]), parent.at(loc[-1:]).position) if loc else self.position

    def without(self, locs: "set[Loc]", at: Loc = ()) -> "Node":
        """A copy in which the values at `locs` are missing; `locs` are as `self` counts."""
        if isinstance(self.value, tuple):
            kept = [item.without(locs, (*at, i)) for i, item in enumerate(self.value) if (*at, i) not in locs]
            return Node(self.position, tuple(kept))
        if isinstance(self.value, Mapping):
            left = {k: n.without(locs, (*at, k)) for k, n in self.value.items() if (*at, k) not in locs}
            return Node(self.position, left, self.keys)
        return self


def compose(source: Source, text: str) -> tuple[Node | None, list[Violation]]:
    """The document in `text`, and what is wrong with it as YAML. No node: nothing could be read."""
    bad = _UNREADABLE.search(text)
    if bad:
        return None, [_at_offset(source, text, bad.start())]
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        return None, [*builder.violations, _syntax(source, error)]
    except _Stop:
        return None, builder.violations
    return builder.root, builder.violations


def _at_offset(source: Source, text: str, offset: int) -> Violation:
    before = _LINE_BREAK.split(text[:offset])
    position = Position(source, len(before), len(before[-1]) + 1)
    return position.violation("", "a character that no YAML file may hold", text[offset], "remove it")


def _syntax(source: Source, error: yaml.MarkedYAMLError) -> Violation:
    mark = error.problem_mark or error.context_mark
    line = min(mark.line + 1, len(source.lines)) if mark else 1
    position = Position(source, line, mark.column + 1 if mark else 1)
    hint = "YAML wants a value for each key, and quotes around text with special characters"
    if "\t" in _indentation(source.lines[line - 1]):
        hint = "YAML is indented with spaces; there is a tab in this line"
    problem = ": ".join(part for part in (error.context, error.problem) if part)
    return position.violation("", f"not readable as YAML: {problem}", hint=hint)


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


class _Stop(Exception):
    """What was read so far makes the rest worthless or dangerous to read."""


@dataclass(slots=True)
class _Open:
    """A collection whose end was not read yet; in a mapping, keys and values alternate in `items`."""

    position: Position
    anchor: str | None
    mapping: bool
    items: list["_Built"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Built:
    """A finished node, and its size and depth with every alias in it written out."""

    node: Node
    size: int = 1
    depth: int = 1


class _Builder:
    """Turns events into nodes without recursion; weighs aliases instead of expanding them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.violations: list[Violation] = []
        self.root: Node | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, _Built | None] = {}  # None: its end was not read yet
        self._values = 0

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent() if self.root is not None:
                self._stop(event, "a second document", "a policy file holds one document; remove the `---`")
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.ScalarEvent():
                self._tag(event)
                self._count(event, 1)
                self._add(event, event.anchor, _Built(Node(self._position(event), _scalar(event))))
            case yaml.CollectionStartEvent():
                self._tag(event)
                self._count(event, 1)
                self._start(event)
            case yaml.CollectionEndEvent():
                self._close(event)
            case _:
                pass  # the stream's and the document's own events hold no data

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor or ""
        if name not in self._anchors:
            self._stop(event, f"no anchor named {name} before this alias", "write the value itself")
        built = self._anchors[name]
        if built is None:
            self._stop(event, "an alias that contains itself", "write the value itself")
        else:
            self._count(event, built.size)
            self._add(event, None, built)

    def _count(self, event: yaml.Event, size: int) -> None:
        self._values += size
        if self._values > MAX_VALUES:
            self._stop(event, f"more than {MAX_VALUES} values", "write less, and expand fewer aliases")

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        if len(self._open) >= MAX_DEPTH:
            self._stop(event, "nested too deeply", f"a policy has at most {MAX_DEPTH} levels")
        if event.anchor:
            self._anchors[event.anchor] = None
        mapping = isinstance(event, yaml.MappingStartEvent)
        self._open.append(_Open(self._position(event), event.anchor, mapping))

    def _close(self, event: yaml.Event) -> None:
        done = self._open.pop()
        size = 1 + sum(item.size for item in done.items)
        depth = 1 + max((item.depth for item in done.items), default=0)
        self._add(event, done.anchor, _Built(self._collection(done), size, depth))

    def _collection(self, done: _Open) -> Node:
        nodes = [item.node for item in done.items]
        if not done.mapping:
            return Node(done.position, tuple(nodes))
        values: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        for key, value in zip(nodes[::2], nodes[1::2], strict=True):
            if not isinstance(key.value, str):
                hint = "put the key in quotes" if isinstance(key.value, int) else "remove it"
                self.violations.append(
                    key.position.violation("", "a key that is not text", key.plain(), hint)
                )
            elif key.value in values:
                hint = f"the first is in line {keys[key.value].line}; keep one of them"
                self.violations.append(key.position.violation("", "key given twice", key.value, hint))
            else:
                values[key.value] = value
                keys[key.value] = key.position
        return Node(done.position, values, keys)

    def _add(self, event: yaml.Event, anchor: str | None, built: _Built) -> None:
        if anchor:
            self._anchors[anchor] = built
        if not self._open:
            self.root = built.node
            return
        parent = self._open[-1]
        parent.items.append(built)
        if len(self._open) + built.depth > MAX_DEPTH + 1:
            self._stop(event, "nested too deeply", f"a policy has at most {MAX_DEPTH} levels")

    def _tag(self, event: yaml.NodeEvent) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._note(event, "a YAML tag", "remove the tag; a policy is plain data", tag)

    def _note(self, event: yaml.Event, problem: str, hint: str, value: object = "") -> None:
        self.violations.append(self._position(event).violation("", problem, value, hint))

    def _stop(self, event: yaml.Event, problem: str, hint: str) -> NoReturn:
        self._note(event, problem, hint)
        raise _Stop

    def _position(self, event: yaml.Event) -> Position:
        start, end = event.start_mark, event.end_mark
        if start is None or end is None:
            raise TypeError("PyYAML's loaders mark every event")
        line = self.source.lines[start.line] if start.line < len(self.source.lines) else ""
        last = end.column if end.line == start.line else len(line)
        return Position(self.source, start.line + 1, start.column + 1, max(1, last - start.column))


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _NUMBER.fullmatch(text) else text


def describe(loc: Sequence[str | int]) -> str:
    """A place in a policy as people write it: `filesystem.rules[3].path`."""
    name = ""
    for step in loc:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name
