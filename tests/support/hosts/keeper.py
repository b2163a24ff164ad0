"""The process that a lab lives by: `python -m tests.support.hosts.keeper LAB OWNER_PID MIRROR [PROXY]`.

It holds the lab's network namespace open, serves apt's proxy, and takes the lab down when told (SIGTERM) or
when its owner has ended. Nothing of a lab is registered with the machine: when the keeper dies the kernel
removes the network, and every warden follows.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path

from tests.support.hosts import cleanup, network
from tests.support.hosts.mirror import Mirror
from tests.support.hosts.processes import Process
from tests.support.hosts.proxy import Server
from tests.support.hosts.state import LabState

READY = b"ready\n"


def main(folder: str, owner: str, archive: str, proxy: str | None = None) -> int:
    lab = LabState(Path(folder))
    stop = _stop_signal()
    netns = network.create()
    lab.netns.symlink_to(f"/proc/{os.getpid()}/fd/{netns}")
    lab.netns_id.write_text(f"{os.fstat(netns).st_ino}\n")
    server = Server(str(lab.netns), Mirror(archive, proxy))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Process.of(os.getpid()).write(lab.keeper)
    with contextlib.suppress(BrokenPipeError):  # the owner is gone already, and the lab goes as well
        os.write(1, READY)
    os.dup2(2, 1)
    _wait(lab, stop, int(owner))
    cleanup.destroy(lab)
    return 0


def _stop_signal() -> socket.socket:
    """A socket that becomes readable on SIGTERM; SIGINT is the owner's business, who tells us."""
    readable, written = socket.socketpair()
    written.setblocking(False)
    signal.set_wakeup_fd(written.detach())
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return readable


def _wait(lab: LabState, stop: socket.socket, owner: int) -> None:
    poll = select.poll()
    poll.register(stop, select.POLLIN)
    try:
        handle = os.pidfd_open(owner)
    except ProcessLookupError:
        handle = None
    if handle is not None:
        poll.register(handle, select.POLLIN)
        ready = [number for number, _ in poll.poll()]
        if stop.fileno() in ready:
            return
        poll.unregister(handle)
    # Only now: a lab made with `up` is detached when it stands, and one that never stood goes down.
    if lab.detached.exists():
        poll.poll()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
