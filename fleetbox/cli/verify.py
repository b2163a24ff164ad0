"""`fleetbox verify`: one call per host runs its checks inside the sandbox; results are stored, then reported.

A host is held against what was pushed to it last from here, or against FILE. What it enforces itself is not
asked for: a host with another policy than the intended one must not look conformant.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from fleetbox import __version__
from fleetbox.cli import settings
from fleetbox.cli.options import forks_option, inventory_option, json_option, limit_option, state_dir_option
from fleetbox.cli.output import say
from fleetbox.cli.progress import asked
from fleetbox.conformance import collect, expect, judge, report
from fleetbox.conformance.collect import Intent
from fleetbox.conformance.matrix import percent
from fleetbox.conformance.model import HostRecord, HostState, Run, Severity, Status, now
from fleetbox.conformance.report import Report
from fleetbox.conformance.store import Store, new_run_id
from fleetbox.errors import ExitCode, UsageError
from fleetbox.fleet import inventory as fleet_inventory
from fleetbox.fleet.inventory import Host
from fleetbox.hostside.checks import BY_ID
from fleetbox.policy import load_policy
from fleetbox.rollout import calls
from fleetbox.rollout.answers import Failure
from fleetbox.transport import Transport

NOTHING_PUSHED = "nothing was pushed to this host from here"


@click.command(epilog="Example: fleetbox verify -l gpu_vms --report junit:results.xml")
@inventory_option
@limit_option
@click.option(
    "--policy", type=click.Path(path_type=Path), metavar="FILE", help="Hold hosts against this policy."
)
@click.option("--checks", "only", metavar="ID,...", help="Only these checks.")
@click.option(
    "--fail-on",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.LOW.value,
    show_default=True,
    help="The least severity whose failures make the exit code 100.",
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 100),
    default=100.0,
    show_default=True,
    help="Below this percentage of decided checks the exit code is 101.",
)
@click.option("--egress-peer", metavar="ADDR:PORT", help="What hosts must not reach (default: a port here).")
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT[:PATH]", help="json or junit; repeatable."
)
@forks_option
@state_dir_option
@json_option
def verify(
    *,
    inventory: tuple[str, ...],
    limit: str | None,
    policy: Path | None,
    only: str | None,
    fail_on: str,
    min_coverage: float,
    egress_peer: str | None,
    reports: tuple[str, ...],
    forks: int | None,
    state_dir: str | None,
    as_json: bool,
) -> ExitCode:
    """Run the checks inside the sandbox of each selected host, and store what came of them."""
    written = (*report.parse(reports, stdout_taken=as_json), *([Report("json", None)] if as_json else []))
    chosen = settings.load(inventory=inventory, state_dir=state_dir, forks=forks)
    against = _intent_of(policy) if policy else None
    wanted, peer = _check_ids(only), _peer(egress_peer)
    hosts = fleet_inventory.load(chosen.inventory, limit)
    store = Store(chosen.results_url)
    try:
        found = {host.name: against or store.intended(host.name) for host in hosts}
        intents = {name: _narrowed(intent, wanted) for name, intent in found.items()}
        run = _collect(hosts, intents, peer, selection=limit or "", forks=chosen.forks)
        code = judge.exit_code(run, fail_on=Severity(fail_on), min_coverage=min_coverage)
        store.save(run, code)
    finally:
        store.close()
    for one in written:
        one.write(run)
    _say_ending(run, Severity(fail_on))
    return code


def _intent_of(file: Path) -> Intent:
    policy = load_policy(file)
    return Intent(policy.name, policy.digest, expect.checks_for(policy))


def _check_ids(only: str | None) -> frozenset[str]:
    """Every id is one that exists: a mistyped one must not make a run look complete."""
    if only is None:
        return frozenset(BY_ID)
    ids = frozenset(word.strip() for word in only.split(","))
    if unknown := sorted(ids - BY_ID.keys()):
        raise UsageError(f"there is no check {unknown[0]!r}", hint="fleetbox checks list shows them")
    return ids


def _peer(text: str | None) -> str | None:
    if text is None:
        return None
    address, _, port = text.rpartition(":")
    if not address or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(
            f"--egress-peer {text!r} is not ADDR:PORT", hint="write 192.0.2.7:443 or [2001:db8::7]:443"
        )
    return text


def _narrowed(intent: Intent | None, wanted: frozenset[str]) -> Intent:
    """The checks that were chosen; for a host without an intent all of them, so that none looks passed."""
    known = intent or Intent("", "", judge.every_check())
    kept = [check for check in known.checks if check["id"] in wanted]
    return Intent(known.policy, known.digest, kept, known.host_id)


def _collect(
    hosts: Sequence[Host], intents: Mapping[str, Intent], peer: str | None, *, selection: str, forks: int
) -> Run:
    def ask(host: Host, transport: Transport) -> HostRecord:
        return _ask(host, transport, intents[host.name], peer)

    started = now()
    records = asked(
        hosts,
        ask,
        failed=lambda host, error: collect.of_error(host, intents[host.name], error),
        not_asked=lambda host: _not_asked(host, intents[host.name]),
        describe=_describe,
        trouble=_in_trouble,
        forks=forks,
    )
    return Run(
        run_id=new_run_id(), started=started, finished=now(), fleetbox_version=__version__,
        trigger="verify", selection=selection, hosts=tuple(records),
    )  # fmt: skip


def _ask(host: Host, transport: Transport, intent: Intent, peer: str | None) -> HostRecord:
    """A host that cannot sandbox at all is told apart from one that was forgotten."""
    if not intent.digest:
        hint = f"fleetbox push-policy FILE -l {host.name}, or name the policy with --policy FILE"
        record = collect.without_results(host, intent, HostState.REFUSED, NOTHING_PUSHED, hint=hint)
    else:
        record = collect.from_host(host, transport, intent, egress_peer=peer)
        if record.reason != collect.NOT_INSTALLED:
            return record
    facts = calls.facts_of(transport, host.python)
    if isinstance(facts, Failure) or not facts.gates:
        return record
    gate = facts.gates[0]
    return collect.without_results(host, intent, HostState.REFUSED, gate.problem, hint=gate.remedy)


def _not_asked(host: Host, intent: Intent) -> HostRecord:
    return collect.without_results(host, intent, HostState.UNREACHABLE, "interrupted before it was asked")


def _describe(record: HostRecord) -> str:
    if record.state is not HostState.ANSWERED:
        return f"{record.state.value}: {record.reason}"
    tally = judge.Tally.of(result.status for result in record.results)
    counts = ", ".join(
        f"{tally.counts[status]} {status.value.replace('_', ' ')}"
        for status in Status
        if tally.counts[status]
    )
    return f"{record.policy}: {counts}"


def _in_trouble(record: HostRecord) -> bool:
    return any(result.status not in (Status.PASS, Status.NOT_APPLICABLE) for result in record.results)


def _say_ending(run: Run, fail_on: Severity) -> None:
    """Each failure in a line, each host's hint, and the two numbers."""
    width = max(len(record.name) for record in run.hosts)
    for record in run.hosts:
        for result in judge.failures(record, fail_on=fail_on):
            what = (
                f"{result.status.value.upper()} {result.check_id} {result.severity.value}: {result.message}"
            )
            say(f"{record.name:<{width}}  {what}")
        if record.hint:
            say(f"{record.name:<{width}}  hint: {record.hint}")
    tally = judge.tally_run(run)
    say(
        f"{len(run.hosts)} host(s)  score {percent(tally.score)}  coverage {percent(tally.coverage)}"
        f"  run {run.run_id}"
    )
