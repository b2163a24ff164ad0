"""What a host is asked to make current: a bundle that is named, or what is signed and assigned to it.

A host that was told whom to trust takes only the second. Both come as a function, because what is signed can
only be judged with the lock held.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

from fleetbox.hostside import anchors, audit, bundle, delivery, paths, store
from fleetbox.hostside.bundle import Files
from fleetbox.hostside.errors import Exit, HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State


class Terms(NamedTuple):
    """What goes for one activation.

    `not_narrower_than`: digests of bundles of which it takes no access away. `confirm_within`: seconds to
    wait for the confirmation; None to wait for none. `retry`: also what is in quarantine.
    """

    not_narrower_than: frozenset[str]
    confirm_within: int | None
    retry: bool

    @classmethod
    def of(cls, options: Namespace) -> Terms:
        """As the command line says."""
        return cls(frozenset(options.not_narrower_than), options.confirm_within, options.clear_quarantine)


class Wanted(NamedTuple):
    """What to make current. `accept` notes that it was taken over, before it is: a signed one comes once."""

    digest: str
    files: Files | None
    terms: Terms
    accept: Callable[[], None]
    said: dict[str, Any]


Choose = Callable[[State], Wanted]


def unsigned(places: Places, options: Namespace, stdin: BinaryIO) -> Choose:
    """The bundle that the command line names. Raises `HostError` `unsigned` where that is not enough."""
    refuse_unsigned(places)
    if options.digest is None:
        raise HostError("usage", "which bundle? name its digest, or send a delivery", exit_code=Exit.USAGE)
    files = store.receive(stdin, options.digest) if options.bundle else None
    return lambda _state: as_told(options.digest, files, options)


def as_told(digest: str, files: Files | None, options: Namespace) -> Wanted:
    """A bundle, on the terms of the command line."""
    return Wanted(digest, files, Terms.of(options), lambda: None, {})


def signed(places: Places, options: Namespace, stdin: BinaryIO) -> Choose:
    """What the delivery on `stdin` assigns to this host; what it takes away is signed as well."""
    if options.digest is not None or options.bundle or options.not_narrower_than:
        raise HostError("usage", "a delivery says itself what it delivers", exit_code=Exit.USAGE)
    # Imported here: they bring the TUF client along, and everything else does without.
    verify, sources = (import_module(f"fleetbox.hostside.{name}") for name in ("verify", "sources"))
    sent = sources.sent(delivery.receive(stdin))

    def choose(state: State) -> Wanted:
        verified = verify.verify(places, state, sent)
        files = None if verified.bundle is None else bundle.read(verified.bundle, verified.digest)
        terms = Terms.of(options)._replace(not_narrower_than=frozenset(verified.not_narrower_than))
        said = {"assigned": verified.generation, "release": verified.assignment.release}
        return Wanted(verified.digest, files, terms, lambda: verify.accept(state, verified), said)

    return choose


def refuse_unsigned(places: Places) -> None:
    """Raises `HostError` `unsigned` on a host that takes only what is signed."""
    if anchors.needed(places):
        raise HostError(
            "unsigned",
            "this host was told whom to trust, so it takes only what was signed and assigned to it",
            hint="push from the control machine that it trusts; are its anchors gone, run site.yml there",
            exit_code=Exit.TAMPERED,
        )


@contextmanager
def refusals_recorded(places: Places) -> Iterator[None]:
    """What is not what it must be may be an attack: that it was sent stays known."""
    try:
        yield
    except HostError as refusal:
        if refusal.exit_code == Exit.TAMPERED and os.path.isdir(places.under(paths.STATE)):
            by = os.environ.get("SUDO_USER", "")
            audit.attempt(places, "refused", code=refusal.code, message=refusal.message, by=by)
        raise
