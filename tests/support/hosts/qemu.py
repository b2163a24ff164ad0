"""The command line of QEMU: a distribution's own kernel on a whole emulated machine.

Without acceleration: where this was measured /dev/kvm opens and boots no kernel of Debian's, and one way
that is the same everywhere is worth more than the seconds. Surprise: the kernel is given to QEMU unpacked,
because to unpack itself takes it longer than to boot.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from tests.support.hosts import images
from tests.support.hosts.errors import HostsError
from tests.support.hosts.spec import HostSpec, Kind
from tests.support.hosts.state import HostState

IMAGE_TOOL = "/usr/bin/qemu-img"


@dataclass(frozen=True)
class Machine:
    program: str
    package: str
    """Debian's, which has the program."""
    options: tuple[str, ...]
    parameters: tuple[str, ...]
    """Of the kernel."""
    memory: str = "768M"


MACHINES = {
    Kind.QEMU: Machine(
        "/usr/bin/qemu-system-x86_64",
        "qemu-system-x86",
        # Without cmpxchg16b: QEMU 7.2 leaves garbage in EFLAGS after it, and an interrupt that comes right
        # then kills the guest's kernel somewhere else.
        ("-machine", "pc,usb=off", "-cpu", "Nehalem,-cx16,+rdrand"),
        # Without the check a machine that is slow today panics: "IO-APIC + timer doesn't work".
        ("console=ttyS0", "mitigations=off", "no_timer_check"),
    ),
    Kind.QEMU_AARCH64: Machine(
        "/usr/bin/qemu-system-aarch64",
        "qemu-system-arm",
        # A processor of servers that runs 32-bit programs too.
        ("-machine", "virt", "-cpu", "neoverse-n1"),
        ("console=ttyAMA0",),
        # The tests themselves run there.
        memory="1G",
    ),
}
PARAMETERS = ("panic=-1", "HOST_IDENTITY=/dev/vdb")


def lay_out(host: HostState, spec: HostSpec) -> None:
    """Make the host's disk, which holds what differs from the suite's."""
    machine = MACHINES[spec.kind]
    for program, package in ((machine.program, machine.package), (IMAGE_TOOL, "qemu-utils")):
        if not os.access(program, os.X_OK):
            raise HostsError(f"{program} is not installed", f"apt-get install -y {package}")
    below = str(images.image(spec.suite, spec.kind))
    argv = [IMAGE_TOOL, "create", "-q", "-f", "qcow2", "-b", below, "-F", "raw", str(host.disk / "cow")]
    subprocess.run(argv, check=True, capture_output=True)


def command(spec: HostSpec, port: str, hardware_address: str, parameters: list[str]) -> list[str]:
    """Run in the folder of the host's disk; the log is the first serial line."""
    machine = MACHINES[spec.kind]
    return [
        machine.program,
        *machine.options,
        *("-accel", "tcg", "-m", machine.memory),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"),
        *("-kernel", str(images.kernel(spec.suite, spec.kind))),
        *("-initrd", str(images.initrd(spec.suite, spec.kind))),
        *("-append", " ".join([*machine.parameters, *PARAMETERS, *parameters])),
        # Only this machine's own loss of power could tell a disk that is never synced.
        *("-drive", "file=cow,format=qcow2,if=virtio,cache=unsafe"),
        *("-drive", "file=identity.tar,format=raw,if=virtio,readonly=on"),
        *("-netdev", f"tap,id=lab,ifname={port},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=lab,mac={hardware_address},romfile="),
    ]
