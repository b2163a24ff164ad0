"""A host with a kernel of its own, which runs as an ordinary program: user-mode Linux, or QEMU.

It runs as nobody (uid of a host's root) in its own pid and mount namespaces with its own /dev, so that its
root is root of that kernel and of nothing else.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import NoReturn

from tests.support.hosts import hooks, namespaces, network, nodes, qemu, uml
from tests.support.hosts.namespaces import ID_BASE, MS_NODEV, MS_NOEXEC, MS_NOSUID
from tests.support.hosts.processes import Process
from tests.support.hosts.spec import HostSpec, Kind, UserNamespaces
from tests.support.hosts.state import HostState, LabState

ROOT_PORT = 2222
"""Where root's own sshd listens, for `exec`; see boot-host.sh."""
DISK = "/mnt"
"""Where a host's disk folder is in its mount namespace: by its real name it is closed to nobody."""

REFUSALS = {
    UserNamespaces.OK: {},
    UserNamespaces.ENOSPC: {"user.max_user_namespaces": "0"},
    UserNamespaces.EPERM: {"kernel.unprivileged_userns_clone": "0"},
}
"""How a kernel refuses user namespaces by a setting of its own."""


def lay_out(host: HostState, spec: HostSpec) -> None:
    """Fill the host's disk folder from its identity."""
    host.disk.mkdir(mode=0o700)
    with tarfile.open(host.disk / "identity.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(host.identity, arcname=".", filter=_unshifted)
    if spec.kind.emulated:
        qemu.lay_out(host, spec)
    else:
        uml.installed()
    for path in (host.disk, *host.disk.iterdir()):
        os.chown(path, ID_BASE, ID_BASE)


def _unshifted(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid, member.gid = member.uid - ID_BASE, member.gid - ID_BASE
    return member


def parameters(spec: HostSpec, index: int) -> list[str]:
    """Of any such kernel; those of the form NAME=value become environment of its first program."""
    settings = REFUSALS[spec.userns] | spec.sysctls
    return [
        "rw",
        "quiet",
        "apparmor=1",
        "security=apparmor",
        *spec.boot,
        *(f"sysctl.{name}={value}" for name, value in settings.items()),
        f"HOST_INIT={'systemd' if spec.kind is Kind.UML_SYSTEMD else 'sshd'}",
        f"HOST_ADDRESS={network.address(index)}/{network.PREFIX}",
        f"HOST_GATEWAY={network.GATEWAY}",
    ]


def start(host: HostState, lab: LabState, spec: HostSpec) -> int:
    """Boot the host; return the process that its kernel lives and dies with."""
    index = int(host.address.read_text())
    port = network.plug_tap(str(lab.netns), index, ID_BASE)
    kind = qemu if spec.kind.emulated else uml
    argv = kind.command(spec, port, network.hardware_address(index), parameters(spec, index))

    def begin(lifeline: int) -> NoReturn:
        namespaces.run_as_child(lambda: _stage(lifeline, host, lab, argv))

    return namespaces.fork_bound(begin)


def _stage(lifeline: int, host: HostState, lab: LabState, argv: list[str]) -> int:
    namespaces.die_with_parent(lifeline)
    namespaces.enter_network(str(lab.netns))
    namespaces.unshare(namespaces.NEWPID)

    def begin(lifeline: int) -> NoReturn:
        namespaces.run_as_child(lambda: _kernel(lifeline, host, argv))

    kernel = namespaces.fork_bound(begin)
    Process.of(kernel).write(host.init)
    return os.waitstatus_to_exitcode(os.waitpid(kernel, 0)[1])


def _kernel(lifeline: int, host: HostState, argv: list[str]) -> NoReturn:
    """Pid 1 of its namespace: with it goes every process that runs a program of the guest.

    Its mounts are its own: whoever started it looks for it in the machine's /proc.
    """
    namespaces.die_with_parent(lifeline)
    os.setsid()
    namespaces.unshare(namespaces.NEWNS)
    namespaces.make_private()
    namespaces.bind(str(host.disk), DISK)
    _mount_dev()
    namespaces.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chdir(DISK)
    namespaces.become(ID_BASE)
    namespaces.die_with_parent(lifeline)
    namespaces.restore_signals()
    os.execve(argv[0], argv, {"PATH": "/usr/bin:/bin", "HOME": DISK, "TMPDIR": "/dev/shm"})  # noqa: S606


def _mount_dev() -> None:
    """The standard nodes, the door to the lab's network, and memory."""
    namespaces.mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=16m")
    dev = Path("/dev")
    hooks.devices(HostSpec("none"), dev)
    nodes.make(dev, nodes.Node("net/tun", 10, 200))
    namespaces.mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
