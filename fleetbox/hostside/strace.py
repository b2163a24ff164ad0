"""What strace writes, read back: the system calls that failed in a sandbox, and nothing of what they carried.

strace looks from outside the sandbox, where the filter that forbids ptrace inside does not reach. Its lines
quote whatever a workload named, so they are parsed strictly and kept as values: call, errno and the paths or
the address. Arguments of programs and contents of buffers never leave this module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fleetbox.hostside import calls

# `?` leaves out what a version of strace does not know. Not --seccomp-bpf: its filter would be overruled by
# the sandbox's, and the very calls that are refused would not be seen.
OPTIONS = (
    *("-f", "-qq", "-y", "-s", "16", "-e", "signal=none"),
    *(
        "-e",
        "trace=" + ",".join(["%file", "%network", "%process", "ioctl", *(f"?{c}" for c in calls.REFUSED)]),
    ),
)

_LINE = re.compile(r"(\d+) +(.*)")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
# Names are taken out first: one may look like the end of a line.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAMES = re.compile(r'"(?:[^"\\]|\\.)*"|<[^<>]*>')
_FAILED = re.compile(r"(\w+)\(.*\)\s+= -1 (E[A-Z0-9]+) ")
_INNER = re.compile(r'execve\("/proc/self/fd/\d+", \["[^"]*", "--inner"')
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_PLACE = re.compile(r"(?:(AT_FDCWD|-?\d+)(?:<([^<>]*)>)?, )?" + _TEXT)
_DIRECTORY = re.compile(r"\bAT_FDCWD<(/[^<>]*)>")
_DESCRIPTOR = re.compile(r"\d+<(/[^<>]*)>")
_INET = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([0-9a-fA-F.:]+)"')
_UNIX = re.compile(r"sun_path=(@?)" + _TEXT)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
# Modes in octal or in words; the files' own descriptors and names are taken out before.
_SET_USER_ID = re.compile(r"\b0[4-7][0-7]{3}\b|\bS_ISUID\b")
_SET_MODE = ("chmod", "fchmod", "fchmodat", "fchmodat2", "creat", "open", "openat", "mknod", "mknodat")
# The first path of these is not looked up: it is a link's text, or a device's name.
_SECOND_ONLY = {"symlink", "symlinkat", "mount"}


class Failure(NamedTuple):
    """One refused call. `paths` are as the workload named them, made absolute; `address` is host:port."""

    call: str
    errno: str
    paths: tuple[str, ...] = ()
    address: str = ""
    detail: str = ""


def failures(lines: Iterable[str], start: str) -> Iterator[Failure]:
    """The workload's failed calls, in order; the launcher, bubblewrap and the inner stage are left out.

    `start` is the directory it starts in: calls like mkdir(2) do not say what a relative path is relative to.
    Another one is known as soon as a process opens something, which the loader does for each program.
    """
    where: dict[str, str] = {}
    ours: set[str] = set()
    begun: set[str] = set()
    waiting: dict[str, str] = {}
    inside = False
    for line in lines:
        found = _LINE.fullmatch(line.rstrip("\n"))
        if not found:
            continue
        pid, text = found.groups()
        if not inside:
            ours.add(pid)
            inside = bool(_INNER.match(text))
            continue
        if pid in ours:
            continue
        whole = _joined(waiting, pid, text)
        # What a new process does before it executes something is still the inner stage's.
        if whole and (begun or whole.startswith("execve(")):
            begun.add(pid)
            known = _DIRECTORY.search(_QUOTED.sub("", whole))
            where[pid] = _decoded(known[1]) if known else where.get(pid, start)
            yield from _failure(whole, where[pid])


def _joined(waiting: dict[str, str], pid: str, text: str) -> str:
    """A whole call, once both halves of an interrupted line are there."""
    if text.endswith(_UNFINISHED):
        waiting[pid] = text[: -len(_UNFINISHED)]
        return ""
    resumed = _RESUMED.fullmatch(text)
    return waiting.pop(pid, "") + resumed[1] if resumed else text


def _failure(text: str, directory: str) -> Iterator[Failure]:
    found = _FAILED.match(_NAMES.sub("", text))
    if not found:
        return
    call, errno = found.groups()
    arguments = text[len(call) + 1 :]
    if call in ("connect", "bind", "sendto", "sendmsg", "sendmmsg", "socket", "socketpair"):
        yield _network(call, errno, arguments)
    elif call in ("execve", "execveat"):
        # The arguments that follow the path may hold secrets.
        yield Failure(call, errno, tuple(_paths(arguments, directory))[:1])
    else:
        paths = tuple(_paths(arguments, directory))
        paths = paths[1:] if call in _SECOND_ONLY else paths[:2]
        paths = paths or tuple(map(_decoded, _DESCRIPTOR.findall(arguments)[:1]))
        yield Failure(call, errno, paths, detail=_constant(call, arguments))


def _network(call: str, errno: str, arguments: str) -> Failure:
    inet, unix = _INET.search(arguments), _UNIX.search(arguments)
    if inet:
        port, host = inet.groups()
        return Failure(call, errno, address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    if unix and not unix[1]:
        return Failure(call, errno, (os.path.normpath(_decoded(unix[2])),), detail="AF_UNIX")
    family = re.match(r"(AF_\w+)", arguments)
    return Failure(call, errno, detail="an abstract socket" if unix else family[1] if family else "")


def _constant(call: str, arguments: str) -> str:
    """The word of strace's own that tells what was asked of a call with many meanings."""
    if call in _SET_MODE:
        return "the set-user-id bit" if _SET_USER_ID.search(_NAMES.sub("", arguments)) else ""
    if call not in ("ioctl", "clone", "clone3", "unshare", "setns"):
        return ""
    found = re.search(r"\b(TIOC\w+|CLONE_NEW\w+)", arguments)
    return found[1] if found else ""


def _paths(arguments: str, directory: str) -> Iterator[str]:
    for descriptor, opened, text in _PLACE.findall(arguments):
        path = _decoded(text)
        base = directory if descriptor in ("", "AT_FDCWD") and not opened else _decoded(opened)
        if path.startswith("/"):
            yield os.path.normpath(path)
        elif path and base.startswith("/"):
            yield os.path.normpath(f"{base}/{path}")


def _decoded(text: str) -> str:
    """The bytes that strace escaped, as Python holds paths."""

    def plain(match: re.Match[bytes]) -> bytes:
        hexadecimal, octal, letter = match.groups()
        if hexadecimal:
            return bytes([int(hexadecimal, 16)])
        return bytes([int(octal, 8) & 0xFF]) if octal else _LETTERS.get(letter, letter)

    return os.fsdecode(_ESCAPE.sub(plain, os.fsencode(text)))
