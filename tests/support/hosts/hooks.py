"""How a host is made odd: device nodes and a driver's words without a driver, a kernel that says it is
another, refused namespaces.

`devices` runs as the machine's root, because mknod needs it; everything else runs as root of the host
itself and can therefore touch nothing of the machine. A refused `clone` keeps sudo and apt working.
"""

from __future__ import annotations

import errno
import os
import platform
from pathlib import Path

from tests.support.hosts import driver, gpus, namespaces, nodes
from tests.support.hosts.namespaces import ID_BASE
from tests.support.hosts.spec import Hook, HostSpec, UserNamespaces

# What the two generations of WSL say of themselves.
SAYS = {
    Hook.WSL1: (
        "4.4.0-19041-Microsoft",
        "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com) (gcc version 5.4.0 (GCC) )"
        " #3636-Microsoft Thu Jun 24 14:33:00 PST 2021",
    ),
    Hook.WSL2: (
        "5.15.167.4-microsoft-standard-WSL2",
        "Linux version 5.15.167.4-microsoft-standard-WSL2 (root@f9c826d3017f) (gcc (GCC) 11.2.0,"
        " GNU ld (GNU Binutils) 2.37) #1 SMP Tue Nov 5 00:21:55 UTC 2024",
    ),
}
# What container engines hide; which of them exist depends on the kernel.
MASKED = ("proc/kcore", "proc/keys", "proc/timer_list", "proc/sysrq-trigger")
UNTOUCHED_PROC = "run/untouched-proc"


def devices(spec: HostSpec, dev: Path) -> None:
    """Fill a host's /dev as the machine's root."""
    for node in (*nodes.STANDARD, *gpus.MACHINES[spec.gpu].every_node):
        nodes.make(dev, node)
    for name in ("pts", "shm"):
        (dev / name).mkdir(mode=0o755)
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, target in links.items():
        (dev / name).symlink_to(target)
    for path in [dev, *dev.rglob("*")]:
        os.chown(path, ID_BASE, ID_BASE, follow_symlinks=False)


def prepare_binds(spec: HostSpec, folder: Path) -> None:
    """Write the files that `inside` binds over the kernel's own."""
    for hook in spec.hooks & SAYS.keys():
        release, version = SAYS[hook]
        (folder / "osrelease").write_text(release + "\n")
        (folder / "version").write_text(version + "\n")
    driver.write(gpus.MACHINES[spec.gpu], folder)


def inside(spec: HostSpec, binds: str) -> None:
    """Change what the host's kernel says; the current directory is its root, still before the pivot."""
    if spec.hooks & SAYS.keys():
        namespaces.bind(f"{binds}/version", "proc/version")
        namespaces.bind(f"{binds}/osrelease", "proc/sys/kernel/osrelease")
    overmounted = driver.show(gpus.MACHINES[spec.gpu], binds) or bool(spec.hooks & SAYS.keys())
    if Hook.MASKED_PROC in spec.hooks:
        for path in filter(os.path.exists, MASKED):
            namespaces.bind("dev/null", path)
    elif overmounted:
        # The kernel grants a nested sandbox its own /proc only while an untouched one is mounted somewhere.
        os.mkdir(UNTOUCHED_PROC)
        namespaces.mount("proc", UNTOUCHED_PROC, "proc")
    if spec.userns is UserNamespaces.ENOSPC:
        # This file counts for the host's own user namespace, never for the machine's.
        Path("proc/sys/user/max_user_namespaces").write_text("0\n")


def refuse_user_namespaces(spec: HostSpec) -> None:
    """Answer EPERM or EINVAL to every new user namespace, for this process and all it starts."""
    if spec.userns in {UserNamespaces.EPERM, UserNamespaces.EINVAL}:
        namespaces.install_filter(_refusal(getattr(errno, spec.userns)))


# audit architecture, unshare, clone; clone3 has one number everywhere
_NUMBERS = {"x86_64": (0xC000003E, 272, 56), "aarch64": (0xC00000B7, 97, 220)}
_CLONE3 = 435


def _refusal(error: int) -> list[tuple[int, int, int, int]]:
    load, equal, any_bit, answer = 0x20, 0x15, 0x45, 0x06
    allow, fail = 0x7FFF0000, 0x00050000
    architecture, unshare, clone = _NUMBERS[platform.machine()]
    return [
        (load, 0, 0, 4),
        (equal, 1, 0, architecture),
        (answer, 0, 0, allow),
        (load, 0, 0, 0),
        (equal, 0, 1, _CLONE3),
        # A filter cannot look behind clone3's pointer; the C library falls back to clone.
        (answer, 0, 0, fail | errno.ENOSYS),
        (equal, 1, 0, unshare),
        (equal, 0, 3, clone),
        (load, 0, 0, 16),
        (any_bit, 0, 1, namespaces.NEWUSER),
        (answer, 0, 0, fail | error),
        (answer, 0, 0, allow),
    ]
