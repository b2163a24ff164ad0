"""Taking labs down: by their keeper when told, by anybody when the keeper is gone.

Processes are found by what was recorded when they started, or by being in the lab's network *and* carrying
its name in their environment (ssh's connection masters outlive the command that started them); nothing else
is signalled.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.hosts import cgroups
from tests.support.hosts.errors import HostsError
from tests.support.hosts.processes import Process, everyone
from tests.support.hosts.state import HostState, LabState, every_lab

MARK = "FLEETBOX_LAB"
"""Environment variable that every process started through a lab's controller carries."""
END_SECONDS = 10.0
UNBORN_SECONDS = 60.0


def destroy(lab: LabState) -> None:
    """End everything in a lab and remove its folder."""
    strangers = list(_in_network(lab))
    for process in strangers:
        process.signal(signal.SIGTERM)
    hosts = [HostState(path) for path in lab.hosts.glob("*") if path.is_dir()]
    for host in hosts:
        for file in (host.init, host.warden):
            if recorded := Process.read(file):
                recorded.signal(signal.SIGKILL)
    for host in hosts:
        end_host(host)
    for process in strangers:
        _end(process)
    shutil.rmtree(lab.path, onerror=_unless_gone)


def end_host(host: HostState) -> None:
    """End a host's processes; its pid 1 takes every other process of the host with it."""
    for file in (host.init, host.warden):
        if process := Process.read(file):
            process.signal(signal.SIGKILL)
            if not process.wait(END_SECONDS):
                raise HostsError(f"process {process.pid} of {host.path.name} does not end")
    cgroups.remove(host)


def sweep() -> list[str]:
    """Remove the labs whose keeper is gone; return their names."""
    stale = [lab for lab in every_lab() if _is_stale(lab)]
    for lab in stale:
        destroy(lab)
    return [lab.name for lab in stale]


def _is_stale(lab: LabState) -> bool:
    if lab.lock.exists():
        return not lab.kept()
    try:
        return time.time() - lab.path.stat().st_mtime > UNBORN_SECONDS
    except FileNotFoundError:
        return False


def _in_network(lab: LabState) -> Iterator[Process]:
    try:
        network = int(lab.netns_id.read_text())
    except (FileNotFoundError, ValueError):
        return
    mark = f"{MARK}={lab.name}".encode()
    for process in everyone():
        try:
            same = os.stat(f"/proc/{process.pid}/ns/net").st_ino == network
            if same and mark in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                yield process
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or is one that even root may not look at: not ours


def _end(process: Process) -> None:
    if not process.wait(1.0):
        process.signal(signal.SIGKILL)
        process.wait(END_SECONDS)


def _unless_gone(_call: object, _path: str, failure: tuple[type, BaseException, object]) -> None:
    # Two sweeps may meet; what the other one removed is removed.
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
