"""The operations of a launch plan, in the order of docs/launch-plan.md."""

from dataclasses import dataclass
from typing import ClassVar

from fleetbox.targets.bubblewrap.operation import (
    Operation,
    Word,
    is_device,
    is_normal,
    is_path,
    matches,
    one_of,
)

_name = matches(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_variable = matches(r"[A-Za-z_][A-Za-z0-9_]*")


def _program_name(value: str) -> bool:
    return "/" not in value and value[:1] != "$" and is_normal(value)


@dataclass(frozen=True)
class Policy(Operation):
    name: str
    digest: str
    op = "policy"
    checks = (_name, matches(r"sha256:[0-9a-f]{64}"))

    def describe(self) -> str:
        return f"policy {self.name}, {self.digest}"


class Mode(Word):
    op = "mode"
    words: ClassVar = {
        "read-only": "nothing is writable but a private temporary directory",
        "workspace-write": "the workspace and what write rules name are writable",
        "full-access": "NO SANDBOX: the command runs as it would without fleetbox",
    }


class Root(Word):
    op = "root"
    words: ClassVar = {
        "host": "the whole file system is visible, read-only",
        "minimal": "only what programs need to start is visible, read-only",
    }


class Workspace(Word):
    op = "workspace"
    words: ClassVar = {"write": "the workspace is writable", "read": "the workspace is read-only"}


class Tmp(Word):
    op = "tmp"
    words: ClassVar = {
        "private": "the temporary directory is private and empty",
        "host": "the temporary directory is the host's, writable",
        "none": "there is no temporary directory",
    }


class Network(Word):
    op = "network"
    words: ClassVar = {"none": "no network but loopback", "host": "THE HOST'S NETWORK, unrestricted"}


class Nested(Word):
    op = "nested"
    words: ClassVar = {"yes": "user namespaces may be made inside", "no": "no user namespaces inside"}


class HostPids(Word):
    op = "host-pids"
    words: ClassVar = {
        "yes": "host processes are visible where no fresh /proc can be mounted",
        "no": "host processes are invisible",
    }


class UnixSockets(Word):
    op = "unix-sockets"
    words: ClassVar = {
        "auto": "AF_UNIX sockets only with a GPU, never to a host socket",
        "none": "no AF_UNIX sockets but connected pairs",
        "private": "AF_UNIX sockets, never to a host socket",
    }


class Gpu(Word):
    op = "gpu"
    words: ClassVar = {
        "none": "no GPU",
        "auto": "the GPU's device nodes, if this machine has one",
        "required": "the GPU's device nodes; without a usable GPU nothing starts",
    }


class Landlock(Word):
    op = "landlock"
    words: ClassVar = {
        "off": "no Landlock: the mounts alone keep files as they are",
        "best-effort": "Landlock as a second layer, where this kernel has it",
        "required": "Landlock as a second layer; without it nothing starts",
    }


@dataclass(frozen=True)
class GpuVendor(Operation):
    vendor: str
    op = "gpu-vendor"
    checks = (one_of("nvidia", "wsl", "amd", "intel", "jetson", "cdi"),)

    def describe(self) -> str:
        return f"GPU looked for: {self.vendor}"


@dataclass(frozen=True)
class GpuSelect(Operation):
    """Without one, every GPU of the first vendor found."""

    which: str
    op = "gpu-select"
    checks = (matches(r"[A-Za-z0-9._:=/-]{1,128}"),)

    def describe(self) -> str:
        return f"GPU chosen: {self.which}"


@dataclass(frozen=True)
class GpuProfile(Operation):
    profile: str
    op = "gpu-profile"
    checks = (one_of("compute", "graphics"),)

    def describe(self) -> str:
        return f"GPU nodes for {self.profile}"


@dataclass(frozen=True)
class GpuExclusive(Operation):
    yes: str
    op = "gpu-exclusive"
    checks = (one_of("yes"),)

    def describe(self) -> str:
        return "no other sandbox of this machine has the GPU at the same time"


@dataclass(frozen=True)
class Device(Operation):
    path: str
    op = "device"
    checks = (is_device,)

    def describe(self) -> str:
        return f"device node {self.path}"


@dataclass(frozen=True)
class Rule(Operation):
    access: str
    path: str
    op = "rule"
    checks = (one_of("write", "read", "none"), is_path)

    def describe(self) -> str:
        return f"{self.access:5} {self.path}"


@dataclass(frozen=True)
class Glob(Operation):
    """Access none for what matches when the sandbox starts."""

    base: str
    pattern: str
    op = "glob"
    checks = (is_path, is_normal)

    def describe(self) -> str:
        return f"none  {self.base.rstrip('/')}/{self.pattern} (what matches at launch)"


@dataclass(frozen=True)
class Protect(Operation):
    path: str
    op = "protect"
    checks = (is_normal,)

    def describe(self) -> str:
        return f"read  {self.path} below every writable directory"


@dataclass(frozen=True)
class ProtectPart(Operation):
    """`name` is unprotected, `name/part` is not; where `name` is missing, it cannot be made."""

    name: str
    part: str
    op = "protect-part"
    checks = (is_normal, is_normal)

    def describe(self) -> str:
        return f"read  {self.name}/{self.part} below every writable directory"


@dataclass(frozen=True)
class Mask(Operation):
    path: str
    op = "mask"
    checks = (is_path,)

    def describe(self) -> str:
        return f"none  {self.path} (always)"


@dataclass(frozen=True)
class MaskWsl(Operation):
    path: str
    op = "mask-wsl"
    checks = (is_path,)

    def describe(self) -> str:
        return f"none  {self.path} (on WSL2)"


@dataclass(frozen=True)
class Keep(Operation):
    """What stays visible, read-only, although a mask covers it; a symbolic link by where it leads."""

    path: str
    op = "keep"
    checks = (is_path,)

    def describe(self) -> str:
        return f"read  {self.path} (if it exists)"


@dataclass(frozen=True)
class Minimal(Operation):
    """A part of the minimal root."""

    path: str
    op = "minimal"
    checks = (is_path,)

    def describe(self) -> str:
        return f"read  {self.path} (if it exists)"


@dataclass(frozen=True)
class EnvPass(Operation):
    pattern: str
    op = "env-pass"
    checks = (matches(r"[A-Za-z_][A-Za-z0-9_]*\*?"),)

    def describe(self) -> str:
        return f"environment: {self.pattern} is passed"


@dataclass(frozen=True)
class EnvSet(Operation):
    name: str
    value: str
    op = "env-set"
    checks = (_variable, lambda _: True)

    def describe(self) -> str:
        return f"environment: {self.name}={self.value!r}"


@dataclass(frozen=True)
class Seccomp(Operation):
    """`file` lies beside the plan."""

    arch: str
    variant: str
    file: str
    op = "seccomp"
    checks = (one_of("x86_64", "aarch64"), one_of("unix", "nounix", "alone"), _name)

    def describe(self) -> str:
        return f"seccomp filter {self.file} on {self.arch} ({self.variant})"


@dataclass(frozen=True)
class Program(Operation):
    """A name is looked for along PATH at launch. With one of these in a plan nothing else may be executed."""

    program: str
    op = "program"
    checks = (lambda value: _program_name(value) or is_path(value),)

    def describe(self) -> str:
        return f"may be executed: {self.program}"


@dataclass(frozen=True)
class Limit(Operation):
    """Bytes, a number of processes, or seconds."""

    name: str
    amount: str
    op = "limit"
    checks = (one_of("memory", "pids", "wall"), matches(r"[1-9][0-9]{0,17}"))

    def describe(self) -> str:
        unit = {"memory": "bytes of memory", "pids": "processes and threads", "wall": "seconds"}
        return f"limit: {self.amount} {unit[self.name]}"


# Each exactly once, in this order, before everything else.
HEAD = (Policy, Mode, Root, Workspace, Tmp, Network, Nested, HostPids, UnixSockets, Gpu, Landlock)
# Any number, in any order: the launcher sorts them.
REPEATED = (
    *(GpuVendor, GpuSelect, GpuProfile, GpuExclusive, Device, Rule, Glob, Protect, ProtectPart),
    *(Mask, MaskWsl, Keep, Minimal, EnvPass, EnvSet, Seccomp, Program, Limit),
)
