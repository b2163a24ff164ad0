"""`fleetbox trust`: who may say what hosts run. What each verb is for, in order: docs/trust.md."""

from collections.abc import Callable

import click

from fleetbox.cli import settings, trust_anchor, trust_keys
from fleetbox.cli.options import json_option, state_dir_option, yes_trust_option
from fleetbox.cli.output import confirm, print_json, say
from fleetbox.cli.passphrases import asker
from fleetbox.cli.trust_words import proposal_json, status_json, status_lines, tell
from fleetbox.errors import ExitCode
from fleetbox.rollout.trust_trail import recorded
from fleetbox.trust import Trust, Unsigned
from fleetbox.trust.roles import Signatories
from fleetbox.trust.status import status as status_of


@click.group(epilog="Example: fleetbox trust status")
def trust() -> None:
    """Show and change who may say what hosts run."""


for command in (*trust_keys.COMMANDS, trust_anchor.anchor):
    trust.add_command(command)


@trust.command(
    epilog="Example: fleetbox trust init --root-key a.pub --root-key b.pub --root-key c.pub "
    "--root-threshold 2 --policy-key d.pub --policy-key e.pub --policy-key f.pub --policy-threshold 2"
)
@click.option(
    "--root-key", "root_keys", multiple=True, metavar="KEY", help="Signs who signs what; repeatable."
)
@click.option(
    "--root-threshold", type=click.IntRange(1), default=1, show_default=True, help="How many it takes."
)
@click.option("--policy-key", "policy_keys", multiple=True, metavar="KEY", help="Signs releases; repeatable.")
@click.option(
    "--policy-threshold", type=click.IntRange(1), default=1, show_default=True, help="How many it takes."
)
@trust_keys.passphrase_option
@state_dir_option
@json_option
def init(
    *,
    root_keys: tuple[str, ...],
    root_threshold: int,
    policy_keys: tuple[str, ...],
    policy_threshold: int,
    passphrase_fd: int | None,
    state_dir: str | None,
    as_json: bool,
) -> ExitCode:
    """Set up trust with keys that lie elsewhere; those of a kind that is not given are made here.

    A KEY is the PEM file of a public key, or a URI (file2:, hsm:, hv:). Signatures that need a key from
    elsewhere are added by fleetbox trust sign.
    """
    authority = recorded(settings.load(state_dir=state_dir).state_dir)
    secret = asker(passphrase_fd)
    root = [trust_keys.public_key(key, secret) for key in root_keys]
    policy = [trust_keys.public_key(key, secret) for key in policy_keys]
    proposal = authority.create(
        Signatories(tuple(found.key for found in root), root_threshold) if root else None,
        Signatories(tuple(found.key for found in policy), policy_threshold) if policy else None,
    )
    trust_keys.remember(authority, [*root, *policy])
    return tell(proposal, as_json=as_json)


@trust.command(epilog="Example: fleetbox trust status --json")
@state_dir_option
@json_option
def status(state_dir: str | None, as_json: bool) -> ExitCode:
    """Show roles, keys, thresholds, expiries, and changes that wait for signatures."""
    with Trust(settings.load(state_dir=state_dir).state_dir).opened() as authority:
        found = status_of(authority)
    if as_json:
        print_json(status_json(found))
    else:
        for line in status_lines(found):
            click.echo(line)
    expired = any(role.state == "expired" for role in found.roles)
    return ExitCode.TRUST_REFUSED if expired or not (found.roles or found.pending) else ExitCode.OK


@trust.command("min-release", epilog="Example: fleetbox trust min-release 12")
@click.argument("number", type=click.IntRange(1))
@yes_trust_option
@state_dir_option
@json_option
def min_release(number: int, yes: bool, state_dir: str | None, as_json: bool) -> ExitCode:
    """Let no release below NUMBER be assigned any more; hosts keep the highest floor that they have seen."""
    authority = recorded(settings.load(state_dir=state_dir).state_dir)
    confirm(f"Refuse every release below {number} from now on? A floor cannot be lowered.", yes=yes)
    return tell_of(lambda: authority.set_min_release(number), f"no release below {number}", as_json=as_json)


@trust.command(epilog="Example: fleetbox trust refresh")
@state_dir_option
@json_option
def refresh(state_dir: str | None, as_json: bool) -> ExitCode:
    """Sign again what expires soon; every push does it, a timer should where pushes are rare."""
    proposal = recorded(settings.load(state_dir=state_dir).state_dir).refresh()
    if proposal is not None:
        return tell(proposal, as_json=as_json)
    say("what is signed online holds for a while again; nothing that is signed offline expires soon")
    if as_json:
        print_json({"schema_version": 1, "published": True, "change": None})
    return ExitCode.OK


@trust.command("catch-up", epilog="Example: fleetbox trust catch-up")
@yes_trust_option
@state_dir_option
@json_option
def catch_up(yes: bool, state_dir: str | None, as_json: bool) -> ExitCode:
    """After an older backup was restored: go on above all that hosts have seen since it was made.

    Skips 10,000 versions, generations and release numbers. To be run on the one machine that pushes, before
    the next push; what needs keys from elsewhere waits for their signatures. No host is contacted.
    """
    authority = recorded(settings.load(state_dir=state_dir).state_dir)
    confirm("Sign everything anew, above what hosts have seen?", yes=yes)
    proposals = authority.catch_up()
    say("published: what is signed online, 10,000 versions on")
    for proposal in proposals:
        tell(proposal, as_json=False)
    if any(not proposal.published for proposal in proposals):
        say("until then, hosts that have seen newer versions of these refuse what is sent")
    if as_json:
        print_json({"schema_version": 1, "changes": [proposal_json(proposal) for proposal in proposals]})
    return ExitCode.OK


@trust.command(epilog="Example: fleetbox trust drop 5f2c0a9be1d4")
@click.argument("identity", metavar="ID")
@yes_trust_option
@state_dir_option
def drop(identity: str, yes: bool, state_dir: str | None) -> ExitCode:
    """Give up a change that waits for signatures; signatures that were made elsewhere are of no use then."""
    authority = recorded(settings.load(state_dir=state_dir).state_dir)
    confirm(f"Give up change {identity}?", yes=yes)
    say(f"dropped: {authority.drop(identity).summary}")
    return ExitCode.OK


def tell_of(act: Callable[[], None], done: str, *, as_json: bool) -> ExitCode:
    """Do something that either is published or waits for signatures, and say which."""
    try:
        act()
    except Unsigned as unsigned:
        return tell(unsigned.proposal, as_json=as_json)
    say(f"published: {done}")
    if as_json:
        print_json({"schema_version": 1, "published": True, "summary": done})
    return ExitCode.OK
