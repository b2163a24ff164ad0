"""Small files of the state directory: replaced whole and durably, read with a limit and no link."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fleetbox.hostside.errors import storage_errors
from fleetbox.hostside.state import State, check_own, temporary_name, unsafe

TEMPORARY = ".new-"
LIMIT = 64 * 1024


def read(state: State, name: str, *, dir_fd: int | None = None, limit: int = LIMIT) -> bytes | None:
    """The bytes of `name`; None when there is no such file. Raises `HostError` `unsafe_state`."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=state.root_fd if dir_fd is None else dir_fd)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        check_own(os.fstat(file.fileno()), f"{state.path}/{name}")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise unsafe(f"{state.path}/{name} is larger than {limit} bytes")
    return data


def write(
    state: State, name: str, content: Mapping[str, Any], *, mode: int = 0o644, dir_fd: int | None = None
) -> None:
    """Make `name` hold `content` as JSON: on a full disk it keeps what it held. Raises `HostError`."""
    data = (json.dumps(content, sort_keys=True) + "\n").encode("ascii")
    replace(state, name, data, mode=mode, dir_fd=dir_fd)


def replace(state: State, name: str, data: bytes, *, mode: int = 0o644, dir_fd: int | None = None) -> None:
    """The same for bytes. Raises `HostError`."""
    where = state.root_fd if dir_fd is None else dir_fd
    temporary = temporary_name(TEMPORARY)
    try:
        with storage_errors(state.path):
            _write_new(temporary, data, mode, where)
            os.rename(temporary, name, src_dir_fd=where, dst_dir_fd=where)
            os.fsync(where)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=where)
        raise


def remove(state: State, name: str, *, dir_fd: int | None = None) -> None:
    """Remove `name`, durably; needs no space, and is no error when there is none."""
    where = state.root_fd if dir_fd is None else dir_fd
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=where)
    os.fsync(where)


def _write_new(name: str, data: bytes, mode: int, dir_fd: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, mode, dir_fd=dir_fd), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
