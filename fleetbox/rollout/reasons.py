"""What `fleetbox-host why` answers from afar, validated and capped like every answer of a host."""

from typing import Annotated

from pydantic import Field

from fleetbox.hostside import paths
from fleetbox.rollout.answers import Answer, Failure, Text, read
from fleetbox.transport import Transport, run_as_root

# Seconds that the host may take besides the command's own time.
_MARGIN = 60.0

Count = Annotated[int, Field(ge=0, le=10**12)]


class Refused(Answer):
    """One launch that the launcher refused. `time` in seconds since 1970."""

    time: Annotated[int, Field(ge=0, le=2**40)]
    uid: Count
    policy: Text
    command: Text
    problem: Text
    hint: Text


class Refusals(Answer):
    """The end of the refusal logs, oldest first."""

    refusals: Annotated[tuple[Refused, ...], Field(max_length=10_000)]
    skipped: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()


class Reason(Answer):
    """One refused call, and the rule that decided; `outside`: it fails without a sandbox as well."""

    errno: Text
    subject: Text
    count: Count
    rule: Text
    means: Text
    outside: bool


class Unexplained(Answer):
    """One refused call that the policy does not explain."""

    errno: Text
    subject: Text
    count: Count


class Rerun(Answer):
    """What one command was refused. `exit` is null when it was ended for its time."""

    command: Text
    policy: Text
    exit: int | None
    timeout: Count
    launcher: Annotated[tuple[Text, ...], Field(max_length=10)]
    warnings: Annotated[tuple[Text, ...], Field(max_length=20)] = ()
    refusals: Annotated[tuple[Reason, ...], Field(max_length=1000)]
    unexplained: Annotated[tuple[Unexplained, ...], Field(max_length=1000)]


def last(transport: Transport, *, count: int, user: str | None) -> Refusals | Failure:
    """The last refusals of a host's launcher."""
    argv = [paths.HOST_PROGRAM, "why", "--json", "--last", str(count), *_option("--user", user)]
    return read(Refusals, run_as_root(transport, argv, timeout=_MARGIN))


def rerun(
    transport: Transport,
    command: tuple[str, ...],
    *,
    user: str | None,
    policy: str | None,
    workspace: str | None,
    timeout: int,
) -> Rerun | Failure:
    """Run a command again in a host's sandbox, as the workload's user, and say what refused it."""
    argv = [
        *(paths.HOST_PROGRAM, "why", "--json", "--timeout", str(timeout)),
        *_option("--user", user),
        *_option("--policy", policy),
        *_option("--workspace", workspace),
        *("--", *command),
    ]
    return read(Rerun, run_as_root(transport, argv, timeout=timeout + _MARGIN))


def _option(name: str, value: str | None) -> list[str]:
    return [f"{name}={value}"] if value is not None else []
