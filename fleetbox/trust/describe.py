"""What a change says, in words, from what will be signed and from nothing else of its file.

A machine that only signs has nothing but the file; its summary was written by whoever made it.
"""

import hashlib
from collections.abc import Iterator

from tuf.api.metadata import Root, Targets

from fleetbox.hostside.release import FLOOR_TARGET, ReleaseInvalid, decode_custom, encode_floor
from fleetbox.trust.change import Change, Place
from fleetbox.trust.roles import Signatories, delegated_roles, signatories_of

_SHOWN_ID = 12
_FLOORS = 100_000


def describe(change: Change) -> list[str]:
    """Lines for a person: every document, and how it differs from what is in force."""
    lines = []
    for place, metadata in sorted(change.documents.items(), key=lambda item: item[0]):
        old = change.base.get(place)
        head = f"{place.repository} {place.role} version {metadata.signed.version}"
        lines.append(f"{head}, until {metadata.signed.expires:%Y-%m-%d}")
        details = list(_details(place, metadata.signed, old.signed if old else None))
        lines += [f"  {line}" for line in details or ["the same as before, for longer"]]
    return lines


def signers_of(change: Change) -> Iterator[str]:
    """Of `describe` only who signs what from then on, where that differs."""
    for place, metadata in sorted(change.documents.items(), key=lambda item: item[0]):
        old = change.base.get(place)
        for line in _signers(metadata.signed, old.signed if old else None):
            yield f"{place.repository} {line}"


def _details(place: Place, new: Root | Targets, old: Root | Targets | None) -> Iterator[str]:
    yield from _signers(new, old)
    if isinstance(new, Targets):
        # Roles of teams are not carried: every release in force is shown, for the new one to be found.
        before = old.targets if isinstance(old, Targets) else {}
        for path, target in new.targets.items():
            if path not in before or before[path].hashes != target.hashes:
                yield f"{path} {_meaning(path, target.hashes.get('sha256', '?'))}{_narrowing(target.custom)}"
        for path in sorted(set(before) - set(new.targets)):
            yield f"without {path}"


def _signers(new: Root | Targets, old: Root | Targets | None) -> Iterator[str]:
    before = dict(_roles(old)) if old else {}
    after = dict(_roles(new))
    for role, who in after.items():
        if role not in before or _named(before[role]) != _named(who):
            was = f" (was {_named(before[role])})" if role in before else ""
            yield f"{role} is signed by {_named(who)}{was}"
    for role in sorted(set(before) - set(after)):
        yield f"nobody signs {role} any more"


def _roles(parent: Root | Targets) -> Iterator[tuple[str, Signatories]]:
    names = parent.roles if isinstance(parent, Root) else delegated_roles(parent)
    for role in names:
        yield role, signatories_of(parent, role)


def _named(who: Signatories) -> str:
    return f"{who.threshold} of {', '.join(sorted(key.keyid[:_SHOWN_ID] for key in who.keys))}"


def _meaning(path: str, sha256: str) -> str:
    if path == FLOOR_TARGET:
        return f"min_release {_floor(sha256)}"
    return f"is sha256:{sha256}"


def _floor(sha256: str) -> str:
    """Which floor has this hash: the file is not carried, and there are few that can be meant."""
    for number in range(1, _FLOORS):
        if hashlib.sha256(encode_floor(number)).hexdigest() == sha256:
            return str(number)
    return f"unknown (sha256:{sha256}): do not sign"


def _narrowing(custom: object) -> str:
    try:
        digests = decode_custom(custom)
    except ReleaseInvalid as problem:
        return f", INVALID: {problem}"
    return f", takes nothing away of {len(digests)} bundle(s)" if digests else ""
