"""The process that makes one host and goes down with it: `python -m tests.support.hosts.warden
HOST_FOLDER`.

Three generations, because a new pid namespace begins with the next child: the warden (the machine's root,
mounts the overlay), the stage (in the new namespaces, waits for its id maps) and the host's pid 1 (becomes
sshd or systemd). Each takes the next with it when it dies, and the warden dies with the lab's keeper: kill -9
of any of them leaves nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tests.support.hosts import cgroups, guests, hooks, namespaces, network
from tests.support.hosts.namespaces import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC
from tests.support.hosts.processes import Process
from tests.support.hosts.spec import HostSpec, Kind
from tests.support.hosts.state import HostState, LabState

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "linux",
}
SYSTEMD = ["/sbin/init"]
SSHD = ["/usr/sbin/sshd", "-D", "-e", "-h", "/etc/ssh/ssh_host_ed25519_key"]


def main(folder: str) -> int:
    host = HostState(Path(folder))
    lab = LabState(host.path.parent.parent)
    spec = HostSpec.from_json(json.loads(host.spec.read_text()))
    namespaces.unshare(namespaces.NEWNS)
    namespaces.make_private()
    if spec.kind.own_kernel:
        return _keep_running(lab, host, lambda: guests.start(host, lab, spec))
    _mount_root(host, spec)
    return _guard(lab, _start(host, lab, spec))


def _keep_running(lab: LabState, host: HostState, start: Callable[[], int]) -> int:
    """Start again whatever was cut off on purpose, as a machine whose power came back."""
    while True:
        host.power_cut.unlink(missing_ok=True)
        status = _guard(lab, start())
        if not host.power_cut.exists():
            return status


def _mount_root(host: HostState, spec: HostSpec) -> None:
    layers = f"{host.identity}:{host.tree.resolve()}"
    # Nothing of a throw-away host needs to reach the disk: `volatile` spares dpkg its syncs.
    options = f"lowerdir={layers},upperdir={host.upper},workdir={host.work},volatile"
    namespaces.mount("overlay", str(host.root), "overlay", data=options)
    dev = host.root / "dev"
    namespaces.mount("tmpfs", str(dev), "tmpfs", MS_NOSUID, "mode=755,size=16m")
    hooks.devices(spec, dev)


def _start(host: HostState, lab: LabState, spec: HostSpec) -> int:
    """Fork the stage and give it what only the machine's root can: id maps and a network port."""
    ours, theirs = socket.socketpair()
    index = int(host.address.read_text())
    os.chdir(host.root)

    def begin(lifeline: int) -> NoReturn:
        ours.close()
        namespaces.run_as_child(lambda: _stage(lifeline, theirs, host, spec))

    stage = namespaces.fork_bound(begin)
    theirs.close()
    with ours:
        if ours.recv(1):
            namespaces.write_id_maps(stage)
            network.plug(str(lab.netns), index, stage)
            ours.send(b"+")
            Process.of(int(ours.recv(32))).write(host.init)
            if spec.kind is Kind.SYSTEMD:
                cgroups.step_out(host, stage)
    return stage


def _guard(lab: LabState, stage: int) -> int:
    """Wait until the host ends; end it when the lab's keeper is gone."""
    keeper = Process.read(lab.keeper)
    ended = os.pidfd_open(stage)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    if keeper and keeper.alive():
        poll.register(os.pidfd_open(keeper.pid), select.POLLIN)
        poll.poll()
    signal.pidfd_send_signal(ended, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1])


def _stage(lifeline: int, warden: socket.socket, host: HostState, spec: HostSpec) -> int:
    namespaces.die_with_parent(lifeline)
    index = int(host.address.read_text())
    if spec.kind is Kind.SYSTEMD:
        cgroups.enter(host)
    namespaces.unshare(namespaces.ALL)
    warden.send(b"+")
    if not warden.recv(1):
        return 1
    namespaces.become_root_inside()
    namespaces.die_with_parent(lifeline)

    def begin(lifeline: int) -> NoReturn:
        warden.close()
        namespaces.run_as_child(lambda: _init(lifeline, spec, index))

    init = namespaces.fork_bound(begin)
    warden.send(str(init).encode())
    return os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])


def _init(lifeline: int, spec: HostSpec, index: int) -> NoReturn:
    namespaces.die_with_parent(lifeline)
    os.setsid()
    os.umask(0o022)
    namespaces.make_private()
    namespaces.mount(".", ".", flags=namespaces.MS_BIND | MS_REC)
    # Back in by name, onto the new mount. Longer paths are closed to us: root inside is nobody out there.
    os.chdir("../root")
    _mount_inside(spec)
    hooks.inside(spec, "../binds")
    socket.sethostname(spec.name)
    network.configure_inside(network.address(index))
    namespaces.pivot_into_cwd()
    hooks.refuse_user_namespaces(spec)
    namespaces.restore_signals()
    if spec.kind is Kind.SYSTEMD:
        os.execve(SYSTEMD[0], SYSTEMD, ENVIRONMENT | {"container": "fleetbox-hosts"})  # noqa: S606
    os.execve(SSHD[0], SSHD, ENVIRONMENT)  # noqa: S606 - pid 1 becomes sshd


def _mount_inside(spec: HostSpec) -> None:
    hard = MS_NOSUID | MS_NODEV | MS_NOEXEC
    namespaces.mount("proc", "proc", "proc", hard)
    namespaces.mount("sysfs", "sys", "sysfs", hard | MS_RDONLY)
    namespaces.mount("devpts", "dev/pts", "devpts", data="newinstance,ptmxmode=0666,mode=0620,gid=5")
    namespaces.mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m")
    namespaces.mount("tmpfs", "run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=32m")
    for name in ("run/sshd", "run/lock"):
        os.mkdir(name, 0o755)
    if spec.kind is Kind.SYSTEMD:
        namespaces.mount("cgroup2", "sys/fs/cgroup", "cgroup2", hard)
        Path("run/host.log").touch()
        namespaces.bind("../log", "run/host.log")
    if spec.disk:
        limits = f"mode=755,size={spec.disk.size},nr_inodes={spec.disk.inodes}"
        namespaces.mount("tmpfs", "var/lib/fleetbox", "tmpfs", MS_NOSUID | MS_NODEV, limits)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
