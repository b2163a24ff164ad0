"""Errors that end a command: one class per exit code, each with a problem and a hint.

The exit codes are the contract with scripts and CI (docs/exit-codes.md); a subclass exists only where
somebody reacts differently. Inside the package raise these; only `cli` turns them into text and a code.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ended with. When several apply, `worst` decides which is shown."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    POLICY_INVALID = 3
    UNREACHABLE = 4
    APPLY_FAILED = 5
    TRUST_REFUSED = 6
    SUPERSEDED = 7
    DRIFT = 20
    NONCONFORMANT = 100
    COVERAGE_TOO_LOW = 101
    INTERRUPTED = 130


# The order of distribution.md: what asks for the most urgent reaction comes first.
_SEVERITY = (
    ExitCode.INTERRUPTED,
    ExitCode.INTERNAL,
    ExitCode.USAGE,
    ExitCode.TRUST_REFUSED,
    ExitCode.POLICY_INVALID,
    ExitCode.APPLY_FAILED,
    ExitCode.SUPERSEDED,
    ExitCode.NONCONFORMANT,
    ExitCode.UNREACHABLE,
    ExitCode.COVERAGE_TOO_LOW,
    ExitCode.DRIFT,
    ExitCode.OK,
)


def worst(codes: "list[ExitCode]") -> ExitCode:
    """The code to exit with when several outcomes apply; `OK` for none."""
    return min(codes, key=_SEVERITY.index, default=ExitCode.OK)


class FleetboxError(Exception):
    """A problem a person can act on: one line of problem, one line of hint."""

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FleetboxError):
    """The command line, an inventory or a setting names something that is not there."""

    exit_code = ExitCode.USAGE


class PolicyError(FleetboxError):
    """A policy is invalid, or a target cannot enforce it."""

    exit_code = ExitCode.POLICY_INVALID


class Unreachable(FleetboxError):
    """A host could not be reached; it was not changed."""

    exit_code = ExitCode.UNREACHABLE


class ApplyFailed(FleetboxError):
    """A host could be reached and refused or failed to take what was sent."""

    exit_code = ExitCode.APPLY_FAILED


class TrustRefused(FleetboxError):
    """A host key, digest or signature is not what it must be."""

    exit_code = ExitCode.TRUST_REFUSED


class Superseded(FleetboxError):
    """A later command took the place of this one."""

    exit_code = ExitCode.SUPERSEDED
