"""The `fleetbox` command: parses, makes one call, renders; and turns every error into text and an exit code.

Subcommands are loaded by name from a table that also holds their short help, so that `fleetbox --help`
and completion import click alone. A command returns its `ExitCode`; returning nothing means OK.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from fleetbox import __version__
from fleetbox.errors import ExitCode, FleetboxError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _Entry(NamedTuple):
    """Where a subcommand lives, and the line that `fleetbox --help` shows for it."""

    location: str
    short_help: str


_COMMANDS = {
    "init": _Entry("fleetbox.cli.init:init", "Set this machine up: its keys, and what hosts will trust."),
    "doctor": _Entry("fleetbox.cli.doctor:doctor", "Say whether this machine, or a host, can sandbox."),
    "inventory": _Entry(
        "fleetbox.cli.inventory:inventory", "Show the hosts that Ansible's inventory selects."
    ),
    "policy": _Entry("fleetbox.cli.policy:policy", "Lint, show, render, compare and explain policies."),
    "run": _Entry("fleetbox.cli.run:run", "Try a policy here, without root and without installing."),
    "push-policy": _Entry("fleetbox.cli.push:push_policy", "Send policies to hosts and activate them."),
    "verify": _Entry("fleetbox.cli.verify:verify", "Run the checks inside the sandbox of each host."),
    "rollback": _Entry(
        "fleetbox.cli.rollback:rollback", "Activate an earlier policy again, as a new generation."
    ),
    "why": _Entry("fleetbox.cli.why:why", "Say what a host's sandbox refused, and by which rule."),
    "results": _Entry("fleetbox.cli.results:results", "List and show stored conformance results."),
    "checks": _Entry("fleetbox.cli.checks:checks", "Show the catalogue of checks."),
    "audit": _Entry("fleetbox.cli.audit:audit", "Show who changed which hosts, and prove the record whole."),
    "trust": _Entry("fleetbox.cli.trust:trust", "Show and change who may say what hosts run."),
    "completion": _Entry("fleetbox.cli.completion:completion", "Print a shell completion script."),
}


class _LazyGroup(click.Group):
    """A group that knows its commands' names and imports one only when it is run or asked for help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].location.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem  # noqa: PLC0415 (only a completing shell needs it)

        found = [name for name in _COMMANDS if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=_COMMANDS[name].short_help) for name in found] + options


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: fleetbox run --policy policies/base.yml -- bash\n\n"
    "Exit codes: 0 ok, 2 usage, 3 policy invalid, 4 unreachable, 5 apply failed, 6 trust refused, "
    "100 nonconformant, 101 coverage too low, 130 interrupted.",
)
@click.version_option(__version__, prog_name="fleetbox", message="%(prog)s %(version)s")
def cli() -> None:
    """Sandboxes for autonomous coding agents on a whole fleet: provisioned, pushed, and shown to hold."""


def invoke(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's) and return its exit code; never raises but SystemExit."""
    try:
        result = cli.main(argv, prog_name="fleetbox", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        click.echo("fleetbox: interrupted", err=True)
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except FleetboxError as error:
        from fleetbox.cli.output import render_error  # noqa: PLC0415 (may need the policy package)

        click.echo(render_error(error), err=True)
        return error.exit_code
    except BrokenPipeError:
        # The reader of a pipe has gone; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.INTERNAL
    except Exception as error:  # noqa: BLE001 (the frame: a person gets a line, not a traceback)
        return _unexpected(error)
    return result if isinstance(result, int) else ExitCode.OK


def _unexpected(error: Exception) -> int:
    if os.environ.get("FLEETBOX_DEBUG"):
        raise error
    words = " ".join(str(error).split()) or "no message"
    click.echo(f"fleetbox: internal error: {type(error).__name__}: {words}", err=True)
    click.echo("hint: run with FLEETBOX_DEBUG=1 for the traceback", err=True)
    return ExitCode.INTERNAL


def main() -> None:
    """Entry point of the `fleetbox` script."""
    # A caller may have closed them (`>&-`); Python then has None there.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    sys.exit(invoke())
