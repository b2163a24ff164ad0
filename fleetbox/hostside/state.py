"""The state directory: opened without following a link, checked to be ours, locked, made durable.

Every verb that changes something holds the one lock for its whole duration; readers take none, because
what they read is switched by rename. All access goes through directory descriptors, so that a name
cannot mean another directory between check and use.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from fleetbox.hostside import paths
from fleetbox.hostside.errors import HostError, storage_errors
from fleetbox.hostside.paths import Places

LOCK_WAIT_S = 30.0
_LOCK_POLL_S = 0.1
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class State:
    """The open state directory: its path for messages, and descriptors for everything else."""

    path: str
    root_fd: int
    store_fd: int
    generations_fd: int


@contextmanager
def locked(places: Places, *, wait_s: float = LOCK_WAIT_S) -> Iterator[State]:
    """The state directory, created where missing, for a verb that changes it.

    Raises `HostError`: `busy`, `unsafe_state`, or what the disk refuses.
    """
    path = places.under(paths.STATE)
    with storage_errors(path), readable_by_all(), ExitStack() as stack:
        with suppress(FileExistsError):
            os.mkdir(path, 0o755)
        root_fd = _open(path, None, path, stack)
        _take_lock(root_fd, places.under(paths.LOCK), wait_s, stack)
        for directory in (paths.STORE, paths.GENERATIONS):
            with suppress(FileExistsError):
                os.mkdir(_name(directory), 0o755, dir_fd=root_fd)
        _make_durable(path, root_fd)
        yield _state(path, root_fd, stack)


@contextmanager
def reading(places: Places) -> Iterator[State | None]:
    """The state directory as it is, for a verb that only looks; None where nothing was ever staged.

    Raises `HostError` `unsafe_state`.
    """
    path = places.under(paths.STATE)
    with ExitStack() as stack:
        try:
            state = _state(path, _open(path, None, path, stack), stack)
        except FileNotFoundError:
            state = None
        yield state


@contextmanager
def opened(name: str, *, dir_fd: int | None) -> Iterator[int]:
    """A descriptor of directory `name`, which is not a link. Raises OSError."""
    fd = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def temporary_name(prefix: str) -> str:
    """A name beginning with `prefix` that no other process and no earlier run has used."""
    return f"{prefix}{os.getpid()}-{secrets.token_hex(4)}"


def check_own(status: os.stat_result, path: str) -> None:
    """Refuse a file or directory that somebody else owns or can write. Raises `HostError`."""
    if status.st_uid != os.geteuid():
        raise unsafe(f"{path} belongs to uid {status.st_uid}, not to {os.geteuid()}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise unsafe(f"{path} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})")


def unsafe(problem: str) -> HostError:
    """The state directory is not what only this program could have made."""
    return HostError(
        "unsafe_state",
        problem,
        hint="find out who changed it; then remove the state directory and push again",
    )


def _state(path: str, root_fd: int, stack: ExitStack) -> State:
    return State(
        path,
        root_fd,
        store_fd=_open(_name(paths.STORE), root_fd, f"{path}/{_name(paths.STORE)}", stack),
        generations_fd=_open(_name(paths.GENERATIONS), root_fd, f"{path}/{_name(paths.GENERATIONS)}", stack),
    )


def _open(name: str, dir_fd: int | None, path: str, stack: ExitStack) -> int:
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    except OSError as problem:
        if problem.errno in (errno.ENOTDIR, errno.ELOOP):
            raise unsafe(f"{path} is not a directory, or is a link") from None
        raise
    stack.callback(os.close, fd)
    if os.geteuid() == 0:
        check_own(os.fstat(fd), path)
    return fd


def _make_durable(path: str, root_fd: int) -> None:
    """What is seen from here on is built upon, and a run that was killed may not have synced it."""
    parent_fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent_fd)
    finally:
        os.close(parent_fd)
    os.fsync(root_fd)


def _take_lock(root_fd: int, path: str, wait_s: float, stack: ExitStack) -> None:
    """Held until the descriptor is closed: by us, or by the kernel however this process dies."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(_name(paths.LOCK), flags, 0o600, dir_fd=root_fd)
    stack.callback(os.close, fd)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _busy(fd, path) from None
            time.sleep(_LOCK_POLL_S)


def _busy(fd: int, path: str) -> HostError:
    return HostError(
        "busy",
        f"another fleetbox-host is changing this host: {_lock_holder(os.fstat(fd))} holds {path}",
        hint="wait for it to end and push again",
    )


def _lock_holder(lock: os.stat_result) -> str:
    """From /proc/locks, so that nothing need be written into the lock file: the disk may be full."""
    where = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
    with suppress(OSError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            words = line.split()
            if len(words) > 5 and words[5] == where:
                return f"pid {words[4]}"
    return "a process that cannot be seen"


@contextmanager
def readable_by_all() -> Iterator[None]:
    """Whatever the caller's umask: the launcher reads as the workload's user what is written here by root."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _name(path: str) -> str:
    return os.path.basename(path)
