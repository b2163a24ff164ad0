"""Verb `install`: the host program brings itself to a host, streamed, in one round trip.

The archive on stdin is the whole tree below the prefix. Each file is replaced by rename, so a program that
runs meanwhile reads the old or the new one; modules that the new version no longer has are removed.
Nothing outside the program's own files is touched: `PREFIX/bin` belongs to the role that provisions bwrap.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from fleetbox.hostside import paths, ustar
from fleetbox.hostside.errors import Exit, HostError, storage_errors
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import readable_by_all

_ARCHIVE_LIMIT = 16 * 1024 * 1024
_PACKAGE = "fleetbox"
_CACHE = "__pycache__"
ENTRY = f"""#!/bin/sh
exec {paths.PYTHON} -I -S {paths.PREFIX} "$@"
"""
ANSIBLE_FACT = f"""#!/bin/sh
exec {paths.HOST_PROGRAM} facts --for-ansible
"""


def install(places: Places, options: Namespace, stdin: BinaryIO) -> dict[str, Any]:
    """Make the installed files what they must be; `files` and `removed` are what changed or would."""
    prefix = places.under(paths.PREFIX)
    wanted = {f"{prefix}/{name}": (content, 0o644) for name, content in _archive(stdin)}
    wanted[places.under(paths.HOST_PROGRAM)] = (ENTRY.encode("ascii"), 0o755)
    wanted[places.under(paths.ANSIBLE_FACT)] = (ANSIBLE_FACT.encode("ascii"), 0o755)
    changed = [path for path, (content, mode) in wanted.items() if not _is(path, content, mode)]
    removed = [path for path in _installed(f"{prefix}/{_PACKAGE}") if path not in wanted]
    if not options.check:
        with storage_errors(places.under("/usr/local")), readable_by_all():
            for path in changed:
                _replace(path, *wanted[path])
            for path in removed:
                os.unlink(path)
    return {"changed": bool(changed or removed), "files": changed, "removed": removed}


def _archive(stdin: BinaryIO) -> list[tuple[str, bytes]]:
    try:
        members = ustar.read(stdin.read(_ARCHIVE_LIMIT))
    except ustar.TarInvalid as problem:
        raise _not_an_archive(str(problem)) from None
    for name, _ in members:
        if name != "__main__.py" and not (name.startswith(f"{_PACKAGE}/") and ".." not in name.split("/")):
            raise _not_an_archive(f"{name!r} is no file of the host program")
    return members


def _not_an_archive(problem: str) -> HostError:
    return HostError(
        "usage",
        f"stdin is not the host program's archive: {problem}",
        hint="python -m fleetbox.hostside.stream install makes the whole command",
        exit_code=Exit.USAGE,
    )


def _is(path: str, content: bytes, mode: int) -> bool:
    try:
        with open(path, "rb", opener=_no_follow) as file:
            status = os.fstat(file.fileno())
            owned = (status.st_uid, status.st_mode & 0o7777) == (os.geteuid(), mode)
            return owned and file.read(len(content) + 1) == content
    except OSError:
        return False


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _replace(path: str, content: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    temporary = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(temporary)  # of a run that was killed
    try:
        with open(temporary, "xb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _installed(package: str) -> Iterator[str]:
    """Every file below the package, the interpreter's caches excepted."""
    for directory, names, files in os.walk(package):
        names[:] = sorted(name for name in names if name != _CACHE)
        yield from (f"{directory}/{file}" for file in sorted(files))
