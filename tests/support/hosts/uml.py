"""The command line of user-mode Linux, Debian's `linux.uml`: a kernel as an ordinary program.

Surprise: its memory is a file on /dev/shm that it maps executable, so that mount must allow it.
"""

from __future__ import annotations

import os

from tests.support.hosts import images
from tests.support.hosts.errors import HostsError
from tests.support.hosts.spec import HostSpec

PROGRAM = "/usr/bin/linux.uml"
MEMORY = "512M"


def installed() -> None:
    if not os.access(PROGRAM, os.X_OK):
        raise HostsError(f"{PROGRAM} is not installed", "apt-get install -y user-mode-linux")


def command(spec: HostSpec, port: str, hardware_address: str, parameters: list[str]) -> list[str]:
    """Run in the folder of the host's disk."""
    return [
        PROGRAM,
        f"mem={MEMORY}",
        f"ubda=cow,{images.image(spec.suite, spec.kind)}",
        "ubdbr=identity.tar",
        "uml_dir=/dev/shm",
        "root=/dev/ubda",
        "rootfstype=ext4",
        "init=/usr/local/sbin/boot-host",
        f"eth0=tuntap,{port},{hardware_address}",
        "con=null",
        "con0=null,fd:1",
        "HOST_IDENTITY=/dev/ubdb",
        *parameters,
    ]
