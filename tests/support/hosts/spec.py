"""What a test asks of a throw-away host, as a value that survives JSON and a command line.

It owns the words (kinds, suites, hooks, GPU kinds, user-namespace refusals) and which of them go together.
One surprise: `wsl1` only changes what the kernel *says*; a believable WSL1 host also refuses user namespaces
(`userns=EINVAL`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
SIZE = re.compile(r"[1-9][0-9]*[kmg]?")


class SpecInvalid(ValueError):
    """A host description that names something this harness does not have."""


class Kind(StrEnum):
    """What a host is made of; every kind has a real sshd, and its own disk, processes and network."""

    NAMESPACE = "namespace"
    """This machine's kernel in namespaces of its own; pid 1 is sshd."""
    SYSTEMD = "systemd"
    """The same with systemd as pid 1: units, timers, logind."""
    UML = "uml"
    """User-mode Linux: a kernel of its own, whose root is root of everything; it can be rebooted."""
    UML_SYSTEMD = "uml-systemd"
    """The same with systemd as pid 1, so that what is enabled comes back after a reboot."""
    QEMU = "qemu"
    """An emulated machine with the suite's kernel: Landlock, Yama, AppArmor as distributed."""
    QEMU_AARCH64 = "qemu-aarch64"
    """The same of another architecture; nothing can be installed there, see foreign.py."""

    @property
    def own_kernel(self) -> bool:
        return self.emulated or self in {Kind.UML, Kind.UML_SYSTEMD}

    @property
    def emulated(self) -> bool:
        return self in {Kind.QEMU, Kind.QEMU_AARCH64}


class Suite(StrEnum):
    BULLSEYE = "bullseye"
    BOOKWORM = "bookworm"
    TRIXIE = "trixie"
    SID = "sid"


class Hook(StrEnum):
    WSL1 = "wsl1"
    WSL2 = "wsl2"
    MASKED_PROC = "masked-proc"


class UserNamespaces(StrEnum):
    """How a nested `unshare(CLONE_NEWUSER)` ends; the names are the errno the workload sees."""

    OK = "ok"
    ENOSPC = "ENOSPC"
    EPERM = "EPERM"
    EINVAL = "EINVAL"


class Gpu(StrEnum):
    """Which machine of gpus.py a host looks like."""

    NONE = "none"
    NODES = "nodes"
    """NVIDIA's nodes without anything behind them: in a container, or after the driver has gone."""
    NODRIVER = "nodriver"
    """A GPU of NVIDIA's on the bus that no driver has."""
    NVIDIA = "nvidia"
    NVIDIA8 = "nvidia8"
    MIG = "mig"
    DXG = "dxg"
    AMD = "amd"
    INTEL = "intel"
    MIXED = "mixed"
    """One of each of these three."""
    JETSON = "jetson"


@dataclass(frozen=True)
class Disk:
    """A small tmpfs on /var/lib/fleetbox, so that "disk full" is quick to reach and harms nobody else."""

    size: str = "24m"
    inodes: int = 512

    def __post_init__(self) -> None:
        if not SIZE.fullmatch(self.size) or self.inodes < 1:
            raise SpecInvalid(f"disk {self.size}/{self.inodes}: expected SIZE/INODES, for example 24m/512")


@dataclass(frozen=True)
class HostSpec:
    """One host; `groups` and `variables` only reach the inventory, never the host itself."""

    name: str
    kind: Kind = Kind.NAMESPACE
    suite: Suite = Suite.BOOKWORM
    hooks: frozenset[Hook] = frozenset()
    userns: UserNamespaces = UserNamespaces.OK
    gpu: Gpu = Gpu.NONE
    disk: Disk | None = None
    sysctls: dict[str, str] = field(default_factory=dict)
    """Kernel settings from the first moment on, for a host with a kernel of its own."""
    apparmor: str | None = None
    """A file of tests/support/hosts/apparmor that such a kernel loads before anybody logs in."""
    boot: tuple[str, ...] = ()
    """More words for the command line of such a kernel: `lsm=apparmor` leaves Landlock out."""
    groups: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SpecInvalid(f"host name {self.name!r}: expected {NAME.pattern}")
        if {Hook.WSL1, Hook.WSL2} <= self.hooks:
            raise SpecInvalid(f"host {self.name}: wsl1 and wsl2 exclude each other")
        if reason := _unable(self):
            raise SpecInvalid(f"host {self.name}: {reason}")

    @classmethod
    def of(cls, name: str, **given: Any) -> HostSpec:
        """A spec from plain strings: `HostSpec.of("web", suite="trixie", hooks=["wsl2"], disk="24m/512")`."""
        unknown = sorted(given.keys() - {one.name for one in fields(cls)})
        if unknown:
            raise SpecInvalid(f"host {name}: unknown option {', '.join(unknown)}")
        converted: dict[str, Any] = {key: _converted(key, value) for key, value in given.items()}
        return cls(name, **converted)

    @classmethod
    def parse(cls, text: str) -> HostSpec:
        """A spec from one command-line word: `NAME[=SUITE][,HOOK][,kind=…][,gpu=…][,userns=…]…`."""
        head, *options = text.split(",")
        name, _, suite = head.partition("=")
        given: dict[str, Any] = {"suite": suite} if suite else {}
        hooks, groups, boot, sysctls = [], [], [], {}
        for option in options:
            key, assigned, value = option.partition("=")
            if not assigned:
                hooks.append(option)
            elif key == "group":
                groups.append(value)
            elif key == "boot":
                boot.append(value)
            elif key == "sysctl":
                setting, _, wanted = value.partition("=")
                sysctls[setting] = wanted
            else:
                given[key] = value
        return cls.of(name, hooks=hooks, groups=groups, boot=boot, sysctls=sysctls, **given)

    @property
    def apparmor_profile(self) -> Path:
        return Path(__file__).parent / "apparmor" / str(self.apparmor)

    def as_json(self) -> dict[str, Any]:
        disk = f"{self.disk.size}/{self.disk.inodes}" if self.disk else None
        plain = {
            key: value for key, value in vars(self).items() if key not in {"hooks", "groups", "boot", "disk"}
        }
        lists = {"hooks": sorted(self.hooks), "groups": list(self.groups), "boot": list(self.boot)}
        return plain | lists | {"disk": disk}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> HostSpec:
        return cls.of(**data)


def _unable(spec: HostSpec) -> str | None:
    """What this kind of host cannot do, in a sentence."""
    if not spec.kind.own_kernel:
        return _needs_own_kernel(spec)
    if spec.hooks or spec.gpu is not Gpu.NONE:
        return f"hooks and GPUs are bound over this machine's kernel; kind={spec.kind} has its own"
    if spec.apparmor and not spec.apparmor_profile.is_file():
        return f"tests/support/hosts/apparmor has no profile {spec.apparmor}"
    if spec.disk:
        return f"the small disk is a tmpfs, and what kind={spec.kind} is for must outlast a reboot"
    if spec.userns is UserNamespaces.EINVAL:
        return f"kind={spec.kind} cannot lack user namespaces; userns=EPERM or ENOSPC it refuses for real"
    return None


def _needs_own_kernel(spec: HostSpec) -> str | None:
    if spec.sysctls or spec.boot or spec.apparmor:
        return "the kernel and its settings are this machine's own here; kind=uml has one to itself"
    return None


def _disk(value: object) -> Disk | None:
    if not isinstance(value, str):
        return None
    size, _, inodes = value.partition("/")
    return Disk(size, int(inodes) if inodes else Disk.inodes)


_CONVERTERS: dict[str, Callable[[Any], object]] = {
    "kind": Kind,
    "suite": Suite,
    "hooks": lambda value: frozenset(map(Hook, value)),
    "userns": UserNamespaces,
    "gpu": Gpu,
    "disk": _disk,
    "groups": tuple,
    "sysctls": dict,
    "boot": tuple,
    "apparmor": lambda value: value,
    "variables": dict,
}


def _converted(key: str, value: object) -> object:
    try:
        return _CONVERTERS[key](value)
    except ValueError as error:
        raise SpecInvalid(f"{key}: {error}") from error
