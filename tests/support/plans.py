"""Launch plans for tests of the launcher: the format of docs/launch-plan.md, written out by hand.

Not `fleetbox.targets`, on purpose: the launcher is tested against the document, not against whatever the
compiler happens to write.
"""

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

Op = tuple[str, ...]

HEAD: dict[str, str] = {
    "mode": "workspace-write",
    "root": "host",
    "workspace": "write",
    "tmp": "private",
    "network": "none",
    "nested": "no",
    "host-pids": "no",
    "unix-sockets": "none",
    "gpu": "none",
    "landlock": "best-effort",
}

_ALLOW = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)  # BPF_RET, SECCOMP_RET_ALLOW
_LOAD_NUMBER = struct.pack("=HBBI", 0x20, 0, 0, 0)  # the system call's number
_EPERM = struct.pack("=HBBI", 0x06, 0, 0, 0x00050001)
ALLOW_ALL = _ALLOW


def deny(number: int) -> bytes:
    """A filter that refuses one system call with EPERM."""
    jump = struct.pack("=HBBI", 0x15, 0, 1, number)  # equal: fall through; else skip one
    return _LOAD_NUMBER + jump + _EPERM + _ALLOW


@dataclass(frozen=True)
class Plan:
    """A launch plan: `head` overrides the single-valued operations, `ops` are the others."""

    ops: Sequence[Op] = ()
    head: dict[str, str] = field(default_factory=dict)
    name: str = "test"
    filter: bytes = ALLOW_ALL

    def payload(self) -> bytes:
        """The records up to and including `end`."""
        records: list[Op] = [("policy", self.name, "sha256:" + "0" * 64)]
        records += [(name, value) for name, value in (HEAD | self.head).items()]
        records += self.ops
        records += [("env-pass", name) for name in ("PATH", "HOME", "LC_*")]
        records += [
            ("seccomp", os.uname().machine, variant, f"seccomp-{variant}.bpf")
            for variant in ("unix", "nounix")
        ]
        return b"".join(os.fsencode(word) + b"\0" for record in [*records, ("end",)] for word in record)

    def encode(self) -> bytes:
        """The whole file."""
        return envelope(self.payload())

    def write(self, directory: Path, owner: int) -> Path:
        """Write plan and filters into a 0700 directory of `owner`; returns the plan's path."""
        return write(directory, owner, self.encode(), self.filter)


def envelope(payload: bytes) -> bytes:
    """Header and payload."""
    head = ["fleetbox-launch-plan", "1", str(len(payload)), f"{zlib.crc32(payload):08x}"]
    return b"".join(word.encode() + b"\0" for word in head) + payload


def write(directory: Path, owner: int, plan: bytes, bpf: bytes = ALLOW_ALL) -> Path:
    """As `Plan.write`, for bytes that need not be a plan."""
    directory.mkdir(mode=0o700, exist_ok=True)
    contents = {"launch.plan": plan, "seccomp-unix.bpf": bpf, "seccomp-nounix.bpf": bpf}
    for name, data in contents.items():
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o600)
    for path in (directory, *(directory / name for name in contents)):
        if os.geteuid() == 0:
            os.chown(path, owner, owner)
    return directory / "launch.plan"
