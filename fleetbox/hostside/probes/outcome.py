"""What an attempt came to, and how attempts become the verdict of a check. Pure: nothing here touches a host.

The rule of all negative checks is in `denied`: only a denial that can be attributed to the sandbox passes.
The same attempt must have worked outside, and an allowed twin inside; what is unknown is inconclusive,
never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

PASS = "pass"  # noqa: S105
FAIL = "fail"
ERROR = "error"
INCONCLUSIVE = "inconclusive"
NOT_APPLICABLE = "not_applicable"
NOT_RUN = "not_run"

SIGSYS = 31


class Attempt(NamedTuple):
    """One operation of `attempts.py` with its arguments."""

    operation: str
    arguments: dict[str, Any]

    def describe(self) -> str:
        """The operation and what it was aimed at, for people."""
        aim = next(iter(self.arguments.values()), "")
        return f"{self.operation} {aim}".strip() if not isinstance(aim, list) else self.operation


class Outcome(NamedTuple):
    """What one attempt came to; `errno` is a name such as EROFS, or "" when it worked or was killed."""

    ok: bool
    errno: str = ""
    value: str = ""
    signal: int = 0
    ms: int = 0

    def describe(self) -> str:
        """In two or three words."""
        if self.ok:
            return "worked"
        return self.errno or (f"killed by signal {self.signal}" if self.signal else "gave no answer")


class Control(NamedTuple):
    """Whether a control did what it had to, and what it was."""

    ok: bool
    detail: str


UNTRIED = Control(False, "not tried")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check, before its id and version are put to it."""

    status: str
    reason: str
    message: str
    expected: str = ""
    observed: dict[str, Any] = field(default_factory=dict)
    outside: Control = UNTRIED
    inside: Control = UNTRIED


class Tried(NamedTuple):
    """One target: what was tried, and what it came to on either side of the sandbox."""

    attempt: Attempt
    inside: Outcome
    outside: Outcome


def denied(  # noqa: PLR0911 - the rules in their order
    targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]], *, expected: str, needed: int
) -> Verdict:
    """Judge attempts that the sandbox must deny.

    The first `needed` targets must each have worked outside. Of the others those that did not are not
    counted (what an unprivileged user may do differs from host to host: perf events, a home directory,
    nodes of a device).
    """
    if not targets:
        return Verdict(ERROR, "nothing_to_try", "the check was asked without what it must try", expected)
    outside = _outside_control(targets, needed=needed)
    inside = _twin_control(twins)

    def verdict(status: str, reason: str, message: str, tried: Tried) -> Verdict:
        return Verdict(status, reason, message, expected, observation(tried), outside, inside)

    for tried in targets:
        if tried.inside.ok:
            found = f" ({tried.inside.value})" if tried.inside.value else ""
            return verdict(FAIL, "not_denied", f"{tried.attempt.describe()} worked inside{found}", tried)
        if _found_route(tried):
            return verdict(FAIL, "route_exists", "the connection was refused, so there is a route", tried)
    counted = [tried for tried in targets if tried.outside.ok]
    for tried in counted:
        if tried.inside.errno == "ETIMEDOUT":
            return verdict(INCONCLUSIVE, "timeout", f"{tried.attempt.describe()} timed out inside", tried)
        if not reason_of(tried):
            return _unexplained(tried, verdict)
    if not outside.ok:
        return verdict(INCONCLUSIVE, "control_failed", f"outside the sandbox: {outside.detail}", targets[0])
    if not inside.ok:
        return verdict(INCONCLUSIVE, "control_failed", f"allowed inside: {inside.detail}", targets[0])
    first = counted[0]
    said = f"{first.attempt.describe()}: {first.inside.describe()} inside, {first.outside.describe()} outside"
    rest = f", and {len(counted) - 1} more" if len(counted) > 1 else ""
    return verdict(PASS, reason_of(first), said + rest, first)


def _found_route(tried: Tried) -> bool:
    """A refused connection found somebody to refuse it. Our own listeners would have answered instead."""
    refused = tried.inside.errno == "ECONNREFUSED" and tried.attempt.operation == "reach_tcp"
    return refused and not tried.attempt.arguments.get("token")


def _unexplained(tried: Tried, verdict: Any) -> Verdict:
    what = f"{tried.attempt.describe()} {tried.inside.describe()} inside"
    if tried.inside.errno:
        result: Verdict = verdict(INCONCLUSIVE, "unexpected_errno", what, tried)
    else:
        result = verdict(ERROR, "probe_crash", what, tried)
    return result


def _outside_control(targets: Sequence[Tried], *, needed: int) -> Control:
    failed = [tried for tried in targets if not tried.outside.ok]
    if not failed:
        return Control(True, f"{len(targets)} of {len(targets)} attempts worked outside")
    worked = len(targets) - len(failed)
    first = f"{failed[0].attempt.describe()}: {failed[0].outside.describe()}"
    enough = worked > 0 and all(tried.outside.ok for tried in targets[:needed])
    return Control(enough, f"{worked} of {len(targets)} attempts worked outside ({first})")


def _twin_control(twins: Sequence[tuple[Attempt, Outcome]]) -> Control:
    for attempt, outcome in twins:
        if not outcome.ok:
            return Control(False, f"{attempt.describe()}: {outcome.describe()}")
    return Control(True, "; ".join(f"{attempt.describe()} worked" for attempt, _ in twins))


def allowed(targets: Sequence[Tried], *, expected: str) -> Verdict:
    """Judge attempts that must work inside; the outside control tells a strict sandbox from a broken host."""
    outside = _outside_control(targets, needed=len(targets))
    broken = next((tried for tried in targets if not tried.inside.ok), None)
    shown = observation(broken or targets[0])
    if broken is None:
        said = f"{targets[0].attempt.describe()} worked inside"
        return Verdict(PASS, "allowed", said, expected, shown, outside, Control(True, said))
    said = f"{broken.attempt.describe()}: {broken.inside.describe()} inside"
    inside = Control(False, said)
    if not broken.outside.ok:
        message = f"outside the sandbox: {outside.detail}"
        return Verdict(INCONCLUSIVE, "control_failed", message, expected, shown, outside, inside)
    if broken.inside.errno:
        return Verdict(FAIL, "denied", said, expected, shown, outside, inside)
    return Verdict(ERROR, "probe_crash", said, expected, shown, outside, inside)


_REASONS = {
    "EROFS": "denied_by_mount_ro",
    "EBUSY": "denied_by_mountpoint",
    "EXDEV": "denied_by_mountpoint",
    "ENOENT": "denied_by_absence",
    "ENODATA": "denied_by_absence",
    "ESRCH": "denied_by_absence",
    "EBADF": "denied_by_absence",
    "ENETUNREACH": "denied_by_netns",
    "EHOSTUNREACH": "denied_by_netns",
    "EADDRNOTAVAIL": "denied_by_netns",
    "ENOSPC": "denied_by_userns_limit",
    "EUSERS": "denied_by_userns_limit",
    "EACCES": "denied_by_mask",
    "EPERM": "denied_by_seccomp",
    "ENOSYS": "denied_by_seccomp",
}
_FILE_OPERATIONS = (
    "create", "edit", "read", "rename", "writable", "open_device", "make_device", "reopen_device",
)  # fmt: skip


def reason_of(tried: Tried) -> str:
    """The mechanism that an errno speaks for, "" for none that a sandbox denies with."""
    if tried.inside.signal == SIGSYS:
        return "denied_by_seccomp"
    if tried.inside.errno == "ECONNREFUSED":
        return "" if _found_route(tried) else "denied_by_absence"
    if tried.inside.errno == "EPERM" and tried.attempt.operation in _FILE_OPERATIONS:
        return "denied_by_mask"
    return _REASONS.get(tried.inside.errno, "")


def observation(tried: Tried) -> dict[str, Any]:
    """The `observed` object of a result."""
    seen: dict[str, Any] = {"op": tried.attempt.operation}
    if isinstance(path := tried.attempt.arguments.get("path"), str):
        seen["path"] = path
    if tried.inside.errno:
        seen["errno"] = tried.inside.errno
    if tried.inside.signal:
        seen["signal"] = tried.inside.signal
    return seen
