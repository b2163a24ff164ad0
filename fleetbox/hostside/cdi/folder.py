"""The spec files of one directory: what each holds, whether it may be trusted, and how a launch can compare.

Specs are code, so each and its directory must be root's. Everything is opened without following a link and
checked on the descriptor. What counts as a source here must count as one in the launcher (docs/gpu-map.md).
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from typing import NamedTuple

from fleetbox.hostside.errors import HostError
from fleetbox.hostside.gpu_map import Source
from fleetbox.hostside.gpu_words import is_path
from fleetbox.hostside.paths import Places

SPEC_MAX = 1024 * 1024  # bytes
FILES_MAX = 256
_ENDINGS = (".json", ".yaml")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LISTED = stat.S_IROTH | stat.S_IXOTH


class SpecFile(NamedTuple):
    """One name that ends like a spec. problem: why it is not read; source: None for no regular file."""

    path: str
    source: Source | None
    data: bytes
    problem: str


def files(places: Places, directory: str, owner: int) -> tuple[list[SpecFile], list[str]]:
    """The specs in `directory`, by name, and what is to be said of the directory itself.

    owner: the only uid whose files are trusted. Raises HostError `cdi_too_many`.
    """
    try:
        fd = os.open(places.under(directory), _DIRECTORY)
    except FileNotFoundError:
        return [], []
    except OSError as problem:
        linked = problem.errno in (errno.ENOTDIR, errno.ELOOP)
        return [], [f"{directory} is not read: {'it is a link or a file' if linked else problem.strerror}"]
    try:
        return _files(fd, directory, owner)
    finally:
        os.close(fd)


def _files(fd: int, directory: str, owner: int) -> tuple[list[SpecFile], list[str]]:
    status = os.fstat(fd)
    if status.st_mode & _LISTED != _LISTED:
        return [], [f"{directory} is not read: not everybody can list it; chmod 755 {directory}"]
    names = sorted(name for name in os.listdir(fd) if name.endswith(_ENDINGS))
    if len(names) > FILES_MAX:
        raise HostError(
            "cdi_too_many",
            f"{directory} holds {len(names)} CDI specs; {FILES_MAX} are read",
            hint="remove those that nothing uses",
        )
    problem = _distrust(status, owner)
    mistrusted = f"the directory {directory} {problem}" if problem else ""
    return [_file(fd, name, f"{directory}/{name}", owner, mistrusted) for name in names], []


def _file(dir_fd: int, name: str, path: str, owner: int, mistrusted: str) -> SpecFile:
    if not is_path(path):
        return SpecFile(path, None, b"", "its name has characters that cannot be shown")
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return SpecFile(path, None, b"", "it is a link, or no regular file")
        if not status.st_mode & stat.S_IROTH:
            return _closed_to_many(path, status)
        fd = os.open(name, _FILE, dir_fd=dir_fd)
    except OSError as problem:
        return SpecFile(path, None, b"", f"it cannot be read: {problem.strerror}")
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        data = file.read(SPEC_MAX + 1)
    source = Source(path, status.st_size, f"{zlib.crc32(data[:SPEC_MAX]):08x}")
    return SpecFile(path, source, data, mistrusted or _problem(status, data, owner))


def _closed_to_many(path: str, status: os.stat_result) -> SpecFile:
    """The launcher could not see that its content changed."""
    source = Source(path, status.st_size, "-")
    return SpecFile(path, source, b"", f"not everybody can read it; chmod 644 {path}")


def _problem(status: os.stat_result, data: bytes, owner: int) -> str:
    if len(data) > SPEC_MAX:
        return f"it is longer than {SPEC_MAX} bytes"
    if len(data) != status.st_size:
        return "it was changed while it was read"
    distrust = _distrust(status, owner)
    return f"it {distrust}" if distrust else ""


def _distrust(status: os.stat_result, owner: int) -> str:
    if status.st_uid != owner:
        return f"belongs to uid {status.st_uid}, not to {owner}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be written by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""
