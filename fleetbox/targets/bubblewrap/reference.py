"""docs/seccomp.md: what the filters refuse and why, from the data that they are made of."""

from collections.abc import Iterable, Iterator, Sequence

from fleetbox.targets.bubblewrap import syscalls
from fleetbox.targets.bubblewrap.syscalls import Group

_HEAD = """\
# What the seccomp filter refuses

Generated from `fleetbox/targets/bubblewrap/syscalls.py` by `make generate`; do not edit.
One filter for each architecture and each way to treat AF_UNIX, and with `filesystem.allow_host_mounts` one
for a sandbox without bubblewrap; everything that is not listed is allowed.
A refused call returns EPERM, unless another answer is given below. Only the low 32 bits of an argument are
compared, as the kernel reads them.

## By argument

| call | refused | answer |
|---|---|---|
| another architecture's calls (`int 0x80`) | every one: a program that cannot even exit would spin | killed |
| x32 numbers | every one | ENOSYS |
| `clone3` | always, unless sandboxes may nest: its flags lie in memory; libc falls back to `clone` | ENOSYS |
| `clone` | with a flag for a new namespace, unless sandboxes may nest | EPERM |
| `ioctl` | `TIOCSTI`, `TIOCLINUX`: both type into the terminal | EPERM |
| `socket` | all but AF_INET, AF_INET6, NETLINK_ROUTE, and AF_UNIX where it is allowed | EPERM |
| `socket` | AF_INET with SOCK_PACKET, the old name of AF_PACKET | EPERM |
| `socketpair` | all but AF_UNIX; without it also datagram pairs, whose ends can name any socket | EPERM |
| {modes}, and {opens} that create | the set-user-id bit, unless sandboxes may nest: whoever starts a \
program with it is this account | EPERM |
| `openat2` | always, unless sandboxes may nest: its mode lies in memory; programs fall back to `openat` \
| ENOSYS |
| `memfd_create` | with `process.allowed_binaries`, unless it is sealed against execution | ENOSYS |
| `ioctl` | without bubblewrap: all requests but those of terminals and sockets | ENOTTY |
| `access`, `faccessat`, `faccessat2` | without bubblewrap: whether a file may be written | EROFS |
| {of_a_process} | without bubblewrap: about any process but the caller itself | EPERM |
| `prlimit64` | with `process.allow_host_pids`: the same; it would end one by a limit on time | EPERM |
"""


def markdown() -> str:
    modes = _names([*syscalls.SET_MODE[1], *syscalls.SET_MODE[2]])
    of_a_process = _names([*syscalls.OF_A_PROCESS, "setpriority", "ioprio_set"])
    head = _HEAD.format(modes=modes, opens=_names(["open", "openat"]), of_a_process=of_a_process)
    return head + "".join(f"{line}\n" for line in _sections())


def _sections() -> Iterator[str]:
    yield from _table("Always", syscalls.ALWAYS)
    yield from _table("Unless `process.nested_sandboxes` is true", syscalls.UNLESS_NESTED)
    yield from _table("Without bubblewrap: EROFS", (syscalls.CHANGING,))
    yield from _table("Without bubblewrap: EOPNOTSUPP", (syscalls.ATTRIBUTES,))
    yield from _table("Without bubblewrap: ENOSYS", syscalls.SHARED)
    yield from _table("Left alone on purpose", syscalls.LEFT_ALONE)


def _table(title: str, groups: Sequence[Group]) -> Iterator[str]:
    yield from ("", f"## {title}", "", "| calls | why |", "|---|---|")
    for group in groups:
        yield f"| {_names(group.calls)} | {group.reason} |"


def _names(calls: Iterable[str]) -> str:
    return ", ".join(f"`{call}`" for call in calls)
