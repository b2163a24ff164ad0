"""How far each field of a policy is enforced, per platform: data, and the refusal that follows from it.

A row with a value is about that value, a row without about every other one. What a policy writes down, or
sets to other than its default, is refused at compile time unless it is enforced, or enforced in part with
a note that says which part. docs/parity.md is generated from here (`make generate`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel

from fleetbox.policy import ResolvedPolicy
from fleetbox.policy.model import Body, Landlock
from fleetbox.targets.interface import Refusal, UnsupportedByTarget


class State(StrEnum):
    """How far a field is enforced."""

    ENFORCED = "enforced"
    PARTIAL = "partial"
    IMPOSSIBLE = "impossible"
    NOT_BUILT = "not_built"


class Platform(StrEnum):
    """What a target compiles for."""

    LINUX = "linux"
    MACOS = "macos"


@dataclass(frozen=True)
class Row:
    """One field, or one value of it. `note` is about Linux until macOS is built."""

    field: str
    linux: State
    note: str
    value: str | None = None
    macos: State = State.NOT_BUILT

    def on(self, platform: Platform) -> State:
        return self.linux if platform is Platform.LINUX else self.macos


_ENFORCED, _PARTIAL, _IMPOSSIBLE, _NOT_BUILT = State

PARITY: tuple[Row, ...] = (
    Row("mode", _ENFORCED, "by the mounts of the sandbox", "read-only"),
    Row("mode", _ENFORCED, "by the mounts of the sandbox", "workspace-write"),
    Row("mode", _ENFORCED, "no sandbox: nothing is enforced, and every place says so", "full-access"),
    Row(
        "filesystem.root",
        _PARTIAL,
        "read-only bind of the host, or of a short list; what the host mounts later, on a shared "
        "mount, appears inside with its own mode",
    ),
    Row("filesystem.workspace", _ENFORCED, "bind mount"),
    Row("filesystem.tmp", _ENFORCED, "a tmpfs, or the host's directory"),
    Row(
        "filesystem.rules",
        _PARTIAL,
        "bind mounts and masks; a pattern covers what exists at launch, not files that appear later; a "
        "directory that leads to a denied or read-only path cannot be renamed, and is a mount of its own: "
        "moving a file out of it copies the file; a denied file is open again once the host replaces it by a "
        "rename, and one that is made after the launch outside writable directories is open from the start: "
        "fleetbox-run says either on stderr",
    ),
    Row(
        "filesystem.protect",
        _PARTIAL,
        "read-only mounts; a process outside the sandbox can detach one by renaming the name on the host; "
        "below the top of a writable root, submodules and repositories that a bounded search finds at launch "
        "(256 directories, four levels) are protected, not those that lie deeper or are made later",
    ),
    Row(
        "filesystem.unprotect",
        _PARTIAL,
        "hooks and settings in .git stay read-only, and .git cannot be replaced; but a workload that may "
        "write there can add a commondir file or a submodule, which lead the git outside to settings of its "
        "own making",
    ),
    Row("network.mode", _ENFORCED, "an empty network namespace", "none"),
    Row("network.mode", _NOT_BUILT, "the egress proxy is not built", "proxy"),
    Row("network.mode", _ENFORCED, "the host's network, unrestricted", "host"),
    Row("network.outbound", _NOT_BUILT, "the egress proxy is not built"),
    Row(
        "process.allowed_binaries",
        _PARTIAL,
        "Landlock, refused without it: only these files are executed by the kernel. A listed interpreter "
        "runs any script, and the loader of a listed program any other when it is started as a program "
        "itself; Linux before 5.19 then refuses to move files between directories",
    ),
    Row("process.nested_sandboxes", _ENFORCED, "seccomp, and bubblewrap's --disable-userns where it has it"),
    Row("process.unix_sockets", _PARTIAL, "as none without a GPU, as private with one", "auto"),
    Row("process.unix_sockets", _ENFORCED, "seccomp", "none"),
    Row(
        "process.unix_sockets",
        _PARTIAL,
        "sockets that the host has at launch are masked; outside the masked directories one can be reached "
        "that appears later, or that was moved to where it is not searched for",
        "private",
    ),
    Row(
        "process.allow_host_pids",
        _ENFORCED,
        "a PID namespace, unless no fresh /proc can be mounted; then host processes are seen, and with "
        "Landlock of Linux 6.12 none can be signalled",
    ),
    Row(
        "process.limits.memory",
        _PARTIAL,
        "a cgroup of the launch, where the user has one delegated (a systemd user session); elsewhere a "
        "limit on the data of each process, and the launcher says so",
    ),
    Row(
        "process.limits.pids",
        _PARTIAL,
        "a cgroup of the launch, where the user has one delegated; elsewhere a limit of the user in the "
        "sandbox, with which Linux before 5.14 counts the user's other processes as well",
    ),
    Row("process.limits.wall", _ENFORCED, "the inner stage's clock: SIGTERM, and SIGKILL 5 seconds later"),
    Row("devices.gpu.mode", _ENFORCED, "device nodes bound at launch, or refused"),
    Row("devices.gpu.vendors", _ENFORCED, "the nodes of CUDA", "nvidia"),
    Row("devices.gpu.vendors", _ENFORCED, "/dev/dxg and its libraries", "wsl"),
    Row("devices.gpu.vendors", _NOT_BUILT, "detection of AMD GPUs is not built", "amd"),
    Row("devices.gpu.vendors", _NOT_BUILT, "detection of Intel GPUs is not built", "intel"),
    Row("devices.gpu.vendors", _IMPOSSIBLE, "no Apple GPU on Linux", "apple"),
    Row("devices.gpu.select", _ENFORCED, "every GPU found", "all"),
    Row("devices.gpu.select", _NOT_BUILT, "selecting single GPUs is not built"),
    Row("devices.gpu.profile", _ENFORCED, "the nodes that compute needs", "compute"),
    Row("devices.gpu.profile", _NOT_BUILT, "render and display nodes are not built", "graphics"),
    Row("devices.allow", _ENFORCED, "device bind of each node"),
    Row("environment.pass", _ENFORCED, "the launcher builds the environment"),
    Row("environment.set", _ENFORCED, "the launcher builds the environment"),
    Row("landlock", _ENFORCED, "bubblewrap alone", "off"),
    Row(
        "landlock",
        _ENFORCED,
        "a second layer where the kernel has it: writes from Linux 5.19, unless sandboxes may nest; abstract "
        "sockets and signals from 6.12",
        "best-effort",
    ),
    Row(
        "landlock",
        _ENFORCED,
        "refused where the kernel has no Landlock (before 5.13, or left out of lsm=); --explain says what an "
        "older one lacks",
        "required",
    ),
)


def refuse_unenforced(policy: ResolvedPolicy, platform: Platform, target: str) -> None:
    """Raises UnsupportedByTarget naming every field and value at once."""
    refusals = [*_contradictions(policy), *_unenforced(policy, platform)]
    if refusals:
        raise UnsupportedByTarget(target, refusals)


def _unenforced(policy: ResolvedPolicy, platform: Platform) -> Iterator[Refusal]:
    for field in dict.fromkeys(row.field for row in PARITY):
        for value in values(policy, field) if _is_asked_for(policy, field) else ():
            row = row_of(field, value)
            if row.on(platform) in (State.IMPOSSIBLE, State.NOT_BUILT):
                yield Refusal(field, value, policy.origin(field), row.note)


def _contradictions(policy: ResolvedPolicy) -> Iterator[Refusal]:
    """Fields that Landlock cannot enforce together; about Linux, the one platform that has it."""
    listed = policy.process.allowed_binaries is not None
    required = policy.landlock is Landlock.REQUIRED
    if policy.process.nested_sandboxes and (listed or required):
        other = "process.allowed_binaries" if listed else "landlock: required"
        reason = f"a process under Landlock cannot mount, so not beside {other}"
        origin = policy.origin("process.nested_sandboxes")
        yield Refusal("process.nested_sandboxes", "true", origin, reason)
    if listed and policy.landlock is Landlock.OFF:
        origin = policy.origin("landlock")
        yield Refusal("landlock", "off", origin, "process.allowed_binaries is enforced by Landlock")


def row_of(field: str, value: str) -> Row:
    """The row about this value. Raises KeyError for a field without one: every field must have a row."""
    rows = {row.value: row for row in PARITY if row.field == field}
    return rows[value] if value in rows else rows[None]


def values(policy: Body, field: str) -> tuple[str, ...]:
    """A field's value as words: one, or one for each entry of a list; none where it is left open."""
    found = _attribute(policy, field)
    if found is None:
        return ()
    entries = found if isinstance(found, tuple | list) else (found,)
    return tuple(_word(entry) for entry in entries)


def _is_asked_for(policy: ResolvedPolicy, field: str) -> bool:
    """Written by an author; or, so that nothing can slip past `explicit`, other than the default."""
    written = any(name == field or field.startswith(f"{name}.") for name in policy.explicit)
    return written or _attribute(policy, field) != _attribute(Body(), field)


def _attribute(policy: Body, field: str) -> object:
    found: object = policy
    for name in field.split("."):
        found = getattr(found, "pass_" if name == "pass" else name)
    return found


def _word(entry: object) -> str:
    return entry.model_dump_json(exclude_defaults=True) if isinstance(entry, BaseModel) else str(entry)


def markdown() -> str:
    """docs/parity.md."""
    return "".join(f"{line}\n" for line in _markdown_lines())


def _markdown_lines() -> Iterator[str]:
    yield "# Parity: how far each field is enforced"
    yield ""
    yield "Generated from `fleetbox/targets/parity.py` by `make generate`; do not edit."
    yield "A policy that writes a field, or a value of it, that is `impossible` or `not_built` is refused"
    yield "when it is compiled for that platform; with `partial` the note says what is not covered."
    yield ""
    yield "| field | value | Linux | macOS | note |"
    yield "|---|---|---|---|---|"
    for row in PARITY:
        value = f"`{row.value}`" if row.value else ""
        yield f"| `{row.field}` | {value} | {row.linux} | {row.macos} | {row.note} |"
