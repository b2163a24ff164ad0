"""One short command, run as the user that workloads are: never as root where there is anybody else."""

from __future__ import annotations

import errno
import os
import pwd
import signal
import subprocess
from contextlib import suppress
from typing import Any, NamedTuple

TIMEOUT_S = 5.0
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": SEARCH_PATH, "LC_ALL": "C"}
_NOBODY = 65534
_LINE_MAX = 200


class Attempt(NamedTuple):
    """How a command ended: `ok` is exit status 0, `said` its first line on stderr, `printed` its stdout."""

    ok: bool
    said: str
    printed: str = ""


def attempt(argv: list[str], user: str | None, *, timeout: float = TIMEOUT_S) -> Attempt:
    """Run `argv` as `user`, or as nobody; as ourselves where we are not root. Never raises."""
    identity = _identity(user) if os.geteuid() == 0 else {}
    try:
        try:
            return _run(argv, identity, timeout)
        except OSError as problem:
            # In a user namespace of a single id there is nobody else to become.
            if not identity or problem.errno not in (errno.EPERM, errno.EINVAL):
                raise
            return _run(argv, {}, timeout)
    except OSError as problem:
        return Attempt(False, f"{argv[0]}: {problem.strerror}")


def _identity(user: str | None) -> dict[str, Any]:
    try:
        entry = pwd.getpwnam(user or "nobody")
    except KeyError:
        return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    # The groups stay: they carry the access to GPU nodes.
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


def _run(argv: list[str], identity: dict[str, Any], timeout: float) -> Attempt:
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=_ENVIRONMENT,
        start_new_session=True,
        **identity,
    )
    try:
        printed, said = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Attempt(False, f"{argv[0]} did not end within {timeout:g} s")
    return Attempt(
        process.returncode == 0, _first_line(said, process.returncode), printed.decode("utf-8", "replace")
    )


def _first_line(said: bytes, status: int) -> str:
    for line in said.decode("utf-8", "replace").splitlines():
        if line.strip():
            return "".join(c if c.isprintable() else "?" for c in line.strip())[:_LINE_MAX]
    return f"exit status {status}" if status else ""
