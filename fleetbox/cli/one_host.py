"""The host that a command is about, for those that ask a single one."""

from fleetbox.cli import settings
from fleetbox.errors import UsageError
from fleetbox.fleet import inventory as fleet_inventory
from fleetbox.fleet.inventory import Host


def one_host(name: str, inventory: tuple[str, ...]) -> Host:
    """Raises UsageError where `name` is a group or a pattern of several."""
    host, *others = fleet_inventory.load(settings.load(inventory=inventory).inventory, name)
    if others:
        raise UsageError(
            f"{name!r} selects {len(others) + 1} hosts; this asks one",
            hint=f"fleetbox inventory list -l '{name}' names them",
        )
    return host
