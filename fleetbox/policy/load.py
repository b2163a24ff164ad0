"""From a policy file to a `ResolvedPolicy`: reading, validating, `extends`, contradictions.

Nothing about the file is trusted, not even that it is one: a FIFO would wait for ever, opening some device
nodes already does something, and a huge file would fill memory.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleetbox.errors import UsageError
from fleetbox.hostside.text import escape
from fleetbox.policy import presets
from fleetbox.policy.conflicts import conflicts
from fleetbox.policy.errors import PolicyInvalid, Violation
from fleetbox.policy.merge import Layer, overlay, written
from fleetbox.policy.positions import MAX_BYTES, Node, Position, Source, compose
from fleetbox.policy.resolve import ResolvedPolicy, resolve
from fleetbox.policy.validate import Validated, validate

MAX_DOCUMENTS = 64


def load_policy(path: Path) -> ResolvedPolicy:
    """The policy in a file. Raises `PolicyInvalid` with every violation in it and in what it extends.

    A file that is not there is a `UsageError`: nobody wrote a wrong policy, somebody named a wrong file.
    """
    if not os.path.lexists(path):
        preset = presets.directory() / f"{path}.yml"
        hint = f"the preset is {preset}" if preset.is_file() else "check the name and the current directory"
        raise UsageError(f"no such policy file: {escape(str(path))}", hint=hint)
    loading = _Loading()
    found = loading.document(path)
    violations = loading.violations
    if found.top is not None:
        violations += conflicts(found.layer, frozenset(loading.broken))
    if violations or found.top is None:
        raise PolicyInvalid(_in_reading_order(violations))
    metadata = found.top.policy.metadata
    return resolve(found.layer, name=metadata.name, description=metadata.description)


def load_preset(name: str) -> ResolvedPolicy:
    """A shipped policy by its name."""
    return load_policy(presets.directory() / f"{name}.yml")


def _in_reading_order(violations: list[Violation]) -> list[Violation]:
    """Each violation once: files as they were met first, then by line and column."""
    files = list(dict.fromkeys(violation.file for violation in violations))
    unique = list(dict.fromkeys(violations))
    return sorted(unique, key=lambda v: (files.index(v.file), v.line, v.column))


@dataclass(frozen=True, slots=True)
class _Found:
    """What a file and everything it extends say together; `top` is the file's own document."""

    layer: Layer
    top: Validated | None = None


@dataclass(slots=True)
class _Loading:
    """One run of `load_policy`: files read so far, the chain being read, what was wrong."""

    violations: list[Violation] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    _done: dict[Path, _Found] = field(default_factory=dict)
    _chain: list[Path] = field(default_factory=list)

    def document(self, path: Path) -> _Found:
        real = _identity(path)
        if real not in self._done:
            self._chain.append(real)
            self._done[real] = self._read(path)
            self._chain.pop()
        return self._done[real]

    def _read(self, path: Path) -> _Found:
        root, violations = read_document(path)
        self.violations += violations
        if root is None:
            return _Found({})
        document, violations = validate(root)
        self.violations += violations
        if document is None:
            return _Found({})
        self.broken |= document.broken
        below = [self._extended(path, entry, at) for entry, at in _extends(document)]
        return _Found(overlay([*below, written(document)]), document)

    def _extended(self, path: Path, entry: str, at: Position) -> Layer:
        target = _locate(path, entry)
        problem, hint = self._obstacle(target, entry)
        if problem:
            self.violations.append(at.violation("extends", problem, entry, hint))
            return {}
        return self.document(target).layer

    def _obstacle(self, target: Path, entry: str) -> tuple[str, str]:
        """Why a document cannot be extended, and what to do; empty where it can."""
        if not os.path.lexists(target):
            if "/" in entry or "." in entry:
                return "no such file", "the path is relative to this document"
            return "no such preset", f"presets are {', '.join(presets.names())}; a file ends in .yml"
        real = _identity(target)
        if real in self._chain:
            names = [p.name for p in self._chain[self._chain.index(real) :]]
            return "a policy that extends itself", f"the circle is {' → '.join([*names, real.name])}"
        if real.suffix not in (".yml", ".yaml"):
            return "not a policy file", "the file itself, behind symlinks too, ends in .yml or .yaml"
        if len(self._done) + len(self._chain) >= MAX_DOCUMENTS:
            return "too many documents", f"at most {MAX_DOCUMENTS} are merged"
        return "", ""


def _identity(path: Path) -> Path:
    """One name for one file. A loop of symlinks has none; reading it then says what is wrong."""
    return Path(os.path.realpath(path))


def _locate(path: Path, entry: str) -> Path:
    if "/" not in entry and not entry.endswith((".yml", ".yaml")):
        return presets.directory() / f"{entry}.yml"
    return Path(os.path.normpath(path.parent / entry))


def _extends(document: Validated) -> Iterator[tuple[str, Position]]:
    node = document.node.at(("extends",))
    items = node.value if isinstance(node.value, tuple) else ()
    return zip(document.policy.extends, (item.position for item in items), strict=True)


def read_document(path: Path) -> tuple[Node | None, list[Violation]]:
    """A policy file as nodes. Without a root node nothing of it could be read; the violations say why."""
    try:
        text = _read_text(path).decode("utf-8-sig")
    except _Unreadable as error:
        return None, [_whole_file(path, error.problem, error.hint)]
    except UnicodeDecodeError as error:
        return None, [_whole_file(path, f"not UTF-8: byte {error.start} is no text", "save it as UTF-8")]
    source = Source.of(str(path), text)
    root, violations = compose(source, text)
    if root is None and not violations:
        violations = [_whole_file(path, "an empty file", "a policy begins with apiVersion: fleetbox/v1")]
    return root, violations


def _whole_file(path: Path, problem: str, hint: str) -> Violation:
    return Violation(
        file=str(path), line=0, column=0, field="", problem=problem, value="", source="", hint=hint
    )


class _Unreadable(Exception):
    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


_KINDS: Mapping[int, str] = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device node",
    stat.S_IFBLK: "a device node",
}


def _read_text(path: Path) -> bytes:
    try:
        _check_kind(os.stat(path).st_mode)
        # O_NONBLOCK: between the two calls the file may have become a FIFO.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            _check_kind(os.fstat(descriptor).st_mode)
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _Unreadable(f"cannot be read: {os.strerror(error.errno or 0)}", "check the path") from error
    if len(data) > MAX_BYTES:
        raise _Unreadable(f"larger than {MAX_BYTES // 1024} KiB", "split it, or write broader rules")
    if b"\0" in data:
        raise _Unreadable("a binary file, or not UTF-8", "a policy is YAML in UTF-8")
    return data


def _check_kind(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "not a file")
        raise _Unreadable(f"{kind}, not a regular file", "name a file with a policy in it")
