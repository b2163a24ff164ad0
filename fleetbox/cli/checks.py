"""`fleetbox checks`: the catalogue, for people and programs."""

import textwrap

import click

from fleetbox.cli.options import json_option
from fleetbox.cli.output import print_json
from fleetbox.conformance import catalogue
from fleetbox.conformance.catalogue import Entry
from fleetbox.errors import UsageError


@click.group(epilog="Example: fleetbox checks list")
def checks() -> None:
    """Show the catalogue of checks."""


@checks.command("list", epilog="Example: fleetbox checks list")
@json_option
def list_checks(as_json: bool) -> None:
    """List all checks: id, severity, title."""
    entries = catalogue.load().values()
    if as_json:
        print_json({"schema_version": 1, "checks": [entry.model_dump(mode="json") for entry in entries]})
        return
    for entry in entries:
        click.echo(f"{entry.id}  {entry.severity:<8}  {entry.title}")


@checks.command("show", epilog="Example: fleetbox checks show FBX-NET-001")
@click.argument("check_id", metavar="ID")
@json_option
def show(check_id: str, as_json: bool) -> None:
    """Show one check: why it exists, what a pass shows, what to do about a failure."""
    entry = catalogue.load().get(check_id.upper())
    if entry is None:
        raise UsageError(f"there is no check {check_id!r}", hint="fleetbox checks list shows them")
    if as_json:
        print_json(entry.model_dump(mode="json"))
        return
    for line in _lines(entry):
        click.echo(line)


def _lines(entry: Entry) -> list[str]:
    mapped = {
        "NIST 800-53": entry.mappings.nist_800_53,
        "ATT&CK": entry.mappings.attack,
        "ATLAS": entry.mappings.atlas,
        "OWASP agentic": entry.mappings.owasp_agentic,
    }
    return [
        f"{entry.id}  {entry.title}",
        f"severity {entry.severity}, version {entry.version}, since {entry.since}",
        f"Linux {entry.platforms.linux}, macOS {entry.platforms.macos}".replace("_", " "),
        *_paragraph("Why", entry.rationale),
        *_paragraph("What a pass shows", entry.proves),
        *_paragraph("What to do about a failure", entry.remediation),
        "",
        *(f"{name}: {', '.join(ids)}" for name, ids in mapped.items() if ids),
    ]


def _paragraph(title: str, text: str) -> list[str]:
    return ["", f"{title}:", *textwrap.wrap(text, 96, initial_indent="  ", subsequent_indent="  ")]
