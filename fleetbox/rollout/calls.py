"""What a host is asked: one exec each, as root, JSON back. The host program owns what the verbs mean."""

from dataclasses import dataclass

from fleetbox import facts
from fleetbox.facts import HostFacts
from fleetbox.hostside import paths, stream
from fleetbox.hostside.detect import gates
from fleetbox.rollout.answers import (
    Activation,
    Confirmation,
    Failure,
    Status,
    TrailPage,
    failure,
    program_missing,
    read,
)
from fleetbox.rollout.shipment import Shipment
from fleetbox.transport import Transport, run_as_root

# Seconds. Activation includes the critical checks in the new sandbox.
_ACTIVATE_TIMEOUT = 180.0
_ASK_TIMEOUT = 60.0


@dataclass(frozen=True)
class Terms:
    """What goes for an activation.

    `confirm_within`: seconds after its checks in which it has to be confirmed. `clear_quarantine`: try it
    although its checks have failed there before.
    """

    confirm_within: int = 60
    clear_quarantine: bool = False

    @property
    def words(self) -> list[str]:
        """For the host program's command line."""
        return [
            *("--confirm-within", str(self.confirm_within)),
            *(["--clear-quarantine"] if self.clear_quarantine else []),
        ]


def activate(transport: Transport, shipment: Shipment, terms: Terms) -> Activation | Failure:
    """Send a bundle and switch to it; the host checks the new sandbox, and goes back if it fails."""
    argv = [paths.HOST_PROGRAM, "activate", *shipment.words, *terms.words]
    return read(Activation, run_as_root(transport, argv, stdin=shipment.data, timeout=_ACTIVATE_TIMEOUT))


def rollback(transport: Transport, to: int | None, terms: Terms) -> Activation | Failure:
    """Activate an earlier content again: generation `to`, or the one before the current."""
    argv = [paths.HOST_PROGRAM, "rollback", *(["--to", str(to)] if to is not None else []), *terms.words]
    return read(Activation, run_as_root(transport, argv, timeout=_ACTIVATE_TIMEOUT))


def confirm(transport: Transport, generation: int, nonce: str) -> Confirmation | Failure:
    """Let the generation on trial stay; to be asked over another connection than the one that activated."""
    argv = [paths.HOST_PROGRAM, "confirm", str(generation), nonce]
    return read(Confirmation, run_as_root(transport, argv, timeout=_ASK_TIMEOUT))


def status(transport: Transport) -> Status | Failure:
    """What the host enforces now."""
    return read(Status, run_as_root(transport, [paths.HOST_PROGRAM, "status"], timeout=_ASK_TIMEOUT))


def audit(transport: Transport, since: int) -> TrailPage | Failure:
    """The host's audit trail from record `since` on, as much of it as comes in one answer."""
    argv = [paths.HOST_PROGRAM, "audit", "--since", str(since)]
    return read(TrailPage, run_as_root(transport, argv, timeout=_ASK_TIMEOUT))


def facts_of(transport: Transport, python: str) -> HostFacts | Failure:
    """What the host is: streamed, so that nothing need be installed, or by its own program.

    A push account may start that program alone (docs/push-account.md). Raises ApplyFailed for facts that are
    none.
    """
    answer = streamed_facts(transport, python)
    if not isinstance(answer, Failure) or answer.code != "not_allowed":
        return answer
    completed = run_as_root(transport, [paths.HOST_PROGRAM, "facts"], timeout=_ASK_TIMEOUT)
    return facts.read(completed.stdout) if completed.rc == 0 else failure(completed)


def streamed_facts(transport: Transport, python: str, *, as_root: bool = True) -> HostFacts | Failure:
    """Facts of a host that has nothing installed: the program comes by stdin and leaves nothing behind.

    Raises ApplyFailed for facts that are none.
    """
    program = stream.script(["facts"]).encode()
    argv = [python, "-I", "-S", "-"]
    if as_root:
        completed = run_as_root(transport, argv, stdin=program, timeout=_ASK_TIMEOUT)
    else:
        completed = transport.run(argv, stdin=program, timeout=_ASK_TIMEOUT)
    if program_missing(completed, python):
        words = gates.GATES["python_missing"]
        return Failure(code="python_missing", message=f"{words.problem} ({python})", hint=words.remedy)
    return facts.read(completed.stdout) if completed.rc == 0 else failure(completed)
