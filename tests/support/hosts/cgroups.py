"""A control group of its own for each host that boots systemd, which refuses to start without one.

The host's root owns the inner of two groups, so it can make more below and cannot get out. Surprise: the
kernel keeps a group after its last process; whoever ends a host removes its groups.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.hosts.errors import HostsError
from tests.support.hosts.namespaces import ID_BASE
from tests.support.hosts.state import HostState, LabState

DELEGATED = ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
EMPTY_SECONDS = 5.0


def outer(host: HostState) -> Path:
    lab = LabState(host.path.parent.parent)
    return _root() / f"{lab.path.name}-{host.path.name}"


def enter(host: HostState) -> None:
    """Make the host's groups and move the calling process into the inner one."""
    inner = outer(host) / "host"
    inner.mkdir(parents=True, exist_ok=True)
    for name in DELEGATED:
        os.chown(inner / name, ID_BASE, ID_BASE)
    (inner / "cgroup.procs").write_text(f"{os.getpid()}\n")


def step_out(host: HostState, pid: int) -> None:
    """Leave the inner group to the host: one with a stranger in it hands no controller on."""
    (outer(host) / "cgroup.procs").write_text(f"{pid}\n")


def remove(host: HostState) -> None:
    """Remove the groups of a host that has ended, if it had any."""
    try:
        top = outer(host)
    except HostsError:
        return
    deadline = time.monotonic() + EMPTY_SECONDS
    while top.exists():
        try:
            for folder, _, _ in os.walk(top, topdown=False):
                os.rmdir(folder)
        except OSError:  # a process in it has not quite gone
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _root() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        if kind.split()[0] == "cgroup2":
            return Path(place.split()[4])
    raise HostsError(
        "no cgroup2 is mounted here", "kind=systemd needs one: mount -t cgroup2 none /mnt/cgroup"
    )
