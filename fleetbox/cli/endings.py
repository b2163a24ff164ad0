"""Running work on hosts with progress, and saying how it ended: shared by the commands that change hosts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fleetbox.cli.output import say
from fleetbox.cli.progress import show
from fleetbox.errors import ExitCode, worst
from fleetbox.fleet.inventory import Host
from fleetbox.rollout import decide, shipment
from fleetbox.rollout.audit import Command
from fleetbox.rollout.execute import each
from fleetbox.rollout.outcome import HostOutcome
from fleetbox.rollout.shipment import Desk
from fleetbox.transport import Transport


def run_on(
    hosts: tuple[Host, ...],
    work: Callable[[Host, Transport], HostOutcome],
    *,
    forks: int,
    command: Command | None = None,
) -> "Ending":
    """Do `work` on every host, with progress on stderr; outcomes are in the hosts' order.

    Each is recorded as the answer to `command` when it comes, from the thread that has it.
    """

    def one(host: Host, transport: Transport) -> HostOutcome:
        return _recorded(command, work(host, transport))

    def failed(host: Host, error: Exception) -> HostOutcome:
        return _recorded(command, decide.of_error(host.name, error))

    with show(hosts, HostOutcome.describe, _in_trouble) as progress:
        done = each(
            hosts,
            one,
            failed=failed,
            forks=forks,
            progress=progress,
        )
    outcomes = [result or _recorded(command, decide.not_started(host.name)) for host, result in done.results]
    return Ending(outcomes, interrupted=done.interrupted)


def waivers(**given: bool) -> list[str]:
    """The options with which somebody said that a safeguard shall not hold this time, for the audit trail."""
    return [f"--{name.replace('_', '-')}" for name, waived in given.items() if waived]


def opened_desk(state_dir: Path) -> Desk:
    """What signs for a command, after saying what is wrong with this machine's clock."""
    desk = shipment.opened(state_dir)
    if desk.warning:
        say(f"warning: {desk.warning}")
    return desk


def _recorded(command: Command | None, outcome: HostOutcome) -> HostOutcome:
    if command:
        command.answered(outcome)
    return outcome


def end(command: Command, code: ExitCode) -> ExitCode:
    """Record the end of a command. Where records were lost, says so and returns a code of failure."""
    code = command.end(code)
    if command.problem:
        say(command.problem)
    return code


def _in_trouble(outcome: HostOutcome) -> bool:
    return outcome.outcome.exit_code is not ExitCode.OK


@dataclass(frozen=True)
class Ending:
    """How a command ended on all of its hosts. An interruption shows although every host came to its end."""

    outcomes: Sequence[HostOutcome]
    interrupted: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """The most urgent of what the hosts' ends call for."""
        code = decide.summarise(self.outcomes).exit_code
        return worst([code, ExitCode.INTERRUPTED]) if self.interrupted else code

    def say(self) -> None:
        """Say what to do about each host in trouble, and the sum of it all."""
        width = max((len(outcome.host) for outcome in self.outcomes), default=0)
        for outcome in self.outcomes:
            if outcome.hint:
                say(f"{outcome.host:<{width}}  hint: {outcome.hint}")
        say(decide.summarise(self.outcomes).words)

    def as_json(self) -> dict[str, Any]:
        """For --json: one object per host, with its reason."""
        return {"schema_version": 1, "hosts": [asdict(outcome) for outcome in self.outcomes]}
