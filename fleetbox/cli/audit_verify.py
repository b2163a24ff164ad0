"""`fleetbox audit verify`: the trail of this machine, and those of hosts against what was seen of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from fleetbox.cli import settings
from fleetbox.cli.options import forks_option, inventory_option, json_option, limit_option, state_dir_option
from fleetbox.cli.output import print_json, say
from fleetbox.cli.progress import asked
from fleetbox.errors import ExitCode, UsageError, worst
from fleetbox.fleet import inventory as fleet_inventory
from fleetbox.fleet.inventory import Host
from fleetbox.hostside import chain
from fleetbox.hostside.chain import Head
from fleetbox.hostside.chain_check import Counted, Problem, check
from fleetbox.rollout import host_trails
from fleetbox.rollout.audit import SEEN, AuditTrail
from fleetbox.rollout.host_trails import HostTrail, State
from fleetbox.transport import Transport

_EXPECTED = re.compile(rf"([1-9][0-9]{{0,14}}):({chain.HASH.pattern})")
_PROBLEMS_SHOWN = 20


class _Own(NamedTuple):
    """The trail of this machine: how many records, the last one, what is wrong, what it knows of hosts."""

    records: int
    head: Head | None
    problems: list[Problem]
    known: dict[str, list[Head]]

    @property
    def grave(self) -> bool:
        return any(problem.grave for problem in self.problems)


@click.command(epilog="Example: fleetbox audit verify -l gpu_vms --expect 57:9ad8…")
@inventory_option
@limit_option
@click.option("--expect", multiple=True, metavar="SEQ:HASH", help="A record that was printed before.")
@forks_option
@state_dir_option
@json_option
def verify(
    *,
    inventory: tuple[str, ...],
    limit: str | None,
    expect: tuple[str, ...],
    forks: int | None,
    state_dir: str | None,
    as_json: bool,
) -> ExitCode:
    """Check this machine's audit trail; with -i or -l, those of the selected hosts as well.

    A host's trail is held against what was seen of it before, and how far it goes now is noted. The head
    that is printed, kept elsewhere, shows with --expect that nothing before it was changed since.
    """
    expected = [_expected(text) for text in expect]
    chosen = settings.load(inventory=inventory, state_dir=state_dir, forks=forks)
    hosts = fleet_inventory.load(chosen.inventory, limit) if inventory or limit else ()
    trail = AuditTrail(chosen.state_dir)
    own = _own(trail, expected)
    found = _ask(hosts, own.known, chosen.forks) if hosts else []
    code = _exit_code(own, found)
    _note(trail, found, own.known)
    head = f"{own.head.seq}:{own.head.hash}" if own.head else None
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "exit_code": int(code),
                "records": own.records,
                "head": head,
                "problems": [problem._asdict() for problem in own.problems],
                "hosts": [_host_json(one) for one in found],
            }
        )
    elif own.head or own.problems:
        click.echo(f"{trail.path}: {'tampered' if own.grave else 'whole'}, ends with {head or 'nothing'}")
    _say_problems("this machine", own.problems)
    for one in found:
        _say_problems(one.host, one.problems)
        if one.hint:
            say(f"{one.host}  hint: {one.hint}")
    return code


def _own(trail: AuditTrail, expected: Sequence[Head]) -> _Own:
    """Gone through twice, since a trail of years is larger than what should be held of it."""
    with trail.entries() as row:
        seen = Counted(row)
        problems = check(seen, expected)
    with trail.entries() as row:
        return _Own(seen.records, seen.head, problems, host_trails.known_heads(row))


def _ask(hosts: Sequence[Host], known: dict[str, list[Head]], forks: int) -> list[HostTrail]:
    def ask(host: Host, transport: Transport) -> HostTrail:
        return host_trails.of_host(host.name, transport, known.get(host.name, ()))

    def not_asked(host: Host) -> HostTrail:
        return HostTrail(host=host.name, state=State.UNREACHABLE, message="interrupted before it was asked")

    return asked(
        hosts,
        ask,
        failed=lambda host, error: host_trails.of_error(host.name, error),
        not_asked=not_asked,
        describe=HostTrail.describe,
        trouble=_in_trouble,
        forks=forks,
    )


def _in_trouble(one: HostTrail) -> bool:
    return one.state.exit_code is not ExitCode.OK


def _exit_code(own: _Own, found: Sequence[HostTrail]) -> ExitCode:
    if own.head is None and not own.problems and not any(one.state is not State.EMPTY for one in found):
        say("nothing was recorded yet")
        return ExitCode.USAGE
    own_code = ExitCode.TRUST_REFUSED if own.grave else ExitCode.OK
    return worst([own_code, *(one.state.exit_code for one in found)])


def _note(trail: AuditTrail, found: Iterable[HostTrail], known: Mapping[str, list[Head]]) -> None:
    """Keep how far each whole trail goes, where that is news."""
    for one in found:
        if one.state is State.WHOLE and one.head and one.head not in known.get(one.host, ()):
            trail.record(SEEN, host=one.host, audit=one.head._asdict())


def _say_problems(where: str, problems: Sequence[Problem]) -> None:
    for problem in problems[:_PROBLEMS_SHOWN]:
        say(f"{where}  {'' if problem.grave else 'note: '}{problem.message}")
    if len(problems) > _PROBLEMS_SHOWN:
        say(f"{where}  and {len(problems) - _PROBLEMS_SHOWN} more")


def _host_json(one: HostTrail) -> dict[str, Any]:
    return {
        "host": one.host,
        "state": one.state.value,
        "head": f"{one.head.seq}:{one.head.hash}" if one.head else None,
        "known": one.known,
        "problems": [problem._asdict() for problem in one.problems],
        "message": one.message,
        "hint": one.hint,
    }


def _expected(text: str) -> Head:
    found = _EXPECTED.fullmatch(text)
    if not found:
        raise UsageError(f"--expect {text!r} is not SEQ:HASH", hint="fleetbox audit verify prints one")
    return Head(int(found[1]), found[2])
