"""The GPU map and the lock files where they lie: written whole or not at all, and only where they differ."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from contextlib import suppress

from fleetbox.hostside import paths
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State, check_own, opened

_DIRECTORY = os.path.basename(paths.GPU_DIR)
_MAP = os.path.basename(paths.GPU_MAP)
_NEW = f".{_MAP}.new"
_LOCKS = os.path.basename(paths.GPU_LOCKS)
_NO_FOLLOW = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def differ(places: Places, data: bytes, locks: Collection[str]) -> bool:
    """Whether `write` would change something."""
    try:
        with opened(places.under(paths.GPU_DIR), dir_fd=None) as fd, opened(_LOCKS, dir_fd=fd) as locks_fd:
            listable = _is_listable(fd) and _is_listable(locks_fd)
            return not (listable and _holds(fd, data) and all(_is_lock(name, locks_fd) for name in locks))
    except OSError:
        return True


def write(state: State, data: bytes, locks: Collection[str]) -> bool:
    """Make the map hold `data` and every lock file exist. True if something changed.

    A lock file that nothing names any more stays: a launch may hold it. Raises OSError, HostError.
    """
    _make_directory(_DIRECTORY, state.root_fd)
    with opened(_DIRECTORY, dir_fd=state.root_fd) as fd:
        _check(fd, paths.GPU_DIR)
        changed = _make_listable(fd)
        changed |= _make_locks(fd, locks)
        with suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=fd)  # of a run that was killed
        if _holds(fd, data):
            return changed
        _replace(fd, data)
    return True


def _make_locks(dir_fd: int, names: Collection[str]) -> bool:
    _make_directory(_LOCKS, dir_fd)
    with opened(_LOCKS, dir_fd=dir_fd) as fd:
        _check(fd, paths.GPU_LOCKS)
        changed = _make_listable(fd)
        for name in names:
            if not _is_lock(name, fd):
                _make_lock(name, fd)
                changed = True
    return changed


def _make_lock(name: str, dir_fd: int) -> None:
    """A file stays the one that it is, because a launch may hold it; anything else gives way to one."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=dir_fd)
    fd = os.open(name, os.O_CREAT | os.O_RDONLY | _NO_FOLLOW, 0o644, dir_fd=dir_fd)
    try:
        os.fchown(fd, os.geteuid(), -1)
        os.fchmod(fd, 0o644)
    finally:
        os.close(fd)


def _is_lock(name: str, dir_fd: int) -> bool:
    """Whether there is one that every launch can open, and that nobody else can take its mode from."""
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (status.st_uid, status.st_mode) == (os.geteuid(), stat.S_IFREG | 0o644)


def _make_directory(name: str, dir_fd: int) -> None:
    """Durably: the names in a directory are worth nothing without its own."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=dir_fd)
        os.fsync(dir_fd)


def _is_listable(fd: int) -> bool:
    """Whether every launch can come in. Who else could write there is asked by `_check`."""
    return stat.S_IMODE(os.fstat(fd).st_mode) == 0o755


def _make_listable(fd: int) -> bool:
    if _is_listable(fd):
        return False
    os.fchmod(fd, 0o755)
    return True


def _check(fd: int, path: str) -> None:
    if os.geteuid() == 0:
        check_own(os.fstat(fd), path)


def _holds(dir_fd: int, data: bytes) -> bool:
    """Whether the map is there, as it must be; anything else is replaced."""
    try:
        with os.fdopen(os.open(_MAP, os.O_RDONLY | _NO_FOLLOW, dir_fd=dir_fd), "rb") as file:
            status = os.fstat(file.fileno())
            right = (status.st_uid, status.st_mode & 0o7777) == (os.geteuid(), 0o644)
            return right and file.read(len(data) + 1) == data
    except OSError:
        return False


def _replace(dir_fd: int, data: bytes) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW
    try:
        with os.fdopen(os.open(_NEW, flags, 0o644, dir_fd=dir_fd), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(_NEW, _MAP, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=dir_fd)
        raise
    os.fsync(dir_fd)
