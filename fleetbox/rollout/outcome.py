"""How it ended on one host, and what that means for the exit code."""

from dataclasses import dataclass
from enum import StrEnum

from fleetbox.errors import ExitCode


class Outcome(StrEnum):
    """Unreachable is not failed, and refused is not failed: each asks for another reaction."""

    ACTIVATED = "activated"
    UNCHANGED = "unchanged"
    WOULD_ACTIVATE = "would_activate"
    ROLLED_BACK = "rolled_back"
    UNCONFIRMED = "unconfirmed"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TRUST_REFUSED = "trust_refused"
    MISCONFIGURED = "misconfigured"
    NOT_STARTED = "not_started"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that ended so on one host and well on all others."""
        return _EXIT_CODES[self]

    @property
    def words(self) -> str:
        """For people."""
        return self.value.replace("_", " ")


_EXIT_CODES = {
    Outcome.ACTIVATED: ExitCode.OK,
    Outcome.UNCHANGED: ExitCode.OK,
    Outcome.WOULD_ACTIVATE: ExitCode.OK,
    Outcome.ROLLED_BACK: ExitCode.APPLY_FAILED,
    Outcome.UNCONFIRMED: ExitCode.APPLY_FAILED,
    Outcome.SUPERSEDED: ExitCode.SUPERSEDED,
    Outcome.FAILED: ExitCode.APPLY_FAILED,
    Outcome.REFUSED: ExitCode.APPLY_FAILED,
    Outcome.UNREACHABLE: ExitCode.UNREACHABLE,
    Outcome.TRUST_REFUSED: ExitCode.TRUST_REFUSED,
    Outcome.MISCONFIGURED: ExitCode.USAGE,
    Outcome.NOT_STARTED: ExitCode.INTERRUPTED,
}


@dataclass(frozen=True)
class TrailHead:
    """The last record of a host's audit trail, as the host said it."""

    seq: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class HostOutcome:
    """One host's end of a push or a rollback.

    `reason` is a code for machines ("" where nothing went wrong), `message` and `hint` are for people;
    `generation` and `digest` are what the host enforces now, and `audit` where its audit trail ends, as far
    as it said.
    """

    host: str
    outcome: Outcome
    reason: str = ""
    message: str = ""
    hint: str = ""
    generation: int | None = None
    previous: int | None = None
    digest: str | None = None
    audit: TrailHead | None = None

    @property
    def is_trouble(self) -> bool:
        """Whether somebody has to do something about it."""
        return self.outcome.exit_code is not ExitCode.OK

    def describe(self) -> str:
        """One line, without the host's name."""
        number = f" generation {self.generation}" if self.generation is not None else ""
        if number and self.outcome is Outcome.WOULD_ACTIVATE:
            number = f", has{number}"
        return f"{self.outcome.words}{number}" + (f": {self.message}" if self.message else "")
