"""What people and programs read: words and progress on stderr, data on stdout, nothing else anywhere.

A terminal that says TERM=dumb counts as no terminal here, although rich treats it as one.
"""

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

from fleetbox.errors import ExitCode, FleetboxError, UsageError

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(stream: TextIO) -> bool:
    """Whether a person with a capable terminal reads `stream`."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def wants_colour(stream: TextIO) -> bool:
    """Colour only for a terminal, and never against NO_COLOR (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def console() -> "Console":
    """The console on stderr: live only on a terminal, markup and highlighting off as host text is hostile."""
    from rich.console import Console  # noqa: PLC0415 (30 ms that a plain command must not pay)

    return Console(
        file=sys.stderr,
        force_terminal=is_terminal(sys.stderr),
        no_color=not wants_colour(sys.stderr),
        markup=False,
        highlight=False,
    )


def say(line: str) -> None:
    """One line of words for a person, on stderr."""
    click.echo(line, err=True)


def print_json(data: Any) -> None:
    """One JSON document on stdout, indented, keys in the order given."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def render_error(error: FleetboxError) -> str:
    """The problem on one line, the hint on another; an invalid policy as all of its violations."""
    if error.exit_code is ExitCode.POLICY_INVALID:
        from fleetbox.policy.errors import PolicyInvalid, render_violations  # noqa: PLC0415 (imports pydantic)

        if isinstance(error, PolicyInvalid):
            return render_violations(error.violations).rstrip("\n")
    lines = [f"fleetbox: error: {error.message}"]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return "\n".join(lines)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before hosts change. Raises UsageError on "no", and without a terminal and without `yes`."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{question} There is no terminal to ask on.", hint="add --yes to go ahead")
    if not click.confirm(question, err=True):
        raise UsageError("not confirmed; nothing was changed")
