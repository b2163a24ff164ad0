"""What a host is asked: one exec each, as root, JSON back. The host program owns what the verbs mean."""

from fleetbox import facts
from fleetbox.facts import HostFacts
from fleetbox.hostside import paths, stream
from fleetbox.hostside.detect import gates
from fleetbox.rollout.answers import Activation, Failure, Status, TrailPage, failure, program_missing, read
from fleetbox.transport import Transport, run_as_root

# Seconds. Activation includes the critical checks in the new sandbox.
_ACTIVATE_TIMEOUT = 180.0
_ASK_TIMEOUT = 60.0


def activate(transport: Transport, digest: str, tar: bytes) -> Activation | Failure:
    """Send the bundle and switch to it; the host checks the new sandbox, and goes back if it fails."""
    argv = [paths.HOST_PROGRAM, "activate", digest, "--bundle", "-"]
    return read(Activation, run_as_root(transport, argv, stdin=tar, timeout=_ACTIVATE_TIMEOUT))


def rollback(transport: Transport, to: int | None) -> Activation | Failure:
    """Activate an earlier content again: generation `to`, or the one before the current."""
    argv = [paths.HOST_PROGRAM, "rollback", *(["--to", str(to)] if to is not None else [])]
    return read(Activation, run_as_root(transport, argv, timeout=_ACTIVATE_TIMEOUT))


def status(transport: Transport) -> Status | Failure:
    """What the host enforces now."""
    return read(Status, run_as_root(transport, [paths.HOST_PROGRAM, "status"], timeout=_ASK_TIMEOUT))


def audit(transport: Transport, since: int) -> TrailPage | Failure:
    """The host's audit trail from record `since` on, as much of it as comes in one answer."""
    argv = [paths.HOST_PROGRAM, "audit", "--since", str(since)]
    return read(TrailPage, run_as_root(transport, argv, timeout=_ASK_TIMEOUT))


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
