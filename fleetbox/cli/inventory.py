"""`fleetbox inventory`: the hosts that a push with the same options would go to."""

from dataclasses import asdict

import click

from fleetbox.cli import settings
from fleetbox.cli.options import inventory_option, json_option, limit_option
from fleetbox.cli.output import print_json
from fleetbox.fleet.inventory import Host, load


@click.group(epilog="Example: fleetbox inventory list -l gpu_vms")
def inventory() -> None:
    """Show the hosts that Ansible's inventory selects."""


@inventory.command("list", epilog="Example: fleetbox inventory list -l 'gpu_vms:!h7'")
@inventory_option
@limit_option
@json_option
def list_hosts(inventory: tuple[str, ...], limit: str | None, as_json: bool) -> None:
    """List the selected hosts: name, how they are reached, groups."""
    hosts = load(settings.load(inventory=inventory).inventory, limit)
    if as_json:
        print_json({"schema_version": 1, "hosts": [asdict(host) for host in hosts]})
        return
    width = max(len(host.name) for host in hosts)
    for host in hosts:
        click.echo(f"{host.name:<{width}}  {_way(host)}  {','.join(host.groups) or '-'}")


def _way(host: Host) -> str:
    if host.connection == "local":
        return "local"
    user = f"{host.user}@" if host.user else ""
    port = f":{host.port}" if host.port else ""
    return f"ssh {user}{host.address}{port}"
