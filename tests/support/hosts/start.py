"""Starting a lab's two kinds of process, its keeper and one warden for each host, as modules of this package.

Both get a session of their own: Ctrl-C is for the test run, which then takes its lab down in order.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path

from tests.support.hosts import cleanup, configuration, identity, mirror
from tests.support.hosts.errors import HostsError
from tests.support.hosts.keeper import READY
from tests.support.hosts.processes import Process
from tests.support.hosts.state import HostState, LabState

REPOSITORY = Path(__file__).resolve().parents[3]


def keeper(state: LabState, owner: int) -> subprocess.Popen[bytes]:
    """Fill a lab's new folder and start its keeper; return when network and proxy stand."""
    for folder in (state.keys, state.control_paths, state.home, state.addresses, state.hosts):
        folder.mkdir(mode=0o700)
    identity.make_key(state.key)
    configuration.write(state)
    unborn = state.path / "lock.unborn"
    handle = os.open(unborn, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        # Under its real name the lock is always held: a sweep must never see a lab before its keeper.
        fcntl.flock(handle, fcntl.LOCK_EX)
        unborn.rename(state.lock)
        archive = mirror.configured()
        args = [str(state.path), str(owner), archive.uri, *([archive.proxy] if archive.proxy else [])]
        process = _spawn("keeper", *args, log=state.log, stdout=subprocess.PIPE, keep=handle)
    finally:
        os.close(handle)
    assert process.stdout
    with process.stdout as answer:
        if answer.readline() == READY:
            return process
    process.wait()
    problem = state.log.read_text()[-3000:]
    cleanup.destroy(state)
    raise HostsError(f"the lab's keeper did not start: {problem}")


def warden(state: HostState) -> subprocess.Popen[bytes]:
    """Start the process that makes the host laid out in this folder; it writes to the host's log."""
    process = _spawn("warden", str(state.path), log=state.log)
    with contextlib.suppress(ProcessLookupError):  # it failed at once, and its log says why
        Process.of(process.pid).write(state.warden)
    return process


def _spawn(
    module: str, *args: str, log: Path, stdout: int | None = None, keep: int | None = None
) -> subprocess.Popen[bytes]:
    with open(log, "ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", f"tests.support.hosts.{module}", *args],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=stdout or file,
            stderr=file,
            pass_fds=[] if keep is None else [keep],
            start_new_session=True,
        )
