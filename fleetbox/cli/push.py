"""`fleetbox push-policy`: everything that can be refused here is refused before a host is contacted.

Order: policies compiled (3), hosts selected (2), the question asked (2), hosts contacted.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from fleetbox import bundle
from fleetbox.bundle import Bundle
from fleetbox.cli import settings
from fleetbox.cli.endings import Ending, finish, run_on
from fleetbox.cli.options import (
    forks_option,
    inventory_option,
    json_option,
    limit_option,
    state_dir_option,
    yes_option,
)
from fleetbox.cli.output import confirm, print_json, say
from fleetbox.cli.push_diff import show_differences
from fleetbox.cli.settings import Settings
from fleetbox.conformance import expect
from fleetbox.errors import ExitCode, UsageError
from fleetbox.fleet import inventory as fleet_inventory
from fleetbox.fleet.inventory import Host
from fleetbox.policy import Mode, PolicyInvalid, ResolvedPolicy, Violation, load_policy
from fleetbox.rollout import push
from fleetbox.rollout.journal import Journal


@click.command(epilog="Example: fleetbox push-policy policies/gpu-workstation.yml -l gpu_vms --check --diff")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@inventory_option
@limit_option
@click.option("-C", "--check", is_flag=True, help="Say what would change on each host; change nothing.")
@click.option("-D", "--diff", is_flag=True, help="Show how the policies differ from what hosts have now.")
@yes_option
@forks_option
@click.option("--allow-full-access", is_flag=True, help="Push a policy that switches the sandbox off.")
@state_dir_option
@json_option
def push_policy(
    *,
    files: tuple[Path, ...],
    inventory: tuple[str, ...],
    limit: str | None,
    check: bool,
    diff: bool,
    yes: bool,
    forks: int | None,
    allow_full_access: bool,
    state_dir: str | None,
    as_json: bool,
) -> ExitCode:
    """Send policies to the selected hosts and activate them there, one bundle for all.

    The first FILE is the default policy; fleetbox-run --policy NAME picks another. A host that fails its
    critical checks goes back to what it had. One host's trouble never holds up the others.
    """
    policies = _load_all(files)
    _refuse_full_access(policies, allowed=allow_full_access)
    sent = bundle.build(policies, {policy.name: expect.checks_for(policy) for policy in policies})
    chosen = settings.load(inventory=inventory, state_dir=state_dir, forks=forks)
    hosts = fleet_inventory.load(chosen.inventory, limit)
    say(_headline(policies, sent, hosts))
    journal = Journal(chosen.state_dir)
    if check:
        ending = _preview(journal, policies, sent, hosts, chosen.forks, diff=diff)
    else:
        if diff:
            _preview(journal, policies, sent, hosts, chosen.forks, diff=True)
        confirm(f"Activate this on {len(hosts)} host(s)?", yes=yes)
        ending = _activate(journal, policies, sent, hosts, chosen)
    journal.close()
    if as_json:
        print_json({**ending.as_json(), "check": check, "bundle": sent.digest, "signed": False})
    return ending.exit_code


def _load_all(files: Sequence[Path]) -> tuple[ResolvedPolicy, ...]:
    """All files, or all of their mistakes together. Raises PolicyInvalid."""
    policies: list[ResolvedPolicy] = []
    violations: list[Violation] = []
    for file in files:
        try:
            policies.append(load_policy(file))
        except PolicyInvalid as invalid:
            violations += invalid.violations
    if violations:
        raise PolicyInvalid(violations)
    return tuple(policies)


def _refuse_full_access(policies: Sequence[ResolvedPolicy], *, allowed: bool) -> None:
    open_ones = [policy.name for policy in policies if policy.mode is Mode.FULL_ACCESS]
    if open_ones and not allowed:
        raise UsageError(
            f"the policy {open_ones[0]} has mode full-access: workloads would run without a sandbox",
            hint="add --allow-full-access if that is meant",
        )


def _headline(policies: Sequence[ResolvedPolicy], sent: Bundle, hosts: Sequence[Host]) -> str:
    first, *others = (policy.name for policy in policies)
    names = ", ".join([f"{first} (default)" if others else first, *others])
    return f"push {names}  bundle {sent.digest[:19]}, unsigned  {len(hosts)} host(s)"


def _preview(
    journal: Journal,
    policies: Sequence[ResolvedPolicy],
    sent: Bundle,
    hosts: tuple[Host, ...],
    forks: int,
    *,
    diff: bool,
) -> Ending:
    """Ask every host what it has, and say what would become of it."""
    outcomes = run_on(hosts, partial(push.check, digest=sent.digest), forks=forks)
    if diff:
        show_differences(journal, policies, outcomes)
    return finish(outcomes)


def _activate(
    journal: Journal,
    policies: Sequence[ResolvedPolicy],
    sent: Bundle,
    hosts: tuple[Host, ...],
    chosen: Settings,
) -> Ending:
    entry = journal.begin("push", bundle=sent.digest, policies=policies)
    work = partial(push.push, digest=sent.digest, tar=sent.tar)
    ending = finish(run_on(hosts, work, forks=chosen.forks))
    journal.end(entry, ending.outcomes, ending.exit_code)
    return ending
