"""Options that several commands have, written once so that they mean the same everywhere."""

from collections.abc import Callable
from typing import Any

import click

from fleetbox.errors import FleetboxError

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def complete_hosts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of hosts and groups for a completing shell; none where the inventory cannot be read."""
    from fleetbox.cli import settings  # noqa: PLC0415 (pydantic, which a command without hosts need not load)
    from fleetbox.fleet.inventory import load  # noqa: PLC0415

    try:
        hosts = load(settings.load(inventory=context.params.get("inventory") or ()).inventory)
    except FleetboxError:
        return []
    names = {name for host in hosts for name in (host.name, *host.groups)}
    return sorted(name for name in names if name.startswith(incomplete))


inventory_option: _Decorator = click.option(
    "-i", "--inventory", multiple=True, metavar="INV", help="Inventory file, folder or host list; repeatable."
)
limit_option: _Decorator = click.option(
    "-l",
    "--limit",
    metavar="PATTERN",
    shell_complete=complete_hosts,
    help="Only these hosts and groups, as Ansible's --limit.",
)
forks_option: _Decorator = click.option(
    "-f", "--forks", type=click.IntRange(1, 500), help="Hosts at a time (default 25)."
)
state_dir_option: _Decorator = click.option(
    "--state-dir", type=click.Path(file_okay=False), help="Where journal and results are kept."
)
yes_option: _Decorator = click.option("-y", "--yes", is_flag=True, help="Do not ask before hosts change.")
yes_trust_option: _Decorator = click.option(
    "-y", "--yes", is_flag=True, help="Do not ask before what hosts trust changes."
)
json_option: _Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print data as JSON on stdout."
)
confirm_option: _Decorator = click.option(
    "--confirm-within",
    type=click.IntRange(10, 3600),
    default=60,
    show_default=True,
    metavar="S",
    help="Seconds after its checks in which a host that does not answer to a new connection goes back.",
)
unsigned_option: _Decorator = click.option(
    "--allow-unsigned",
    is_flag=True,
    help="Push unsigned where fleetbox init was not run; hosts that know whom to trust refuse it.",
)
quarantine_option: _Decorator = click.option(
    "--clear-quarantine", is_flag=True, help="Try it also where its checks failed before."
)
