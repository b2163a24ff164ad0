"""Which rule of the policy decided about a refused call, from `fleetbox-run --explain` and what strace saw.

A refusal is the policy's only if the policy explains it. What the same account could not have done outside
the sandbox either is marked, since no rule would change it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple, Optional, Tuple

from fleetbox.hostside import calls
from fleetbox.hostside.strace import Failure

_LINE = re.compile(r"(write|read|none|private|absent|device|link) +(/.*)  \((.*)\)")
_SETTING = re.compile(r"(policy|network|alone) +(.*)  \(.*\)")
_PROGRAM = re.compile(r"program +(/.*)")
_UNREACHABLE = {"ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EADDRNOTAVAIL", "ENETDOWN"}
_OWN_FAMILIES = {"AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"}
_MASKED = {"EACCES", "EPERM", "ENOENT", "EEXIST", "EROFS", "ENOTDIR", "EXDEV", "EBUSY"}
_SOCKETS = {"socket", "socketpair", "connect", "bind", "sendto", "sendmsg", "sendmmsg"}


class Entry(NamedTuple):
    """One line of `--explain` about a path."""

    access: str
    path: str
    rule: str


class Launch(NamedTuple):
    """What one launch enforces. `entries` are in the order in which the launcher lists them.

    `alone`: without bubblewrap, so that no directory above a closed place can be listed.
    """

    policy: str
    network: str
    entries: tuple[Entry, ...]
    programs: tuple[str, ...]
    alone: bool = False

    def deciding(self, path: str) -> Entry:
        """The longest place that holds the path; of equal ones the last."""
        holding = [entry for entry in self.entries if _holds(entry.path, path)]
        return max(reversed(holding), key=lambda entry: len(entry.path), default=_NOWHERE)


class Outside(NamedTuple):
    """What the account can do with a path without a sandbox; for a missing one, `write` is its parent's."""

    exists: bool
    read: bool
    write: bool
    execute: bool


class Verdict(NamedTuple):
    """Why a call failed: `rule` decided, `means` in words; `outside`: it fails without a sandbox as well."""

    subject: str
    rule: str
    means: str
    outside: bool = False


Decision = Tuple[str, str, bool]
_ALONE = "filesystem.allow_host_mounts"
_NOWHERE = Entry("read", "/", "filesystem.root")


def parse(explained: str) -> Launch:
    """What `fleetbox-run --explain` printed."""
    settings: dict[str, str] = {}
    entries = []
    programs = []
    for line in explained.split("\n"):  # a name may hold what else ends a line elsewhere
        setting, entry, program = _SETTING.fullmatch(line), _LINE.fullmatch(line), _PROGRAM.fullmatch(line)
        if setting:
            settings.setdefault(setting[1], setting[2])
        elif entry:
            entries.append(Entry(entry[1], unescaped(entry[2]), entry[3]))
        elif program:
            programs.append(unescaped(program[1]))
    return Launch(
        settings.get("policy", ""),
        settings.get("network", ""),
        tuple(entries),
        tuple(programs),
        "alone" in settings,
    )


def unescaped(path: str) -> str:
    """A path as the launcher prints it: bytes of control characters and backslashes as three octal digits."""
    plain = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 0xFF]), os.fsencode(path))
    return os.fsdecode(plain)


def judge(failure: Failure, launch: Launch, outside: Mapping[str, Outside]) -> Optional[Verdict]:
    """The verdict, or None where the policy does not explain the failure."""
    return _of_filter(failure, launch) or _of_network(failure, launch) or _of_paths(failure, launch, outside)


def _of_filter(failure: Failure, launch: Launch) -> Optional[Verdict]:
    subject = " ".join(filter(None, [failure.call, failure.detail]))
    rule = _of_socket(failure) if failure.call in _SOCKETS else _of_call(failure, launch)
    return Verdict(subject, *rule) if rule else None


def _of_socket(failure: Failure) -> Optional[tuple[str, str]]:
    if failure.detail == "an abstract socket":
        return "always", "abstract sockets of the host are out of reach"
    if failure.call not in ("socket", "socketpair") or failure.errno not in ("EPERM", "EACCES"):
        return None
    if failure.detail == "AF_UNIX":
        return "process.unix_sockets", "only socketpairs; `private` allows sockets of one's own"
    if failure.detail in _OWN_FAMILIES:
        return "always", "no capabilities in a sandbox, so no raw sockets"
    return "always", "no sockets of this family in a sandbox"


def _of_call(failure: Failure, launch: Launch) -> Optional[tuple[str, str]]:
    if launch.alone and failure.call in calls.ALONE and failure.errno in ("ENOSYS", "EOPNOTSUPP"):
        return _ALONE, "not there in a sandbox without bubblewrap"
    if failure.errno != "EPERM":
        return None
    if failure.call in calls.UNLESS_NESTED or failure.detail.startswith("CLONE_NEW"):
        return "process.nested_sandboxes", "no namespaces and no mounts inside; `true` allows them"
    if failure.detail == "the set-user-id bit":
        return "process.nested_sandboxes", "no set-user-id programs come out of a sandbox; `true` allows them"
    if failure.call in calls.ALWAYS or failure.detail in ("TIOCSTI", "TIOCLINUX"):
        return "always", "the seccomp filter refuses this call under every policy"
    return None


def _of_network(failure: Failure, launch: Launch) -> Optional[Verdict]:
    if not failure.address or failure.errno not in _UNREACHABLE or launch.network != "loopback only":
        return None
    means = "loopback only, and that of the sandbox: services of the host are not on it"
    return Verdict(f"{failure.call} {failure.address}", "network.mode", means)


def _of_paths(failure: Failure, launch: Launch, outside: Mapping[str, Outside]) -> Optional[Verdict]:
    if failure.errno not in _MASKED:
        return None
    found = [
        _of_path(failure, path, launch, outside.get(path)) for path in failure.paths if path.startswith("/")
    ]
    return next(filter(None, found), None)


def _of_path(failure: Failure, path: str, launch: Launch, outside: Optional[Outside]) -> Optional[Verdict]:
    there = outside or Outside(exists=False, read=False, write=False, execute=False)
    entry = launch.deciding(path)
    if failure.errno in ("EBUSY", "EXDEV"):
        found = _of_mountpoint(failure, path, entry, launch)
    elif failure.call in ("execve", "execveat") and failure.errno == "EACCES" and entry.access != "none":
        listed = launch.programs and there.execute
        found = ("process.allowed_binaries", "this program is not among them", False) if listed else None
    elif launch.alone and failure.errno == "EACCES" and _is_above_closed(path, launch):
        found = (_ALONE, "without bubblewrap no directory above a closed place can be listed", not there.read)
    else:
        found = _of_entry(failure.errno, path, entry, there)
    return Verdict(f"{failure.call} {path}", *found) if found else None


def _of_entry(errno: str, path: str, entry: Entry, there: Outside) -> Optional[Decision]:
    """What the access that an entry gives explains: rule, meaning, and whether it is so outside as well."""
    closed = entry.access in ("none", "private", "absent")
    explained: dict[str, Optional[Decision]] = {
        "EROFS": (_named(entry), "read-only in the sandbox", not there.write)
        if entry.access != "write"
        else None,
        "ENOENT": (_named(entry), "hidden in the sandbox", False) if closed and there.exists else None,
        "EEXIST": (_named(entry), "kept from being made", False)
        if entry.access == "absent" and path == entry.path
        else None,
    }
    if errno in explained:
        return explained[errno]
    if entry.access == "none":
        return _named(entry), "no access", there.exists and not there.read
    if entry.access in ("read", "absent") and there.write and errno == "EACCES":
        return _named(entry), "read-only in the sandbox", False
    return None


def _is_above_closed(path: str, launch: Launch) -> bool:
    closed = (entry.path for entry in launch.entries if entry.access == "none")
    return any(place != path and _holds(path, place) for place in closed)


def _of_mountpoint(failure: Failure, path: str, entry: Entry, launch: Launch) -> Optional[Decision]:
    """A place with a rule of its own is a mount: it cannot be renamed, removed or moved out of."""
    below = next((one for one in launch.entries if _holds(path, one.path) and one.path != "/"), None)
    if failure.errno == "EBUSY" and below:
        return _named(below), "a place with a rule of its own stays where it is", False
    if failure.errno == "EXDEV" and failure.call in ("rename", "renameat", "renameat2", "link", "linkat"):
        return _named(entry), "moves and hard links end where another rule begins", False
    return None


def _named(entry: Entry) -> str:
    return f"{entry.access} {entry.path} ({entry.rule})"


def _holds(place: str, path: str) -> bool:
    return place in ("/", path) or path.startswith(f"{place}/")
