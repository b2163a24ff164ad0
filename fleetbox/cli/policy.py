"""`fleetbox policy`: everything about policies that needs no host. Parses, makes one call, renders."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import yaml

from fleetbox import bundle
from fleetbox.cli.options import json_option
from fleetbox.cli.output import print_json, say
from fleetbox.conformance import expect
from fleetbox.errors import ExitCode
from fleetbox.hostside.text import escape
from fleetbox.policy import PolicyInvalid, ResolvedPolicy, Violation, load_policy, schema
from fleetbox.policy.diff import Change, Effect, diff
from fleetbox.policy.explain import explain
from fleetbox.policy.words import Mutability
from fleetbox.targets import TARGETS
from fleetbox.targets.parity import PARITY
from fleetbox.targets.unenforced import row_of, values

_FILE = click.Path(path_type=Path)


def _example(line: str) -> str:
    return f"Example: {line}"


@click.group(epilog=_example("fleetbox policy lint policies/*.yml"))
def policy() -> None:
    """Lint, show, render, compare and explain policies."""


@policy.command(epilog=_example("fleetbox policy lint policies/*.yml"))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@json_option
def lint(files: tuple[Path, ...], as_json: bool) -> int:
    """Check policies and show every violation.

    All violations of every FILE are shown; exit code 3 says that there are some.
    """
    checked = {file: _check(file) for file in files}
    violations = [violation for found in checked.values() if isinstance(found, tuple) for violation in found]
    if as_json:
        print_json({"schema_version": 1, "files": [_checked(*entry) for entry in checked.items()]})
        return ExitCode.POLICY_INVALID if violations else ExitCode.OK
    for file, found in checked.items():
        if isinstance(found, ResolvedPolicy):
            click.echo(f"{escape(str(file))}: valid: {found.name} {found.digest}")
    if violations:
        raise PolicyInvalid(violations)
    return ExitCode.OK


def _check(file: Path) -> ResolvedPolicy | tuple[Violation, ...]:
    try:
        return load_policy(file)
    except PolicyInvalid as error:
        return error.violations


def _checked(file: Path, found: ResolvedPolicy | tuple[Violation, ...]) -> dict[str, object]:
    if isinstance(found, ResolvedPolicy):
        return {"file": str(file), "name": found.name, "digest": found.digest, "violations": []}
    violations = [violation.as_json() for violation in found]
    return {"file": str(file), "name": None, "digest": None, "violations": violations}


@policy.command(epilog=_example("fleetbox policy show policies/gpu-workstation.yml"))
@click.argument("file", type=_FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Print what a policy means, resolved.

    Presets are merged, defaults filled in, paths normalised; the result is a policy again.
    """
    resolved = load_policy(file)
    if as_json:
        origins = {field: resolved.origin(field) for field in sorted(resolved.explicit)}
        document = {"schema_version": 1, "digest": resolved.digest, "policy": resolved.document()}
        print_json(document | {"origins": origins})
        return
    click.echo(f"# {escape(str(file))}, resolved: {resolved.digest}")
    click.echo(yaml.safe_dump(resolved.document(), sort_keys=False, allow_unicode=False), nl=False)


@policy.command(epilog=_example("fleetbox policy digest policies/base.yml policies/offline.yml"))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@json_option
def digest(files: tuple[Path, ...], as_json: bool) -> None:
    """Print the digest of the bundle that fleetbox push-policy FILE... would send.

    Who signs a release compares it with the one that fleetbox trust sign shows: the same files and the same
    version of fleetbox make the same bundle on every machine.
    """
    policies = [load_policy(file) for file in files]
    found = bundle.build(policies, {one.name: expect.checks_for(one) for one in policies}).digest
    if as_json:
        print_json({"schema_version": 1, "digest": found, "policies": [one.name for one in policies]})
    else:
        click.echo(found)


@policy.command(epilog=_example("fleetbox policy render policies/base.yml --target bubblewrap"))
@click.argument("file", type=_FILE)
@click.option(
    "--target",
    "target_name",
    type=click.Choice(sorted(TARGETS)),
    default="bubblewrap",
    show_default=True,
    help="What to compile for.",
)
def render(file: Path, target_name: str) -> None:
    """Print what a host gets from a policy.

    Then, field by field, how far each platform enforces what FILE says.
    """
    resolved = load_policy(file)
    target = TARGETS[target_name]
    for line in target.describe(target.compile(resolved)).split("\n"):
        click.echo(escape(line))
    rows = [("field", "value", "Linux", "macOS", "note"), *_parity(resolved)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for *columns, note in rows:
        cells = (cell.ljust(width) for cell, width in zip(columns, widths, strict=True))
        click.echo(f"{'  '.join(cells)}  {note}".rstrip())


def _parity(resolved: ResolvedPolicy) -> Iterator[tuple[str, str, str, str, str]]:
    """One row for each kind of value that the policy has; entries that share a row share a line."""
    seen = set()
    for field in dict.fromkeys(row.field for row in PARITY):
        for value in values(resolved, field):
            row = row_of(field, value)
            if row not in seen:
                seen.add(row)
                yield field, row.value or "", row.linux, row.macos, row.note


@policy.command("schema", epilog=_example("fleetbox policy schema > policy.schema.json"))
def print_schema() -> None:
    """Print the JSON Schema of a policy."""
    click.echo(schema.text(), nl=False)


@policy.command("diff", epilog=_example("fleetbox policy diff policies/base.yml policies/offline.yml"))
@click.argument("before", metavar="A", type=_FILE)
@click.argument("after", metavar="B", type=_FILE)
@click.option("--detailed-exitcode", is_flag=True, help="End with 20 when there are differences.")
@json_option
def print_diff(before: Path, after: Path, detailed_exitcode: bool, as_json: bool) -> int:
    """Say what changes between two policies.

    For each change from A to B: whether it widens or narrows access, and when it takes effect.
    """
    old, new = load_policy(before), load_policy(after)
    changes = diff(old, new)
    if as_json:
        data = {"schema_version": 1, "before": old.digest, "after": new.digest}
        print_json(data | {"changes": [change.as_json() for change in changes]})
    else:
        for change in changes:
            click.echo(line_of(change))
        counts = Counter(change.effect for change in changes)
        say(", ".join(f"{counts[effect]} {effect}" for effect in Effect) if changes else "no differences")
    return ExitCode.DRIFT if changes and detailed_exitcode else ExitCode.OK


def line_of(change: Change) -> str:
    """A change in one line, for this command and for the preview of a push."""
    when = "at once" if change.mutability is Mutability.LIVE else "next launch"
    before = "(absent)" if change.before is None else change.before
    after = "(absent)" if change.after is None else change.after
    return escape(f"{change.effect:<7}  {when:<11}  {change.field}: {before} → {after}")


@policy.command("explain", epilog=_example("fleetbox policy explain policies/base.yml ~/.ssh/id_ed25519"))
@click.argument("file", type=_FILE)
@click.argument("path")
@click.option(
    "--workspace", type=_FILE, help="The workspace of the launch; by default the current directory."
)
@click.option("--home", type=_FILE, help="The home of who launches; by default yours.")
@json_option
def explain_path(file: Path, path: str, workspace: Path | None, home: Path | None, as_json: bool) -> None:
    """Say which rule decides about a path.

    The answer is what a workload under FILE may do with PATH, and which rule decides.

    PATH may be relative to the workspace, or begin with ~. Symlinks are not followed here: name the place
    that one leads to.
    """
    decision = explain(
        load_policy(file),
        path,
        workspace=Path(os.path.abspath(workspace or Path.cwd())),
        home=Path(os.path.abspath(home or Path.home())),
        tmpdir=Path(os.environ.get("TMPDIR") or "/tmp"),  # noqa: S108 - the name that a private one gets
    )
    if as_json:
        data = {"schema_version": 1, "path": path, "access": decision.access}
        print_json(data | {"rule": decision.rule, "why": decision.why})
        return
    click.echo(f"{decision.access}  {escape(path)}")
    click.echo(escape(f"  {decision.rule}: {decision.why}"))
