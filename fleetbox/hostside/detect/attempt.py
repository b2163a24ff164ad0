"""Short commands, run as the user that workloads are: never as root where there is anybody else.

A probe may meet a mount that hangs. So each has a time limit, all together have a budget, and a process that
even SIGKILL does not end (a D state) is left behind rather than waited for.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple, cast

TIMEOUT_S = 5.0
BUDGET_S = 20.0
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": SEARCH_PATH, "LC_ALL": "C"}
# Nobody's: of 65534, which stands for ids that are not mapped, a setuid bubblewrap makes an error of its own.
_UNPRIVILEGED = 65533
_LINE_MAX = 200
_OUTPUT_MAX = 64 * 1024
_POLL_S = 0.05
_GRACE_S = 0.5  # for the kernel to bury what was killed


class Attempt(NamedTuple):
    """How a command ended: `ok` is exit status 0, `said` its first line on stderr, `printed` its stdout."""

    ok: bool
    said: str
    printed: str = ""
    stuck: bool = False


class Prober:
    """Runs commands as `user`, or as an id of nobody's; as ourselves where we are not root. Never raises.

    `timeout` limits each command and `budget` all of them, in seconds. `as_root`: for what only root sees.
    """

    def __init__(
        self,
        user: str | None,
        *,
        timeout: float = TIMEOUT_S,
        budget: float = BUDGET_S,
        as_root: bool = False,
    ) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + budget
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0 and not as_root:
            self._identity = self._resolve(user) if user else _identity(_UNPRIVILEGED, _UNPRIVILEGED)

    def attempt(self, argv: list[str]) -> Attempt:
        """Run `argv` and wait for it, in time."""
        left = min(self._timeout, self._deadline - time.monotonic())
        if left <= 0:
            return Attempt(False, f"{argv[0]} was not tried: the time for probes was used up", stuck=True)
        try:
            process = self._start(argv)
        except OSError as problem:
            return Attempt(False, f"{argv[0]}: {problem.strerror}")
        return _finish(process, argv[0], left)

    def label(self, argv: list[str]) -> str:
        """The security label that the kernel gives to a program which first waits for its stdin; or ""."""
        try:
            process = self._start(argv, stdin=subprocess.PIPE)
        except OSError:
            return ""
        try:
            with open(f"/proc/{process.pid}/attr/current", "rb") as file:
                return file.read(_LINE_MAX).decode("ascii", "replace").rstrip("\0\n")
        except OSError:
            return ""
        finally:
            cast("IO[bytes]", process.stdin).close()
            _finish(process, argv[0], self._timeout)

    def _resolve(self, user: str) -> dict[str, Any]:
        """By id(1), because a directory service that hangs must not hang us. The groups carry GPU access."""
        answers = [self.attempt(["id", option, "--", user]).printed.split() for option in ("-u", "-g", "-G")]
        if not all(answers):
            return _identity(_UNPRIVILEGED, _UNPRIVILEGED)
        (uid,), (gid,), groups = answers
        return _identity(int(uid), int(gid), list(map(int, groups)))

    def _start(self, argv: list[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        try:
            return _start(argv, stdin, self._identity)
        except OSError as problem:
            # In a user namespace of a single id there is nobody else to become.
            if not self._identity or problem.errno not in (errno.EPERM, errno.EINVAL):
                raise
            return _start(argv, stdin, {})


def _identity(uid: int, gid: int, groups: Sequence[int] = ()) -> dict[str, Any]:
    return {"user": uid, "group": gid, "extra_groups": list(groups)}


def _start(argv: list[str], stdin: int, identity: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=_ENVIRONMENT,
        start_new_session=True,
        **identity,
    )


def _finish(process: subprocess.Popen[bytes], name: str, timeout: float) -> Attempt:
    deadline = time.monotonic() + timeout
    printed, said, left_over = _listen(process, deadline)
    try:
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        _kill(process)
        return Attempt(False, f"{name} did not end within {timeout:.3g} s", stuck=True)
    if left_over:
        _kill(process)
    return Attempt(status == 0, _first_line(said, status), printed.decode("utf-8", "replace"))


def _listen(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes, bool]:
    """What it says until it ends; the last is whether something that it started still holds its output."""
    stdout, stderr = cast("IO[bytes]", process.stdout), cast("IO[bytes]", process.stderr)
    heard = {stdout: bytearray(), stderr: bytearray()}
    with stdout, stderr, selectors.DefaultSelector() as selector:
        for stream in heard:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            ready = selector.select(min(left, _POLL_S))
            if not ready and process.poll() is not None:
                break
            for key, _ in ready:
                stream = cast("IO[bytes]", key.fileobj)
                chunk = os.read(stream.fileno(), _OUTPUT_MAX)
                heard[stream] += chunk[: _OUTPUT_MAX - len(heard[stream])]
                if not chunk:
                    selector.unregister(stream)
        return bytes(heard[stdout]), bytes(heard[stderr]), bool(selector.get_map())


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole group. What even this does not end soon is the kernel's to bury, and nobody waits for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.returncode = -signal.SIGKILL


def _first_line(said: bytes, status: int) -> str:
    for line in said.decode("utf-8", "replace").splitlines():
        if line.strip():
            return "".join(c if c.isprintable() else "?" for c in line.strip())[:_LINE_MAX]
    return f"exit status {status}" if status else ""
