"""The verbs of `fleetbox trust` that are about keys: make, add, replace, take away, sign with."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click
from securesystemslib.signer import Key

from fleetbox.cli import settings
from fleetbox.cli.options import json_option, state_dir_option, yes_trust_option
from fleetbox.cli.output import confirm, print_json, say
from fleetbox.cli.passphrases import asker, new_passphrase
from fleetbox.cli.trust_words import tell, tell_elsewhere
from fleetbox.errors import ExitCode, UsageError
from fleetbox.rollout.trust_trail import recorded
from fleetbox.trust import Authority, Proposal, Trust, ceremony, change, durable, keys, signers
from fleetbox.trust.describe import describe
from fleetbox.trust.draft import Draft
from fleetbox.trust.places import PRIVATE_FILE, Places
from fleetbox.trust.roles import Signatories
from fleetbox.trust.trust import open_keys

_SHORTEST_ID = 6

passphrase_option = click.option(
    "--passphrase-fd",
    type=click.IntRange(0),
    metavar="N",
    help="Read the passphrase or PIN from descriptor N.",
)
_key_option = click.option(
    "--key",
    "uris",
    multiple=True,
    metavar="URI",
    help="A key to sign with: file2:PATH, hsm:ID, ...; repeatable.",
)


class Found(NamedTuple):
    """A key as it was named on the command line; `uri` is empty for a file with its public half."""

    key: Key
    name: str
    uri: str


def public_key(text: str, secret: Callable[[str], str]) -> Found:
    """The key that KEY names: a PEM file, or a URI. Raises UsageError, TrustRefused."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme in signers.SCHEMES:
        # As seen from any directory: it is kept.
        uri = f"file2:{Path(rest).absolute()}" if scheme == "file2" else text
        return Found(signers.open_signer(uri, secret).public_key, _name(Path(rest)), uri)
    return Found(signers.read_public_key(Path(text)), _name(Path(text)), "")


def remember(trust: Trust, found: Sequence[Found]) -> None:
    """Keep the names of keys, and how to reach them."""
    with trust.opened() as authority:
        for one in found:
            authority.ring.remember(*one)


@click.command("new-key", epilog="Example: fleetbox trust new-key /media/stick/root-1.pem")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--no-passphrase", is_flag=True, help="Leave it unencrypted.")
@passphrase_option
@json_option
def new_key(file: Path, no_passphrase: bool, passphrase_fd: int | None, as_json: bool) -> ExitCode:
    """Make a key: the private half in FILE, encrypted, the public half in FILE.pub; change nothing else."""
    passphrase = "" if no_passphrase else new_passphrase(passphrase_fd)
    if not passphrase and not no_passphrase:
        raise UsageError("the passphrase is empty", hint="--no-passphrase says that this is meant")
    key = keys.make_key_file(file, passphrase)
    say(f"key {key.keyid[:12]}: keep {file} with its holder, and give {file}.pub to the control machine")
    if as_json:
        print_json({"schema_version": 1, "keyid": key.keyid, "private": str(file), "public": f"{file}.pub"})
    return ExitCode.OK


@click.command(
    "add-key", epilog="Example: fleetbox trust add-key carol.pub --role root --role targets --threshold 2"
)
@click.argument("key", metavar="KEY")
@click.option(
    "--role", "roles", multiple=True, required=True, help="root, targets, team-NAME, policy-online, ..."
)
@click.option("--threshold", type=click.IntRange(1), help="How many keys it takes from now on.")
@passphrase_option
@yes_trust_option
@state_dir_option
@json_option
def add_key(
    *,
    key: str,
    roles: tuple[str, ...],
    threshold: int | None,
    passphrase_fd: int | None,
    yes: bool,
    state_dir: str | None,
    as_json: bool,
) -> ExitCode:
    """Let one more KEY sign roles: the PEM file of its public half, or its URI."""
    found = public_key(key, asker(passphrase_fd))
    trust = _trust(state_dir)

    def edit(draft: Draft, _authority: Authority) -> None:
        ceremony.add(draft, found.key, roles, threshold)

    summary = f"let key {_shown(found)} sign {', '.join(roles)}"
    return _change(trust, summary, edit, (found,), yes=yes, as_json=as_json)


@click.command(epilog="Example: fleetbox trust rotate policy-online")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="[NEW]", default="")
@passphrase_option
@yes_trust_option
@state_dir_option
@json_option
def rotate(
    *, old: str, new: str, passphrase_fd: int | None, yes: bool, state_dir: str | None, as_json: bool
) -> ExitCode:
    """Put key NEW in the place of OLD, wherever OLD signs; without NEW, one that is made here.

    OLD is the name of a key or the beginning of its id. What lies here of it is removed then.
    """
    found = public_key(new, asker(passphrase_fd)) if new else None
    trust = _trust(state_dir)
    keyid, name = _existing(trust, old)

    def edit(draft: Draft, authority: Authority) -> None:
        if keyid not in ceremony.keys_of(draft):
            raise UsageError(f"key {old} signs nothing any more")
        ceremony.replace(draft, keyid, found.key if found else authority.ring.create(name or "made-here"))

    into = _shown(found) if found else "a new one, made here"
    return _change(
        trust, f"replace key {old} by {into}", edit, (found,) if found else (), yes=yes, as_json=as_json
    )


@click.command(epilog="Example: fleetbox trust revoke carol")
@click.argument("key", metavar="KEY")
@yes_trust_option
@state_dir_option
@json_option
def revoke(*, key: str, yes: bool, state_dir: str | None, as_json: bool) -> ExitCode:
    """Let KEY sign nothing any more: it was lost, stolen, or its holder has left."""
    trust = _trust(state_dir)
    keyid, _ = _existing(trust, key)

    def edit(draft: Draft, _authority: Authority) -> None:
        ceremony.replace(draft, keyid, None)

    code = _change(trust, f"revoke key {key}", edit, (), yes=yes, as_json=as_json)
    say("hosts refuse the key once they have seen the new root: push to all of them, the absent ones too")
    say(
        "was it stolen? look through the releases, raise the floor above a bad one: docs/trust.md, Stolen key"
    )
    return code


@click.command(epilog="Example: fleetbox trust delegate research --key alice.pub --key bob.pub --threshold 2")
@click.argument("team")
@click.option(
    "--key", "given", multiple=True, required=True, metavar="KEY", help="PEM file or URI; repeatable."
)
@click.option("--threshold", type=click.IntRange(1), default=1, show_default=True, help="How many it takes.")
@passphrase_option
@yes_trust_option
@state_dir_option
@json_option
def delegate(
    *,
    team: str,
    given: tuple[str, ...],
    threshold: int,
    passphrase_fd: int | None,
    yes: bool,
    state_dir: str | None,
    as_json: bool,
) -> ExitCode:
    """Let keys sign the releases of TEAM, policies/TEAM/*, and nothing else; they replace the ones before."""
    found = tuple(public_key(key, asker(passphrase_fd)) for key in given)
    signatories = Signatories(tuple(one.key for one in found), threshold)

    def edit(draft: Draft, _authority: Authority) -> None:
        ceremony.delegate(draft, team, signatories)

    who = ", ".join(_shown(one) for one in found)
    summary = f"let {threshold} of {who} sign policies/{team}/*"
    return _change(_trust(state_dir), summary, edit, found, yes=yes, as_json=as_json)


@click.command(epilog="Example: fleetbox trust sign 5f2c0a9be1d4.json --key file2:/media/stick/root-1.pem")
@click.argument("file", type=click.Path(path_type=Path))
@_key_option
@passphrase_option
@yes_trust_option
@state_dir_option
@json_option
def sign(
    *,
    file: Path,
    uris: tuple[str, ...],
    passphrase_fd: int | None,
    yes: bool,
    state_dir: str | None,
    as_json: bool,
) -> ExitCode:
    """Sign the change in FILE, where the key is; on the control machine, take its signatures over.

    What is shown is what will be signed, read from the documents. Once nothing is missing it is published.
    """
    trust, places = _trust(state_dir), Places(settings.load(state_dir=state_dir).state_dir)
    given = _read(file)
    for line in describe(given):
        say(line)
    here = (places.pending / f"{given.id}.json").exists()
    if not here and not uris:
        raise UsageError(
            f"change {given.id} does not wait here, and no key was given",
            hint="where a key is, add --key URI; on the control machine it was published or dropped before",
        )
    if uris:
        confirm("Sign this?", yes=yes)
    secret = asker(passphrase_fd)
    if here:
        return tell(trust.sign(given, uris, secret), as_json=as_json)
    found = open_keys(given, uris, lambda uri: signers.open_signer(uri, secret))
    signed = change.sign(given, found)
    durable.write({file: change.encode(signed)}, mode=PRIVATE_FILE)
    return tell_elsewhere(Proposal(signed, file, published=False), as_json=as_json)


COMMANDS = (new_key, add_key, rotate, revoke, delegate, sign)


def _trust(state_dir: str | None) -> Trust:
    return recorded(settings.load(state_dir=state_dir).state_dir)


def _change(
    trust: Trust,
    summary: str,
    edit: Callable[[Draft, Authority], None],
    found: Sequence[Found],
    *,
    yes: bool,
    as_json: bool,
) -> ExitCode:
    confirm(f"{summary[:1].upper()}{summary[1:]}?", yes=yes)
    proposal = trust.edit(summary, edit)
    if found:
        remember(trust, found)
    return tell(proposal, as_json=as_json)


def _existing(trust: Trust, text: str) -> tuple[str, str]:
    """Id and name of the one key in use that is called so. Raises UsageError."""
    with trust.opened() as authority:
        used = ceremony.keys_of(Draft(authority.base()))
        names = {keyid: authority.ring.known(keyid).name for keyid in used}
    found = [
        keyid
        for keyid, name in names.items()
        if name == text or (len(text) >= _SHORTEST_ID and keyid.startswith(text))
    ]
    if len(found) != 1:
        raise UsageError(
            f"{len(found) or 'no'} key(s) in use are called {text!r:.80}",
            hint="fleetbox trust status shows names and ids",
        )
    return found[0], names[found[0]]


def _read(file: Path) -> change.Change:
    try:
        return change.decode(durable.read(file, change.CHANGE_LIMIT), str(file))
    except OSError as problem:
        raise UsageError(f"{file} cannot be read: {problem.strerror}") from problem


def _name(file: Path) -> str:
    """`alice` for alice.pub, and for alice.pem.pub, as `new-key` calls it."""
    stem = file.stem.removesuffix(".pem") or file.stem
    return re.sub(r"[^A-Za-z0-9._@ -]", "", stem).lstrip("._@ -")[:60]


def _shown(found: Found) -> str:
    return f"{found.key.keyid[:12]} {found.name}".rstrip()
