"""What the host program ends with: a code for machines, a sentence and a hint for people.

The exit codes are those of the control machine's `fleetbox.errors` where both know one; this folder
cannot import that module, because it is installed on hosts alone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes of `fleetbox-host`."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    BUNDLE_INVALID = 3
    APPLY_FAILED = 5
    TAMPERED = 6


class HostError(Exception):
    """A refusal or failure that is reported as JSON; `answer` is what is known besides the error."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        exit_code: Exit = Exit.APPLY_FAILED,
        answer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.answer = answer or {}


_STORAGE = {
    errno.EDQUOT: ("quota_exceeded", "the disk quota of root is used up", "raise the quota or free space"),
    errno.EROFS: ("read_only_filesystem", "the file system is read-only", "remount it read-write"),
    errno.EIO: (
        "io_error",
        "the disk reports an input/output error",
        "see the kernel's log; replace the disk",
    ),
    errno.EACCES: ("not_permitted", "permission denied", "run fleetbox-host as root"),
    errno.EPERM: ("not_permitted", "operation not permitted", "run fleetbox-host as root"),
}


@contextmanager
def storage_errors(directory: str) -> Iterator[None]:
    """Turn what a full, read-only or failing disk raises into a `HostError`; `directory` says which disk.

    Wrapped round whole verbs, and once more inside whatever cleans up after itself: a disk from which the
    half-written files are gone no longer shows what it had run out of.
    """
    try:
        yield
    except OSError as problem:
        raise _as_host_error(problem, directory) from problem


def _as_host_error(problem: OSError, directory: str) -> HostError:
    if problem.errno == errno.ENOSPC:
        return _no_space(directory)
    if problem.errno in _STORAGE:
        code, what, hint = _STORAGE[problem.errno]
        return HostError(code, f"cannot write below {directory}: {what}", hint=hint)
    return HostError("io_error", f"cannot write below {directory}: {problem}")


def _no_space(directory: str) -> HostError:
    """ENOSPC means blocks or inodes; only statvfs tells which, `df -h` calls a disk without inodes free."""
    try:
        inodes_left = os.statvfs(directory).f_favail
    except OSError:
        inodes_left = 1
    if inodes_left == 0:
        return HostError(
            "no_inodes",
            f"cannot write below {directory}: the file system has no free inodes",
            hint=f"remove files there (df -i {directory} shows the inodes)",
        )
    return HostError(
        "disk_full",
        f"cannot write below {directory}: no space left on the file system",
        hint=f"free space there (df -h {directory})",
    )
