"""`fleetbox audit`: who changed which hosts, what each answered, and whether that record is still whole."""

import re
from collections import deque
from datetime import UTC, datetime, timedelta

import click

from fleetbox.cli import settings
from fleetbox.cli.audit_verify import verify
from fleetbox.cli.audit_words import line_of
from fleetbox.cli.options import complete_hosts, json_option, state_dir_option
from fleetbox.cli.output import print_json, say
from fleetbox.errors import ExitCode, UsageError
from fleetbox.hostside import chain
from fleetbox.hostside.chain import Record
from fleetbox.hostside.chain_check import Counted
from fleetbox.rollout import host_trails
from fleetbox.rollout.audit import ACCEPTED, AuditTrail, unended
from fleetbox.rollout.journal import caller

_AGO = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.group(epilog="Example: fleetbox audit list --host gpu0001 --since 7d")
def audit() -> None:
    """Show who changed which hosts and what they answered; prove that record whole."""


audit.add_command(verify)


@audit.command("list", epilog="Example: fleetbox audit list --host gpu0001 --since 7d --event push")
@click.option("--host", metavar="NAME", shell_complete=complete_hosts, help="Only what was about this host.")
@click.option("--since", metavar="7d|DATE", help="Only from then on: 30m, 12h, 7d, 2w ago, or a date (UTC).")
@click.option("--event", metavar="EVENT", help="Only this event (push_begun), or all of a command (push).")
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=50, show_default=True, help="The last N at most."
)
@state_dir_option
@json_option
def list_records(
    *,
    host: str | None,
    since: str | None,
    event: str | None,
    count: int,
    state_dir: str | None,
    as_json: bool,
) -> ExitCode:
    """List what was done from here, the newest last. No host is contacted."""
    begin = _time(since) if since else ""
    trail = AuditTrail(settings.load(state_dir=state_dir).state_dir)
    chosen: deque[Record] = deque(maxlen=count)
    with trail.entries() as row:
        seen = Counted(row)
        for record in (entry for entry in seen if isinstance(entry, Record)):
            if record.time >= begin and (host is None or _is_about(record, host)) and _is_kind(record, event):
                chosen.append(record)
    with trail.entries() as row:
        open_ones = unended(entry for entry in row if isinstance(entry, Record))
    if as_json:
        shown = [chain.as_json(record) for record in chosen]
        left = [record.seq for record in chosen if record.seq in open_ones]
        print_json({"schema_version": 1, "records": shown, "not_ended": left})
    for record in chosen if not as_json else ():
        click.echo(line_of(record, ended=record.seq not in open_ones))
    if seen.damages:
        say("the trail holds damaged bytes: fleetbox audit verify says more")
    if not chosen:
        say(
            "nothing of that kind was recorded"
            if seen.records
            else f"nothing was recorded in {trail.path} yet"
        )
    return ExitCode.OK if chosen else ExitCode.USAGE


@audit.command("accept", epilog="Example: fleetbox audit accept gpu0001 --reason 'disk replaced'")
@click.argument("host", shell_complete=complete_hosts)
@click.option("--reason", required=True, metavar="TEXT", help="Why its trail is another one now.")
@state_dir_option
def accept(host: str, reason: str, state_dir: str | None) -> ExitCode:
    """Let HOST begin a new audit trail: what was seen of the old one no longer counts. Recorded, too."""
    trail = AuditTrail(settings.load(state_dir=state_dir).state_dir)
    with trail.entries() as row:
        known = host_trails.known_heads(row)
    if host not in known:
        raise UsageError(f"nothing was seen of a trail of {host!r}", hint="fleetbox audit list")
    trail.record(ACCEPTED, host=host, reason=reason[:500], by=caller())
    return ExitCode.OK


def _is_about(record: Record, host: str) -> bool:
    hosts = record.fields.get("hosts")
    return record.fields.get("host") == host or (isinstance(hosts, list) and host in hosts)


def _is_kind(record: Record, event: str | None) -> bool:
    return event is None or record.event == event or record.event.startswith(f"{event}_")


def _time(text: str) -> str:
    """As records have it, so that texts compare like times."""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            then = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            said = datetime.fromisoformat(text)
            then = said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--since {text!r} is no time", hint="write 30m, 12h, 7d, 2w, 2026-11-22 or 2026-11-22T14:00"
        ) from None
    return f"{then:%Y-%m-%dT%H:%M:%SZ}"
