"""Everything a lab could leave behind, looked for in all of /proc, not only in what the harness remembers."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.hosts.lab import Lab
from tests.support.hosts.state import LabState

PATIENCE = 10.0


def of(name: str, network: int | None = None) -> list[str]:
    """Folders, control groups, processes, mounts in any namespace, and uses of the lab's network."""
    state = LabState.named(name)
    found = [f"folder {state.path}"] if state.path.exists() else []
    # os.walk, because groups of other hosts come and go meanwhile, and rglob fails at one that goes.
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found += [
            f"control group {folder}/{name}" for name in names if name.startswith(f"{state.path.name}-")
        ]
    for entry in filter(str.isdigit, os.listdir("/proc")):
        found += [f"process {entry}: {trace}" for trace in _of_process(Path("/proc") / entry, state, network)]
    return found


def after(name: str, network: int | None = None) -> list[str]:
    """The same, once nothing changes for the better any more: a killed owner's keeper needs a moment."""
    deadline = time.monotonic() + PATIENCE
    while (found := of(name, network)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def network_of(lab: Lab) -> int:
    return os.stat(lab.netns).st_ino


def _of_process(process: Path, state: LabState, network: int | None) -> list[str]:
    lab = str(state.path).encode()
    found = []
    try:
        if lab in (process / "cmdline").read_bytes() and process.name != str(os.getpid()):
            found.append("its command line")
        if lab in (process / "mountinfo").read_bytes():
            found.append("a mount")
        if network is not None and (process / "ns/net").stat().st_ino == network:
            found.append("in the network")
    except OSError:
        pass  # it ended meanwhile, or is one that root may not look at
    return found
