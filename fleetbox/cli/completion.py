"""`fleetbox completion`: click's own completion script, printed for the shell's start-up file."""

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from fleetbox.cli import cli

_SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command(epilog='Example: eval "$(fleetbox completion bash)"')
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(shell: str) -> None:
    """Print the completion script of SHELL."""
    click.echo(_SHELLS[shell](cli, {}, "fleetbox", "_FLEETBOX_COMPLETE").source())
