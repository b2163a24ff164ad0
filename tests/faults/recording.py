"""What a real run of `fleetbox-host` asked the kernel to change below one directory, by strace.

A call that changes something there and that the model of `lost_writes` does not know ends the test: a
recording is whole or there is none. Left out on purpose: modes and owners, and writes through a mapping,
which the program, being Python, does not make.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults.lost_writes import (
    Create,
    Mkdir,
    NotModelled,
    Operation,
    Remove,
    Rename,
    Symlink,
    Sync,
    Truncate,
    Write,
)

_OPENING = ("open", "openat", "creat")
_BY_DESCRIPTOR = ("write", "pwrite64", "lseek", "ftruncate", "fsync", "fdatasync")
_BY_NAME = (
    *("mkdir", "mkdirat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "truncate"),
    *("rename", "renameat", "renameat2"),
)
_REFUSED = (
    *("link", "linkat", "mknod", "mknodat", "writev", "pwritev", "pwritev2", "fallocate", "openat2"),
    *("copy_file_range", "sendfile", "splice", "sync", "syncfs", "sync_file_range"),
)
_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_PATH = re.compile(r"<((?:\\x[0-9a-f]{2})*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_CUT = 1 << 20


def command(output: Path) -> list[str]:
    """What to put before a command so that `operations` can read what it did."""
    calls = ",".join(f"?{name}" for name in (*_OPENING, *_BY_DESCRIPTOR, *_BY_NAME, *_REFUSED))
    return ["strace", "-f", "-qq", "-y", "-xx", "-s", str(_CUT), "-e", f"trace={calls}", "-o", str(output)]


class _Call(NamedTuple):
    pid: str
    name: str
    words: list[str]
    result: int


class _Open(NamedTuple):
    """An open file that can be written: where the next write goes, None for always at the end."""

    offset: int | None


def operations(output: Path, root: Path) -> Iterator[Operation]:
    """The operations below `root`, with paths relative to it. Raises `NotModelled`."""
    files: dict[tuple[str, str], _Open] = {}
    for call in _calls(output.read_text("ascii")):
        yield from _operations(call, str(root), files)


def _calls(text: str) -> Iterator[_Call]:
    """Those that succeeded; a call that another process interrupted is put together again."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        assert found, line
        pid, rest = found.groups()
        if rest.endswith(" <unfinished ...>"):
            begun[pid] = rest.removesuffix(" <unfinished ...>")
            continue
        if rest.startswith("<... "):
            rest = begun.pop(pid) + rest.partition(" resumed>")[2]
        call = _CALL.match(rest)
        if call and int(call[3]) >= 0:
            yield _Call(pid, call[1], call[2].split(", "), int(call[3]))


def _operations(call: _Call, root: str, files: dict[tuple[str, str], _Open]) -> Iterator[Operation]:
    if call.name in _REFUSED:
        if any(root in _decoded(word) for word in call.words):
            raise NotModelled(f"{call.name}({', '.join(map(_decoded, call.words))})")
    elif call.name in _OPENING:
        yield from _opened(call, root, files)
    elif call.name in _BY_DESCRIPTOR:
        path = _below(root, _decoded(call.words[0]))
        if path is not None:
            yield from _by_descriptor(call, path, files)
    elif call.name.startswith("rename"):
        yield from _renamed(call, root)
    else:
        link = call.name.startswith("symlink")
        path = _below(root, _joined(call.words[1:] if link else call.words))
        if path is not None:
            yield _by_name(call, path)


def _renamed(call: _Call, root: str) -> Iterator[Operation]:
    half = 1 if call.name == "rename" else 2
    old, new = (_below(root, _joined(call.words[at : at + half])) for at in (0, half))
    if old is None and new is None:
        return
    if old is None or new is None or call.words[2 * half :] not in ([], ["0"]):
        raise NotModelled(f"{call.name}({', '.join(map(_decoded, call.words))})")
    yield Rename(old, new)


def _opened(call: _Call, root: str, files: dict[tuple[str, str], _Open]) -> Iterator[Operation]:
    at = call.words[1:] if call.name == "openat" else call.words
    path = _below(root, _joined(call.words))
    flags = "O_WRONLY|O_CREAT|O_TRUNC" if call.name == "creat" else at[1]
    files.pop((call.pid, str(call.result)), None)
    if path is None:
        return
    # Reading moves the place of the next write too, and no reads are recorded.
    if "O_WRONLY" in flags or "O_APPEND" in flags:
        files[call.pid, str(call.result)] = _Open(None if "O_APPEND" in flags else 0)
    if "O_CREAT" in flags:
        yield Create(path)
    if "O_TRUNC" in flags:
        yield Truncate(path, 0)


def _by_descriptor(call: _Call, path: str, files: dict[tuple[str, str], _Open]) -> Iterator[Operation]:
    name, words = call.name, call.words
    number = (call.pid, words[0].partition("<")[0])
    if name in {"fsync", "fdatasync"}:
        yield Sync(path)
    elif name == "ftruncate":
        yield Truncate(path, int(words[1]))
    elif name == "lseek":
        if number in files and files[number].offset is not None:
            files[number] = _Open(call.result)
    else:
        if number not in files:
            raise NotModelled(f"a write to {path} by a descriptor of whose opening nothing was recorded")
        data = _bytes(words[1])[: call.result]
        assert len(data) == call.result, "strace cut a write short"
        if name == "pwrite64":
            yield Write(path, int(words[3]), data)
            return
        offset = files[number].offset
        yield Write(path, offset, data)
        if offset is not None:
            files[number] = _Open(offset + len(data))


def _by_name(call: _Call, path: str) -> Operation:
    if call.name in {"symlink", "symlinkat"}:
        return Symlink(path, _decoded(call.words[0]))
    if call.name in {"mkdir", "mkdirat"}:
        return Mkdir(path)
    if call.name == "truncate":
        return Truncate(path, int(call.words[1]))
    return Remove(path)


def _joined(words: list[str]) -> str:
    """The absolute path that a name, or a descriptor and a name, mean."""
    if words[0].startswith('"'):
        return _decoded(words[0])
    directory, name = _decoded(words[0]), _decoded(words[1])
    return name if name.startswith("/") else f"{directory}/{name}"


def _below(root: str, path: str) -> str | None:
    """`path` relative to `root`; None elsewhere, and where it has no name any more."""
    path = path.removesuffix("/.")
    if not f"{path}/".startswith(f"{root}/") or path.endswith(" (deleted)"):
        return None
    return path[len(root) + 1 :]


def _decoded(word: str) -> str:
    return _bytes(word).decode("utf-8", "surrogateescape")


def _bytes(word: str) -> bytes:
    found = _TEXT.search(word) or _PATH.search(word)
    return bytes.fromhex(found[1].replace("\\x", "")) if found else b""
