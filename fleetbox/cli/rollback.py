"""`fleetbox rollback`: earlier content again, as a new and higher generation."""

from collections.abc import Sequence
from functools import partial

import click

from fleetbox.cli import settings
from fleetbox.cli.endings import end, opened_desk, run_on, waivers
from fleetbox.cli.options import (
    confirm_option,
    forks_option,
    inventory_option,
    json_option,
    limit_option,
    quarantine_option,
    state_dir_option,
    unsigned_option,
    yes_option,
)
from fleetbox.cli.output import confirm, print_json, say
from fleetbox.cli.settings import Settings
from fleetbox.conformance.store import Store
from fleetbox.errors import ExitCode
from fleetbox.fleet import inventory as fleet_inventory
from fleetbox.rollout import shipment
from fleetbox.rollout.audit import AuditTrail
from fleetbox.rollout.calls import Terms
from fleetbox.rollout.journal import Journal
from fleetbox.rollout.outcome import HostOutcome
from fleetbox.rollout.push import roll_back, roll_back_signed
from fleetbox.rollout.verified import ENFORCED, intent_of, remember


@click.command(epilog="Example: fleetbox rollback -l gpu_vms --to 7")
@inventory_option
@limit_option
@click.option(
    "--to",
    type=click.IntRange(min=1),
    metavar="N",
    help="The generation to go back to (default: the one before).",
)
@forks_option
@confirm_option
@quarantine_option
@unsigned_option
@state_dir_option
@yes_option
@json_option
def rollback(
    *,
    inventory: tuple[str, ...],
    limit: str | None,
    to: int | None,
    forks: int | None,
    confirm_within: int,
    clear_quarantine: bool,
    allow_unsigned: bool,
    state_dir: str | None,
    yes: bool,
    as_json: bool,
) -> ExitCode:
    """Activate an earlier policy again on the selected hosts.

    Numbers only grow: the older content becomes a new generation, checked and confirmed like any other. A
    host on which that fails goes to the strictest baseline.
    """
    chosen = settings.load(inventory=inventory, state_dir=state_dir, forks=forks)
    hosts = fleet_inventory.load(chosen.inventory, limit)
    is_signed = shipment.signs(chosen.state_dir, allow_unsigned=allow_unsigned)
    where = f"generation {to}" if to else "the generation before"
    confirm(f"Go back to {where} on {len(hosts)} host(s)?", yes=yes)
    terms = Terms(confirm_within=confirm_within, clear_quarantine=clear_quarantine)
    if is_signed:
        work = partial(roll_back_signed, to=to, desk=opened_desk(chosen.state_dir), terms=terms)
    else:
        work = partial(roll_back, to=to, terms=terms)
    journal = Journal(chosen.state_dir)
    entry = journal.begin("rollback", bundle=None)
    command = AuditTrail(chosen.state_dir).begin(
        "rollback",
        [host.name for host in hosts],
        to=to,
        selection=limit or "",
        waived=waivers(allow_unsigned=not is_signed, clear_quarantine=clear_quarantine),
    )
    ending = run_on(hosts, work, forks=chosen.forks, command=command)
    code = end(command, ending.exit_code)
    journal.end(entry, ending.outcomes, code)
    _remember(journal, chosen, ending.outcomes)
    journal.close()
    ending.say()
    if as_json:
        print_json({**ending.as_json(), "exit_code": int(code)})
    return code


def _remember(journal: Journal, chosen: Settings, outcomes: Sequence[HostOutcome]) -> None:
    """From now on `verify` holds the hosts against what they went back to."""
    store = Store(chosen.results_url)
    for outcome in outcomes:
        policies = journal.policies_of(outcome.digest) if outcome.digest else ()
        if policies and outcome.digest:
            remember(store, intent_of(policies[0]), outcome.digest, [outcome])
        elif outcome.outcome in ENFORCED:
            say(f"{outcome.host}  its bundle was not pushed from here: verify it with --policy FILE")
    store.close()
