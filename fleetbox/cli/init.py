"""`fleetbox init`: what a control machine needs once, with defaults for one operator on one machine."""

import click

from fleetbox.cli import settings
from fleetbox.cli.options import json_option, state_dir_option
from fleetbox.cli.output import print_json, say
from fleetbox.errors import ExitCode
from fleetbox.rollout.trust_trail import recorded

WARNING = """\
One key of each kind was made, and they lie beside what they sign, in {keys}.
So hosts notice what is changed on the way to them, replayed or taken back. Whoever can read that
directory can still sign anything. For production, keep root and targets elsewhere, two of three:
docs/trust.md, First set-up. Back up {trust}: without its keys, hosts must be provisioned again."""


@click.command(epilog="Example: fleetbox init")
@state_dir_option
@json_option
def init(state_dir: str | None, as_json: bool) -> ExitCode:
    """Make the keys that sign policies, and the repositories that hosts will trust.

    Does nothing where that was done before. For keys that lie elsewhere: fleetbox trust init.
    """
    chosen = settings.load(state_dir=state_dir)
    trust = recorded(chosen.state_dir)
    with trust.opened(make=True) as authority:
        there = authority.published() or bool(authority.pending())
        places = authority.places
    if there:
        say(f"trust was set up in {places.trust} before; nothing was changed")
    else:
        trust.create()
        say(WARNING.format(keys=places.keys, trust=places.trust))
    if as_json:
        print_json({"schema_version": 1, "changed": not there, "trust": str(places.trust)})
    return ExitCode.OK
