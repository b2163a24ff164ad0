"""The operations of a launch plan: values that know their name, their arguments and their words.

An argument that looks like a path may begin with a placeholder, which only the launcher fills in, since
only it knows who launches, and where. What these checks let through the launcher takes; it checks again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import ClassVar

from fleetbox.errors import PolicyError

PATH_LIMIT = 4095
PLACEHOLDERS = ("${WORKSPACE}", "${HOME}", "${TMPDIR}")

Check = Callable[[str], bool]


class PlanInvalid(PolicyError):
    """Bytes that are no launch plan, or a policy that does not fit into one."""


def _one_of(*words: str) -> Check:
    return lambda value: value in words


def _matches(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def _is_normal(path: str) -> bool:
    return len(path.encode()) <= PATH_LIMIT and not {"", ".", ".."} & set(path.split("/"))


def _path(value: str) -> bool:
    """Absolute, or a placeholder as the whole first component."""
    first, slash, rest = value.partition("/")
    if first and first not in PLACEHOLDERS:
        return False
    is_base = value == "/" or (bool(first) and not slash)
    return is_base or (len(value.encode()) <= PATH_LIMIT and _is_normal(rest))


def _device(value: str) -> bool:
    return value.startswith("/dev/") and _path(value)


_name = _matches(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_variable = _matches(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Operation:
    """One record. A subclass's fields are its arguments in order, with one check each."""

    op: ClassVar[str]
    checks: ClassVar[tuple[Check, ...]]

    def __post_init__(self) -> None:
        for argument, check in zip(self.arguments(), self.checks, strict=True):
            if "\0" in argument or not check(argument):
                raise PlanInvalid(f"{self.op}: {argument!r} cannot stand in a launch plan")

    def arguments(self) -> tuple[str, ...]:
        return astuple(self)

    def describe(self) -> str:
        """One line of words for a person."""
        raise NotImplementedError


@dataclass(frozen=True)
class Policy(Operation):
    name: str
    digest: str
    op = "policy"
    checks = (_name, _matches(r"sha256:[0-9a-f]{64}"))

    def describe(self) -> str:
        return f"policy {self.name}, {self.digest}"


@dataclass(frozen=True)
class _Word(Operation):
    """One word out of a few; `words` says what each means."""

    value: str
    words: ClassVar[Mapping[str, str]]

    def __init_subclass__(cls) -> None:
        cls.checks = (_one_of(*cls.words),)

    def describe(self) -> str:
        return self.words[self.value]


class Mode(_Word):
    op = "mode"
    words: ClassVar = {
        "read-only": "nothing is writable but a private temporary directory",
        "workspace-write": "the workspace and what write rules name are writable",
        "full-access": "NO SANDBOX: the command runs as it would without fleetbox",
    }


class Root(_Word):
    op = "root"
    words: ClassVar = {
        "host": "the whole file system is visible, read-only",
        "minimal": "only what programs need to start is visible, read-only",
    }


class Workspace(_Word):
    op = "workspace"
    words: ClassVar = {"write": "the workspace is writable", "read": "the workspace is read-only"}


class Tmp(_Word):
    op = "tmp"
    words: ClassVar = {
        "private": "the temporary directory is private and empty",
        "host": "the temporary directory is the host's, writable",
    }


class Network(_Word):
    op = "network"
    words: ClassVar = {"none": "no network but loopback", "host": "THE HOST'S NETWORK, unrestricted"}


class Nested(_Word):
    op = "nested"
    words: ClassVar = {"yes": "user namespaces may be made inside", "no": "no user namespaces inside"}


class HostPids(_Word):
    op = "host-pids"
    words: ClassVar = {
        "yes": "host processes are visible where no fresh /proc can be mounted",
        "no": "host processes are invisible",
    }


class UnixSockets(_Word):
    op = "unix-sockets"
    words: ClassVar = {
        "auto": "AF_UNIX sockets only with a GPU, never to a host socket",
        "none": "no AF_UNIX sockets but connected pairs",
        "private": "AF_UNIX sockets, never to a host socket",
    }


class Gpu(_Word):
    op = "gpu"
    words: ClassVar = {
        "none": "no GPU",
        "auto": "the GPU's device nodes, if this machine has one",
        "required": "the GPU's device nodes; without a usable GPU nothing starts",
    }


class Landlock(_Word):
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
    checks = (_one_of("nvidia", "wsl"),)

    def describe(self) -> str:
        return f"GPU looked for: {self.vendor}"


@dataclass(frozen=True)
class Device(Operation):
    path: str
    op = "device"
    checks = (_device,)

    def describe(self) -> str:
        return f"device node {self.path}"


@dataclass(frozen=True)
class Rule(Operation):
    access: str
    path: str
    op = "rule"
    checks = (_one_of("write", "read", "none"), _path)

    def describe(self) -> str:
        return f"{self.access:5} {self.path}"


@dataclass(frozen=True)
class Glob(Operation):
    """Access none for what matches when the sandbox starts."""

    base: str
    pattern: str
    op = "glob"
    checks = (_path, _is_normal)

    def describe(self) -> str:
        return f"none  {self.base.rstrip('/')}/{self.pattern} (what matches at launch)"


@dataclass(frozen=True)
class Protect(Operation):
    path: str
    op = "protect"
    checks = (_is_normal,)

    def describe(self) -> str:
        return f"read  {self.path} below every writable directory"


@dataclass(frozen=True)
class ProtectPart(Operation):
    """`name` is unprotected, `name/part` is not; where `name` is missing, it cannot be made."""

    name: str
    part: str
    op = "protect-part"
    checks = (_is_normal, _is_normal)

    def describe(self) -> str:
        return f"read  {self.name}/{self.part} below every writable directory"


@dataclass(frozen=True)
class Mask(Operation):
    path: str
    op = "mask"
    checks = (_path,)

    def describe(self) -> str:
        return f"none  {self.path} (always)"


@dataclass(frozen=True)
class MaskWsl(Operation):
    path: str
    op = "mask-wsl"
    checks = (_path,)

    def describe(self) -> str:
        return f"none  {self.path} (on WSL2)"


@dataclass(frozen=True)
class Keep(Operation):
    """What stays visible, read-only, although a mask covers it; a symbolic link by where it leads."""

    path: str
    op = "keep"
    checks = (_path,)

    def describe(self) -> str:
        return f"read  {self.path} (if it exists)"


@dataclass(frozen=True)
class Minimal(Operation):
    """A part of the minimal root."""

    path: str
    op = "minimal"
    checks = (_path,)

    def describe(self) -> str:
        return f"read  {self.path} (if it exists)"


@dataclass(frozen=True)
class EnvPass(Operation):
    pattern: str
    op = "env-pass"
    checks = (_matches(r"[A-Za-z_][A-Za-z0-9_]*\*?"),)

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
    checks = (_one_of("x86_64", "aarch64"), _one_of("unix", "nounix"), _name)

    def describe(self) -> str:
        return f"seccomp filter {self.file} on {self.arch} ({self.variant})"


def _program_name(value: str) -> bool:
    return "/" not in value and value[:1] != "$" and _is_normal(value)


@dataclass(frozen=True)
class Program(Operation):
    """A name is looked for along PATH at launch. With one of these in a plan nothing else may be executed."""

    program: str
    op = "program"
    checks = (lambda value: _program_name(value) or _path(value),)

    def describe(self) -> str:
        return f"may be executed: {self.program}"


@dataclass(frozen=True)
class Limit(Operation):
    """Bytes, a number of processes, or seconds."""

    name: str
    amount: str
    op = "limit"
    checks = (_one_of("memory", "pids", "wall"), _matches(r"[1-9][0-9]{0,17}"))

    def describe(self) -> str:
        unit = {"memory": "bytes of memory", "pids": "processes and threads", "wall": "seconds"}
        return f"limit: {self.amount} {unit[self.name]}"


# Each exactly once, in this order, before everything else.
HEAD = (Policy, Mode, Root, Workspace, Tmp, Network, Nested, HostPids, UnixSockets, Gpu, Landlock)
# Any number, in any order: the launcher sorts them.
REPEATED = (
    *(GpuVendor, Device, Rule, Glob, Protect, ProtectPart),
    *(Mask, MaskWsl, Keep, Minimal, EnvPass, EnvSet, Seccomp, Program, Limit),
)
