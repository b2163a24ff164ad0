"""The GPU map and the lock files where they lie: written whole or not at all, and only where they differ."""

from __future__ import annotations

import os
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
            return not _holds(fd, data) or bool(set(locks) - set(os.listdir(locks_fd)))
    except OSError:
        return True


def write(state: State, data: bytes, locks: Collection[str]) -> bool:
    """Make the map hold `data` and every lock file exist. True if something changed.

    A lock file that nothing names any more stays: a launch may hold it. Raises OSError, HostError.
    """
    _make_directory(_DIRECTORY, state.root_fd)
    with opened(_DIRECTORY, dir_fd=state.root_fd) as fd:
        _check(fd, paths.GPU_DIR)
        made = _make_locks(fd, locks)
        with suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=fd)  # of a run that was killed
        if _holds(fd, data):
            return made
        _replace(fd, data)
    return True


def _make_locks(dir_fd: int, names: Collection[str]) -> bool:
    _make_directory(_LOCKS, dir_fd)
    made = False
    with opened(_LOCKS, dir_fd=dir_fd) as fd:
        _check(fd, paths.GPU_LOCKS)
        for name in names:
            with suppress(FileExistsError):
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW, 0o644, dir_fd=fd))
                made = True
    return made


def _make_directory(name: str, dir_fd: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=dir_fd)


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
