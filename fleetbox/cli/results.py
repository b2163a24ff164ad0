"""`fleetbox results`: what the runs so far found, read from the store alone; no host is contacted."""

import shutil
from collections.abc import Callable
from typing import Any, TypeVar

import click

from fleetbox.cli import settings
from fleetbox.cli.options import json_option, state_dir_option
from fleetbox.cli.output import print_json, say
from fleetbox.conformance import matrix as terminal
from fleetbox.conformance.exporters import json_report
from fleetbox.conformance.matrix import CELLS, escape
from fleetbox.conformance.model import HostRecord, Result, Run, Status
from fleetbox.conformance.store import Store
from fleetbox.errors import UsageError

_Read = TypeVar("_Read")
_NO_RUNS = "there are no results yet"
_VERIFY = "fleetbox verify makes some"


@click.group(epilog="Example: fleetbox results matrix --failures")
def results() -> None:
    """List and show stored conformance results."""


def _stored(state_dir: str | None, read: Callable[[Store], _Read]) -> _Read:
    store = Store(settings.load(state_dir=state_dir).results_url)
    try:
        return read(store)
    finally:
        store.close()


@results.command("list", epilog="Example: fleetbox results list --limit 5")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Runs at most.")
@state_dir_option
@json_option
def list_runs(limit: int, state_dir: str | None, as_json: bool) -> None:
    """List runs, the newest first."""
    rows = _stored(state_dir, lambda store: store.runs(limit))
    if as_json:
        print_json({"schema_version": 1, "runs": [vars(row) for row in rows]})
        return
    if not rows:
        raise UsageError(_NO_RUNS, hint=_VERIFY)
    for row in rows:
        head = f"{row.run_id}  {row.started}  {row.trigger:<6}  {row.hosts} host(s)"
        click.echo(f"{head}  exit {row.exit_code}  {row.selection}".rstrip())


@results.command("show", epilog="Example: fleetbox results show 0199f3 --host gpu0001")
@click.argument("run_id", default="")
@click.option("--host", metavar="NAME", help="Only this host.")
@click.option("--all", "everything", is_flag=True, help="Passed checks, too.")
@state_dir_option
@json_option
def show(run_id: str, host: str | None, everything: bool, state_dir: str | None, as_json: bool) -> None:
    """Show a run, by default the last one: what failed, what was seen, and the controls."""
    run = _stored(state_dir, lambda store: store.run(run_id))
    if run is None:
        raise UsageError(f"there is no run {run_id!r}" if run_id else _NO_RUNS, hint=_VERIFY)
    chosen = [record for record in run.hosts if host in (None, record.name)]
    if not chosen:
        raise UsageError(f"host {host!r} is not in run {run.run_id}", hint="fleetbox results show lists them")
    narrowed = run.model_copy(update={"hosts": tuple(chosen)})
    if as_json:
        click.echo(json_report.export(narrowed).decode(), nl=False)
        return
    for line in _lines(narrowed, everything=everything):
        click.echo(line)


def _lines(run: Run, *, everything: bool) -> list[str]:
    head = f"run {run.run_id}  {run.trigger}  {run.finished.isoformat()}  fleetbox {run.fleetbox_version}"
    return [head, *(line for record in run.hosts for line in _host_lines(record, everything=everything))]


def _host_lines(record: HostRecord, *, everything: bool) -> list[str]:
    said = f"  {escape(record.reason, 300)}" if record.reason else ""
    facts = f"  policy {record.policy or '-'}  generation {record.host.generation or '-'}"
    lines = ["", f"{escape(record.name, 60)}  {record.state.value}{facts}{said}"]
    quiet = (Status.PASS, Status.NOT_APPLICABLE)
    for result in record.results:
        if everything or result.status not in quiet:
            lines += _result_lines(result, brief=result.status in quiet)
    return lines


def _result_lines(result: Result, *, brief: bool) -> list[str]:
    lines = [f"  {CELLS[result.status]:<6}  {result.check_id}  {result.severity:<8}  {result.message}"]
    if result.expected and not brief:
        lines.append(f"          expected: {result.expected}")
        lines.append(f"          outside:  {result.controls.outside.detail}")
        lines.append(f"          inside:   {result.controls.inside.detail}")
    return lines


@results.command("matrix", epilog="Example: fleetbox results matrix --failures")
@click.option("--failures", is_flag=True, help="Only hosts where something did not pass.")
@state_dir_option
@json_option
def matrix(failures: bool, state_dir: str | None, as_json: bool) -> None:
    """Show the latest status of every check on every host."""
    rows = _stored(state_dir, lambda store: store.latest())
    if failures:
        good = {Status.PASS, Status.NOT_APPLICABLE}
        rows = [row for row in rows if not good.issuperset(row.statuses.values())]
    if as_json:
        print_json({"schema_version": 1, "hosts": [_plain(vars(row)) for row in rows]})
        return
    if not rows and failures:
        say("on no host did anything fail")
        return
    if not rows:
        raise UsageError(_NO_RUNS, hint=_VERIFY)
    shown = [terminal.Row(r.host, r.state, r.reason, r.policy, r.statuses) for r in rows]
    for line in terminal.render(shown, width=_width()):
        click.echo(line)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "statuses": {check: status.value for check, status in row["statuses"].items()}}


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns
