"""Files that are there whole or not at all, also after a power cut; and the one lock of those who write.

A file is written beside its place, made durable, and renamed. Many files are made durable by several
threads: one after the other, 10,000 assignments would wait 10,000 times for the disk.
"""

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.trust.places import PRIVATE_FILE, PUBLIC_DIR, PUBLIC_FILE

LOCK_WAIT_S = 60.0
_LOCK_POLL_S = 0.1
_THREADS = 16
_TEMPORARY = ".tmp-"
_ABANDONED_S = 24 * 3600.0


def write(files: Mapping[Path, bytes], *, mode: int = PUBLIC_FILE) -> None:
    """Put every file in its place, in any order, and make them durable. Raises OSError."""
    if not files:
        return
    for folder in {path.parent for path in files}:
        folder.mkdir(mode=PUBLIC_DIR, parents=True, exist_ok=True)
    with ThreadPoolExecutor(min(_THREADS, len(files))) as pool:
        list(pool.map(lambda path: _put(path, files[path], mode), files))
        list(pool.map(_sync_directory, {path.parent for path in files}))


def read(path: Path, limit: int) -> bytes:
    """The content of a plain file of at most `limit` bytes, through no link. Raises OSError, TrustRefused."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise TrustRefused(f"{path} is not a plain file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise TrustRefused(f"{path} is larger than {limit} bytes")
    return data


def remove(paths: Iterable[Path]) -> None:
    """Remove files, durably; one that is gone already is no error. Raises OSError."""
    chosen = list(paths)
    for path in chosen:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in chosen}:
        _sync_directory(folder)


def sweep(folder: Path) -> None:
    """Remove what killed writers left unfinished in `folder` and below. Only under the lock."""
    for path in folder.rglob(f"{_TEMPORARY}*"):
        path.unlink(missing_ok=True)


def superseded(folder: Path, keep: set[Path], now: float) -> list[Path]:
    """Files of `folder` that nothing names any more and that no reader can still be about to read.

    now: seconds since 1970, as file times are.
    """
    files = [path for path in folder.rglob("*") if path not in keep and path.is_file()]
    return [path for path in files if path.stat().st_mtime < now - _ABANDONED_S]


@contextmanager
def locked(path: Path, *, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the lock; the kernel lets go of it however this process dies. Raises UsageError, OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        _wait_for(fd, path, time.monotonic() + wait_s)
        yield
    finally:
        os.close(fd)


def _wait_for(fd: int, path: Path, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise UsageError(
                    f"another fleetbox on this machine is signing: it holds {path}",
                    hint="wait for it to end and try again; nothing was changed",
                ) from None
            time.sleep(_LOCK_POLL_S)


def _put(path: Path, data: bytes, mode: int) -> None:
    temporary = path.parent / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_directory(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
