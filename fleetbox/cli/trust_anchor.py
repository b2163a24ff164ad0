"""`fleetbox trust anchor`: what role `policy` installs on hosts, so that they know whom to believe.

A host that has an older root of the same chain needs no new one: it follows the chain by itself. So the
answer names every root, and a role can tell a host that is behind from one that believes somebody else.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from fleetbox.cli import settings
from fleetbox.cli.options import json_option, state_dir_option
from fleetbox.cli.output import print_json
from fleetbox.errors import ExitCode
from fleetbox.hostside import paths
from fleetbox.trust import NotSetUp, Trust

_Roots = Mapping[str, Sequence[bytes]]


@click.command(epilog="Example: fleetbox trust anchor")
@state_dir_option
@json_option
def anchor(state_dir: str | None, as_json: bool) -> ExitCode:
    """Show the newest root file of each repository, which provisioning installs on hosts.

    With --json, nothing set up is an answer and no error.
    """
    try:
        with Trust(settings.load(state_dir=state_dir).state_dir).opened() as authority:
            roots = authority.roots()
    except NotSetUp:
        if not as_json:
            raise
        roots = {}
    if as_json:
        print_json(anchor_json(roots))
    else:
        for line in anchor_lines(roots):
            click.echo(line)
    return ExitCode.OK


def anchor_json(roots: _Roots) -> dict[str, Any]:
    """For --json. `chain`: the SHA-256 of every root, the newest last, which is that of the anchor."""
    return {
        "schema_version": 1,
        "set_up": bool(roots),
        "anchors": {repository: chain[-1].decode() for repository, chain in roots.items()},
        "chain": {repository: [_sha256(root) for root in chain] for repository, chain in roots.items()},
    }


def anchor_lines(roots: _Roots) -> Iterator[str]:
    """For people, who compare it with `sha256sum` on a host: every root that a host may begin with."""
    for repository, chain in roots.items():
        yield f"{repository}: on a host {paths.anchor(repository)}"
        for version in range(len(chain), 0, -1):
            newest = "  the newest, which provisioning installs" if version == len(chain) else ""
            yield f"    version {version}  sha256 {_sha256(chain[version - 1])}{newest}"


def _sha256(root: bytes) -> str:
    return hashlib.sha256(root).hexdigest()
