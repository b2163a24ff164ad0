"""A trail on disk: a directory of files that are only ever appended to, each named by its first record.

One `write` and one fsync a record, under a lock on the directory itself, which needs no room on a full disk.
Nothing is renamed or cut, so the files may be append-only for the file system as well. A file that has grown
is left for a new one; where `keep` says so, the oldest then go, after a record that says so is durable.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from fleetbox.hostside import chain
from fleetbox.hostside.chain import Entry, Head, Record
from fleetbox.hostside.errors import HostError, storage_errors
from fleetbox.hostside.state import check_own

_LOCK_WAIT_S = 10.0
_LOCK_POLL_S = 0.01
_FILE = re.compile(r"[0-9]{16}\.jsonl")
_WINDOW = 16 * 1024  # bytes at the end of a file in which its last record is looked for first
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Limits(NamedTuple):
    """`file`: bytes after which a new one is begun; `keep`: so many are kept, None for all."""

    file: int
    keep: int | None


class _End(NamedTuple):
    """The end of a trail: its last record and the lines after it that are none.

    `whole`: the newest file ends with a newline; `size`: bytes of that file.
    """

    last: Record | None
    damaged: list[bytes]
    whole: bool
    size: int


@dataclass(frozen=True)
class Trail:
    """`path` is made at the first record, with these modes; its parent has to be there."""

    path: str
    limits: Limits
    directory_mode: int
    file_mode: int

    def append(self, event: str, fields: Mapping[str, Any]) -> Head:
        """Write one record, durably. Raises `HostError`: `busy`, `unsafe_trail`, or what the disk refuses."""
        with storage_errors(self.path), ExitStack() as stack:
            with suppress(FileExistsError):
                os.mkdir(self.path, self.directory_mode)
                _sync(os.path.dirname(self.path))
            directory = self._directory(stack)
            _lock(directory, fcntl.LOCK_EX, self.path)
            return self._append(directory, event, fields)

    def head(self) -> Head | None:
        """The last record; None where there is none. Raises as `append`."""
        with storage_errors(self.path), ExitStack() as stack:
            try:
                directory = self._directory(stack)
            except FileNotFoundError:
                return None
            last = self._end(directory, _names(directory)).last
            return last.head if last else None

    @contextmanager
    def entries(self) -> Iterator[Iterator[Entry]]:
        """Everything that is there now, in order. Raises as `append`."""
        with storage_errors(self.path), ExitStack() as stack:
            try:
                directory = self._directory(stack)
            except FileNotFoundError:
                yield iter(())
                return
            _lock(directory, fcntl.LOCK_SH, self.path)
            files = [self._file(directory, name, os.O_RDONLY, stack) for name in _names(directory)]
            sizes = [os.fstat(fd).st_size for fd in files]
            fcntl.flock(directory, fcntl.LOCK_UN)
            yield chain.entries(_lines(files, sizes))

    def _append(self, directory: int, event: str, fields: Mapping[str, Any]) -> Head:
        """One record after the last whole one; before it a note about whatever else was found there."""
        names = _names(directory)
        end = self._end(directory, names)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        repair, last = _repair(end, now)
        record = chain.next_record(last, now, event, fields)
        line = chain.encode(record)
        if names and (end.size == 0 or end.size + len(repair) + len(line) <= self.limits.file):
            self._write(directory, names[-1], repair + line)
            return record.head
        if repair:
            self._write(directory, names[-1], repair)
        return self._begin_file(directory, names, last, record)

    def _begin_file(self, directory: int, names: list[str], last: Head | None, record: Record) -> Head:
        """A new file with `record`; the oldest go once a record about that is durable."""
        name = f"{max([record.seq, *(_number(name) + 1 for name in names)]):016}.jsonl"
        kept = [*names, name][-(self.limits.keep or len(names) + 1) :]
        gone = names[: len(names) + 1 - len(kept)]
        before = b""
        if gone:
            said = chain.next_record(last, record.time, chain.ROTATED, {"oldest": _number(kept[0])})
            record = chain.next_record(said.head, record.time, record.event, record.fields)
            before = chain.encode(said)
        self._write(directory, name, before + chain.encode(record))
        os.fsync(directory)
        for old in gone:
            os.unlink(old, dir_fd=directory)
        return record.head

    def _write(self, directory: int, name: str, data: bytes) -> None:
        with ExitStack() as stack:
            fd = self._file(directory, name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, stack)
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)

    def _end(self, directory: int, names: list[str]) -> _End:
        """From the newest file backwards, until there is a record."""
        damaged: list[bytes] = []
        size, whole = 0, True
        for name in reversed(names):
            with ExitStack() as stack:
                fd = self._file(directory, name, os.O_RDONLY, stack)
                record, lines = _last(fd)
                if name == names[-1]:
                    size = os.fstat(fd).st_size
                    whole = size == 0 or os.pread(fd, 1, size - 1) == b"\n"
            damaged = lines + damaged
            if record:
                return _End(record, damaged, whole, size)
        return _End(None, damaged, whole, size)

    def _directory(self, stack: ExitStack) -> int:
        return _opened(self.path, _DIRECTORY, stack, path=self.path)

    def _file(self, directory: int, name: str, flags: int, stack: ExitStack) -> int:
        path = f"{self.path}/{name}"
        return _opened(name, flags, stack, path=path, mode=self.file_mode, dir_fd=directory)


def _opened(
    name: str, flags: int, stack: ExitStack, *, path: str, mode: int = 0, dir_fd: int | None = None
) -> int:
    """A descriptor of what only its owner can have changed; no link is followed."""
    try:
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=dir_fd)
    except OSError as problem:
        if problem.errno in (errno.ENOTDIR, errno.ELOOP):
            raise _unsafe(f"{path} is not what it should be, or is a link") from None
        raise
    stack.callback(os.close, fd)
    try:
        check_own(os.fstat(fd), path)
    except HostError as problem:
        raise _unsafe(problem.message) from None
    return fd


def _last(fd: int) -> tuple[Record | None, list[bytes]]:
    """The last record of a file and the lines after it, from as little of its end as shows them."""
    size = os.fstat(fd).st_size
    window = _WINDOW
    while True:
        begin = max(0, size - window)
        lines = os.pread(fd, window, begin).split(b"\n")
        lines = [*(line + b"\n" for line in lines[:-1]), *filter(None, lines[-1:])]
        for at in range(len(lines) - 1, -1 if begin == 0 else 0, -1):  # the first may be the end of one
            record = chain.decode(lines[at])
            if record:
                return record, lines[at + 1 :]
        if begin == 0:
            return None, lines
        window *= 16


def _repair(end: _End, now: str) -> tuple[bytes, Head | None]:
    """What makes the end of a trail one that a record can follow, and the head to follow."""
    last = end.last.head if end.last else None
    newline = b"" if end.whole else b"\n"
    if not end.damaged:
        return newline, last
    noted = chain.damage([*end.damaged, newline]).noted()
    note = chain.next_record(last, now, chain.REPAIRED, {"damaged": noted})
    return newline + chain.encode(note), note.head


def _lines(files: list[int], sizes: list[int]) -> Iterator[bytes]:
    """The lines of open files up to what they held when they were opened."""
    for fd, size in zip(files, sizes):  # noqa: B905 (not in Python 3.9)
        with os.fdopen(os.dup(fd), "rb") as file:
            left = size
            while left and (line := file.readline(min(left, chain.LINE_LIMIT))):
                left -= len(line)
                yield line


def _names(directory: int) -> list[str]:
    """The files of the trail, oldest first: zeros in front make the order of names that of numbers."""
    return sorted(name for name in os.listdir(directory) if _FILE.fullmatch(name))


def _number(name: str) -> int:
    return int(name[:16])


def _lock(directory: int, kind: int, path: str) -> None:
    """Held until the descriptor is closed, however this process dies; nothing is made for it."""
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(directory, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise HostError("busy", f"another process holds the lock on {path}") from None
            time.sleep(_LOCK_POLL_S)


def _sync(path: str) -> None:
    fd = os.open(path, _DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unsafe(problem: str) -> HostError:
    hint = "find out who changed it; then move the directory away, and a new trail begins"
    return HostError("unsafe_trail", problem, hint=hint)
