"""`fleetbox push-policy`: everything that can be refused here is refused before a host is contacted.

Order: policies compiled (3), hosts selected (2), whether it can be signed (2), the question asked (2), hosts
contacted. The checks run over the connection that activated, and their failure does not undo what the
critical ones let through.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from fleetbox import bundle
from fleetbox.bundle import Bundle
from fleetbox.cli import settings
from fleetbox.cli.endings import Ending, end, opened_desk, run_on, waivers
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
from fleetbox.cli.push_diff import Difference, differences
from fleetbox.cli.settings import Settings
from fleetbox.conformance import expect, report
from fleetbox.conformance.exporters import json_report
from fleetbox.conformance.matrix import Row, render
from fleetbox.conformance.model import Run
from fleetbox.conformance.store import Store
from fleetbox.errors import ExitCode, PolicyError, UsageError
from fleetbox.fleet import inventory as fleet_inventory
from fleetbox.fleet.inventory import Host
from fleetbox.hostside import paths
from fleetbox.hostside.release import DEFAULT_TEAM
from fleetbox.policy import Mode, PolicyInvalid, ResolvedPolicy, Violation, load_policy
from fleetbox.rollout import fallback, push, shipment
from fleetbox.rollout.audit import AuditTrail
from fleetbox.rollout.calls import Terms
from fleetbox.rollout.journal import Journal
from fleetbox.rollout.shipment import Plain, Shipments
from fleetbox.rollout.verified import VerifiedPush, exit_code, intent_of, remember


@dataclass(frozen=True)
class _Job:
    """What goes to whom."""

    policies: tuple[ResolvedPolicy, ...]
    bundle: Bundle
    hosts: tuple[Host, ...]
    selection: str
    settings: Settings
    is_signed: bool
    team: str | None
    waived: list[str]


@click.command(epilog="Example: fleetbox push-policy policies/gpu-workstation.yml -l gpu_vms --check --diff")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@inventory_option
@limit_option
@click.option("-C", "--check", is_flag=True, help="Say what would change on each host; change nothing.")
@click.option("-D", "--diff", is_flag=True, help="Show how the policies differ from what hosts have now.")
@yes_option
@forks_option
@click.option("--allow-full-access", is_flag=True, help="Push a policy that switches the sandbox off.")
@unsigned_option
@click.option("--no-verify", is_flag=True, help="Activate with the critical checks alone.")
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT[:PATH]", help="json or junit; repeatable."
)
@confirm_option
@quarantine_option
@click.option("--team", metavar="TEAM", help="Whose release it is (default: that of the team default).")
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
    allow_unsigned: bool,
    no_verify: bool,
    reports: tuple[str, ...],
    confirm_within: int,
    clear_quarantine: bool,
    team: str | None,
    state_dir: str | None,
    as_json: bool,
) -> ExitCode:
    """Send policies to the selected hosts and activate them there, one bundle for all.

    The first FILE is the default policy; fleetbox-run --policy NAME picks another. A host that fails its
    critical checks, or does not answer to a new connection afterwards, goes back by itself: to what it had,
    or to the strictest baseline where what it had allowed more. One host's trouble never holds up the others.
    """
    wanted = _reports(reports, check=check, no_verify=no_verify, as_json=as_json)
    policies = _load_all(files)
    _refuse_full_access(policies, allowed=allow_full_access)
    _refuse_uncheckable(policies)
    sent = bundle.build(policies, {policy.name: expect.checks_for(policy) for policy in policies})
    chosen = settings.load(inventory=inventory, state_dir=state_dir, forks=forks)
    hosts = fleet_inventory.load(chosen.inventory, limit)
    is_signed = shipment.signs(chosen.state_dir, allow_unsigned=allow_unsigned)
    waived = waivers(
        allow_full_access=allow_full_access,
        allow_unsigned=allow_unsigned and not is_signed,
        no_verify=no_verify,
        clear_quarantine=clear_quarantine,
    )
    job = _Job(policies, sent, hosts, limit or "", chosen, is_signed, team, waived)
    if team is not None and not is_signed:
        raise UsageError("--team: nothing is signed here", hint="fleetbox init, then fleetbox trust delegate")
    say(_headline(job))
    if check or diff:
        ending, different = _preview(job, diff=diff)
        for line in (line for difference in different for line in difference.lines()):
            click.echo(line, err=as_json)
        if check:
            ending.say()
            answer = {"differences": [difference.as_json() for difference in different]} if diff else {}
            return _tell(job, ending, None, ending.exit_code, as_json=as_json, check=True, **answer)
    confirm(f"Activate this on {len(job.hosts)} host(s)?", yes=yes)
    terms = Terms(confirm_within=confirm_within, clear_quarantine=clear_quarantine)
    ending, run, code = _activate(job, terms, verify=not no_verify)
    if run is not None:
        _show_matrix(run, aside=as_json or any(one.path is None for one in wanted))
    ending.say()
    _tell(job, ending, run, code, as_json=as_json, check=False)
    # Last, because a file that cannot be written must not hide what became of the hosts.
    if run is not None:
        for one in wanted:
            one.write(run)
    return code


def _reports(
    texts: Sequence[str], *, check: bool, no_verify: bool, as_json: bool
) -> tuple[report.Report, ...]:
    if texts and (check or no_verify):
        raise UsageError(
            "--report has nothing to report without checks", hint="leave out --check or --no-verify"
        )
    return report.parse(texts, stdout_taken=as_json)


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


def _refuse_uncheckable(policies: Sequence[ResolvedPolicy]) -> None:
    """A host would find that its checks cannot run, and go back to what it had."""
    for policy in policies:
        if not expect.can_be_checked(policy):
            raise PolicyError(
                f"the policy {policy.name} lists programs and no Python, with which hosts check a push",
                hint=f"add {paths.PYTHON} to process.allowed_binaries",
            )


def _headline(job: _Job) -> str:
    first, *others = (policy.name for policy in job.policies)
    names = ", ".join([f"{first} (default)" if others else first, *others])
    signed = "signed" if job.is_signed else "unsigned"
    return f"push {names}  bundle {job.bundle.digest[:19]}, {signed}  {len(job.hosts)} host(s)"


def _preview(job: _Job, *, diff: bool) -> tuple[Ending, tuple[Difference, ...]]:
    """Ask every host what it has, and say what would become of it. Changes nothing, here or there."""
    ending = run_on(job.hosts, partial(push.check, digest=job.bundle.digest), forks=job.settings.forks)
    if not diff:
        return ending, ()
    journal = Journal(job.settings.state_dir)
    different = differences(journal, job.policies, ending.outcomes)
    journal.close()
    return ending, different


def _activate(job: _Job, terms: Terms, *, verify: bool) -> tuple[Ending, Run | None, ExitCode]:
    """Push to all hosts and keep what came of it: the journal, what to verify from now on, the results."""
    intent = intent_of(job.policies[0])
    journal, store = Journal(job.settings.state_dir), Store(job.settings.results_url)
    shipments = _shipments(job, fallback.not_narrower_than(journal, job.policies))
    entry = journal.begin("push", bundle=job.bundle.digest, policies=job.policies)
    fallback.remember(journal, job.bundle.digest)
    command = AuditTrail(job.settings.state_dir).begin(
        "push",
        [host.name for host in job.hosts],
        bundle=job.bundle.digest,
        policies=[{"name": policy.name, "digest": policy.digest} for policy in job.policies],
        selection=job.selection,
        waived=job.waived,
    )
    work = VerifiedPush(shipments, intent, terms)
    ending = run_on(job.hosts, work if verify else work.push, forks=job.settings.forks, command=command)
    code, run = ending.exit_code, None
    remember(store, intent, job.bundle.digest, ending.outcomes)
    if verify:
        run = work.run(job.hosts, ending.outcomes, job.selection)
        code = exit_code(code, run, ending.outcomes)
        store.save(run, code)
    code = end(command, code)
    journal.end(entry, ending.outcomes, code)
    journal.close()
    store.close()
    return ending, run, code


def _shipments(job: _Job, safe: tuple[str, ...]) -> Shipments:
    """What goes to the hosts; signing comes before any of them is contacted. Raises TrustRefused."""
    if not job.is_signed:
        return Plain(job.bundle, safe)
    desk = opened_desk(job.settings.state_dir)
    names = [host.name for host in job.hosts]
    release = desk.release(job.bundle, safe, names, team=job.team or DEFAULT_TEAM)
    say(f"release {release}, assigned to {len(job.hosts)} host(s)")
    return desk


def _show_matrix(run: Run, *, aside: bool) -> None:
    """The matrix is data, so on stdout, unless other data goes there."""
    rows = [
        Row(
            record.name,
            record.state,
            record.reason,
            record.policy,
            {result.check_id: result.status for result in record.results},
        )
        for record in run.hosts
    ]
    for line in render(rows):
        click.echo(line, err=aside)


def _tell(
    job: _Job, ending: Ending, run: Run | None, code: ExitCode, *, as_json: bool, **more: object
) -> ExitCode:
    """With --json, everything that is known in one document; `more` is what only some pushes have."""
    if as_json:
        print_json(
            {
                **ending.as_json(),
                "exit_code": int(code),
                "bundle": job.bundle.digest,
                "signed": job.is_signed,
                "policies": [{"name": policy.name, "digest": policy.digest} for policy in job.policies],
                "conformance": json.loads(json_report.export(run)) if run else None,
                **more,
            }
        )
    return code
