"""What a disk may hold after the power failed: a model of a file system that promises only what POSIX does.

A change of a directory (a name made, moved or removed) is durable once that directory was synced, a write
once that file was. Of all others, any subset may have reached the disk, in no order that the program chose,
and a write may have reached it in part, or as a length without content. A rename within a directory is
whole or was not: no file system that we know splits it. Modes, owners and times are left out.

Pure: operations in, trees out. `recording` makes the operations from what a real run asked the kernel for.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

ROOT = 0  # the inode of the top directory, which was there before and is durable


class NotModelled(Exception):
    """An operation that this model knows nothing of; the text says which."""


class Link(NamedTuple):
    """A symbolic link. Where it points is part of its name: there is no way to sync a link alone."""

    target: str


class Mkdir(NamedTuple):
    path: str


class Create(NamedTuple):
    """An empty file, where there is none of that name."""

    path: str


class Symlink(NamedTuple):
    path: str
    target: str


class Write(NamedTuple):
    path: str
    offset: int | None
    """None: at the end."""
    data: bytes


class Truncate(NamedTuple):
    path: str
    size: int


class Rename(NamedTuple):
    old: str
    new: str


class Remove(NamedTuple):
    """Of a file, a link or an empty directory."""

    path: str


class Sync(NamedTuple):
    """fsync of a file (its content) or of a directory (the names in it)."""

    path: str


Operation = Mkdir | Create | Symlink | Write | Truncate | Rename | Remove | Sync
Tree = dict[str, bytes | Link | None]
"""Path → content of a file, a link, or None for a directory."""


class Fate(Enum):
    """What became of one change that was never synced."""

    LOST = "lost"
    WHOLE = "whole"
    HALF = "cut in half"
    ZEROS = "a length without content"


class _Names(NamedTuple):
    """In one directory: what each name is from now on, None for nothing."""

    inode: int
    names: tuple[tuple[str, int | None], ...]

    @property
    def fates(self) -> tuple[Fate, ...]:
        return (Fate.LOST, Fate.WHOLE)


class _Data(NamedTuple):
    """In one file: a write, or with `cut` a new length."""

    inode: int
    offset: int
    data: bytes
    cut: bool = False

    @property
    def fates(self) -> tuple[Fate, ...]:
        torn = (Fate.HALF, Fate.ZEROS) if len(self.data) > 1 else ()
        return (Fate.LOST, Fate.WHOLE, *torn)


_Change = _Names | _Data
_Node = dict[str, int] | bytes | Link


class Crash(NamedTuple):
    """One state in which the disk may be."""

    tree: Tree
    fates: tuple[str, ...]
    """For people: what was lost or torn."""


class Disk:
    """A disk and what was asked of it so far."""

    def __init__(self) -> None:
        self._changes: list[_Change] = []
        self._durable: set[int] = set()  # indexes into _changes
        self._kinds: list[_Node] = [{}]  # what each inode is at its birth
        self._live: list[_Node] = [{}]

    def apply(self, operation: Operation) -> None:
        """Do as the program asked. Raises `NotModelled`."""
        if isinstance(operation, Sync):
            inode = self._inode(operation.path)
            self._durable |= {n for n, change in enumerate(self._changes) if change.inode == inode}
            return
        change = self._change(operation)
        if change is not None:
            self._changes.append(change)
            _replay(self._live, change, Fate.WHOLE)

    @classmethod
    def after(cls, operations: Iterable[Operation]) -> Disk:
        """One of which that much was asked. Raises `NotModelled`."""
        disk = cls()
        for operation in operations:
            disk.apply(operation)
        return disk

    def needs_sync(self, path: str) -> bool:
        """Whether a sync of this file or directory would make anything durable. Raises `NotModelled`."""
        inode = self._inode(path)
        return any(change.inode == inode and n not in self._durable for n, change in enumerate(self._changes))

    def live(self) -> Tree:
        """What every process sees, as long as the power stays on."""
        return _tree(self._live)

    def crashes(self, chance: random.Random, limit: int) -> Iterator[Crash]:
        """States in which the disk may be if the power fails now, each once.

        All of them where there are at most `limit` choices; else everything lost, nothing lost, each change
        alone lost, kept or torn, and as many more at random.
        """
        pending = [n for n in range(len(self._changes)) if n not in self._durable]
        seen = set()
        for fates in _choices([self._changes[n].fates for n in pending], chance, limit):
            tree = self._after(dict(zip(pending, fates, strict=True)))
            key = frozenset(tree.items())
            if key not in seen:
                seen.add(key)
                yield Crash(tree, tuple(self._described(pending, fates)))

    def _after(self, fates: Mapping[int, Fate]) -> Tree:
        nodes = [dict(kind) if isinstance(kind, dict) else kind for kind in self._kinds]
        for number, change in enumerate(self._changes):
            _replay(nodes, change, fates.get(number, Fate.WHOLE))
        return _tree(nodes)

    def _described(self, pending: Sequence[int], fates: Sequence[Fate]) -> Iterator[str]:
        for number, fate in zip(pending, fates, strict=True):
            change = self._changes[number]
            if fate is not Fate.WHOLE:
                names = ", ".join(name for name, _ in change.names) if isinstance(change, _Names) else ""
                yield f"{names or 'a write'}: {fate.value}"

    def _change(self, operation: Operation) -> _Change | None:
        change: _Change | None = None
        match operation:
            case Mkdir(path):
                change = self._named(path, self._born({}))
            case Create(path) if not self._has(path):
                change = self._named(path, self._born(b""))
            case Symlink(path, target):
                change = self._named(path, self._born(Link(target)))
            case Remove(path):
                change = self._named(path, None)
            case Rename(old, new):
                change = self._renamed(old, new)
            case Write(path, offset, data):
                at = len(self._content(path)) if offset is None else offset
                change = _Data(self._inode(path), at, data)
            case Truncate(path, size):
                change = _Data(self._inode(path), size, b"", cut=True)
            case _:
                pass  # a file that is there already
        return change

    def _renamed(self, old: str, new: str) -> _Names:
        (source, name), (target, renamed) = self._parent(old), self._parent(new)
        if source != target:
            raise NotModelled(f"a rename between directories: {old} to {new}")
        return _Names(source, ((name, None), (renamed, self._inode(old))))

    def _born(self, node: _Node) -> int:
        self._kinds.append(node)
        self._live.append(dict(node) if isinstance(node, dict) else node)
        return len(self._kinds) - 1

    def _named(self, path: str, inode: int | None) -> _Names:
        directory, name = self._parent(path)
        return _Names(directory, ((name, inode),))

    def _parent(self, path: str) -> tuple[int, str]:
        head, _, name = path.rpartition("/")
        return self._inode(head), name

    def _has(self, path: str) -> bool:
        directory, name = self._parent(path)
        node = self._live[directory]
        return isinstance(node, dict) and name in node

    def _inode(self, path: str) -> int:
        inode = ROOT
        for name in filter(None, path.split("/")):
            node = self._live[inode]
            if not isinstance(node, dict) or name not in node:
                raise NotModelled(f"{path}, of whose making nothing was recorded")
            inode = node[name]
        return inode

    def _content(self, path: str) -> bytes:
        node = self._live[self._inode(path)]
        if not isinstance(node, bytes):
            raise NotModelled(f"a write to {path}, which is no file")
        return node


def _replay(nodes: list[_Node], change: _Change, fate: Fate) -> None:
    if fate is Fate.LOST:
        return
    node = nodes[change.inode]
    if isinstance(change, _Names):
        assert isinstance(node, dict)
        for name, inode in change.names:
            node.pop(name, None)
            if inode is not None:
                node[name] = inode
        return
    assert isinstance(node, bytes)
    if change.cut:
        nodes[change.inode] = node[: change.offset].ljust(change.offset, b"\0")
        return
    data = {
        Fate.WHOLE: change.data,
        Fate.HALF: change.data[: len(change.data) // 2],
        Fate.ZEROS: bytes(len(change.data)),
    }[fate]
    before = node[: change.offset].ljust(change.offset, b"\0")
    nodes[change.inode] = before + data + node[change.offset + len(data) :]


def _tree(nodes: Sequence[_Node]) -> Tree:
    tree: Tree = {}

    def walk(inode: int, prefix: str) -> None:
        node = nodes[inode]
        assert isinstance(node, dict)
        for name, below in node.items():
            child = nodes[below]
            tree[prefix + name] = None if isinstance(child, dict) else child
            if isinstance(child, dict):
                walk(below, f"{prefix}{name}/")

    walk(ROOT, "")
    return tree


def _choices(
    options: Sequence[tuple[Fate, ...]], chance: random.Random, limit: int
) -> Iterator[tuple[Fate, ...]]:
    if math.prod(map(len, options)) <= limit:
        yield from itertools.product(*options)
        return
    whole, lost = (Fate.WHOLE,) * len(options), (Fate.LOST,) * len(options)
    yield from (lost, whole)
    for number, fates in enumerate(options):
        yield (*lost[:number], Fate.WHOLE, *lost[number + 1 :])
        for fate in set(fates) - {Fate.WHOLE}:
            yield (*whole[:number], fate, *whole[number + 1 :])
    for _ in range(limit):
        yield tuple(chance.choice(fates) for fates in options)
