"""What a push sends for a host to verify: signed files of both repositories and, where needed, the bundle.

    policy/metadata/<name>  assignment/metadata/<name>    as the repository calls them: 5.snapshot.json
    policy/targets/<hash>   assignment/targets/<hash>     small signed files, called by their SHA-256
    bundle.tar                                            absent where the host has the bundle already

One tar of one encoding, as a bundle's (`ustar`): links, devices and whatever else a tar can hold have no
header here. Nothing of it is trusted and nothing is unpacked: names are looked up, never opened. Target files
go by their hash because a path in a repository may be longer than a name in a tar.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from fleetbox.hostside import manifest, release, trust_words, ustar
from fleetbox.hostside.errors import HostError

METADATA_LIMIT = 8 * 1024 * 1024  # bytes of one metadata file
COUNT_LIMIT = 600  # members; a root file for every rotation that a host may have missed, and a few more
LIMIT = 24 * 1024 * 1024 + manifest.BUNDLE_LIMIT  # bytes of all of it

_BUNDLE = "bundle.tar"
_METADATA = re.compile(r"(?:[1-9][0-9]{0,8}\.)?[A-Za-z0-9_-][A-Za-z0-9._%-]{0,80}\.json")
_TARGET = re.compile(r"[0-9a-f]{64}")


class Part(NamedTuple):
    """The files of one repository: metadata by name, targets by SHA-256 in hexadecimal digits."""

    metadata: dict[str, bytes]
    targets: dict[str, bytes]


class Delivery(NamedTuple):
    """Everything that was sent; `bundle` is None where only the signed files were."""

    policy: Part
    assignment: Part
    bundle: bytes | None = None


def part(metadata: dict[str, bytes], targets: list[bytes]) -> Part:
    """A part from its files."""
    return Part(dict(metadata), {hashlib.sha256(data).hexdigest(): data for data in targets})


def write(delivery: Delivery) -> bytes:
    """The bytes to send. Raises `HostError` `malformed` for what `read` would refuse."""
    members = dict(_members(delivery))
    if delivery.bundle is not None:
        members[_BUNDLE] = delivery.bundle
    for name, content in members.items():
        _check(name, content)
    data = ustar.write(sorted(members.items()))
    _check_size(len(data), len(members))
    return data


def receive(stdin: BinaryIO) -> Delivery:
    """The delivery on `stdin`: bounded, in memory, nothing written. Raises `HostError`."""
    return read(stdin.read(LIMIT + 1))


def read(data: bytes) -> Delivery:
    """What `write` wrote. Raises `HostError` `too_large`, or `malformed` for what `write` cannot make."""
    _check_size(len(data), 0)
    try:
        members = ustar.read(data)
    except ustar.TarInvalid as problem:
        raise _malformed(str(problem)) from None
    _check_size(len(data), len(members))
    names = [name for name, _ in members]
    if names != sorted(set(names)):
        raise _malformed("its files are not sorted by name, each once")
    found = Delivery(Part({}, {}), Part({}, {}))
    for name, content in members:
        _check(name, content)
        if name == _BUNDLE:
            found = found._replace(bundle=content)
        else:
            repository, kind, last = name.split("/")
            getattr(getattr(found, repository), kind)[last] = content
    return found


def _members(delivery: Delivery) -> Iterator[tuple[str, bytes]]:
    for repository in (release.POLICY_REPOSITORY, release.ASSIGNMENT_REPOSITORY):
        sent: Part = getattr(delivery, repository)
        for kind in Part._fields:
            files: dict[str, bytes] = getattr(sent, kind)
            yield from ((f"{repository}/{kind}/{name}", content) for name, content in files.items())


def _check(name: str, content: bytes) -> None:
    limit = _limit(name)
    if limit is None:
        raise _malformed(f"{name!r:.200} is nothing that a push sends")
    if len(content) > limit:
        raise trust_words.refused("too_large", f"{name} has {len(content)} bytes; at most {limit} are read")
    if _TARGET.fullmatch(name[-64:]) and hashlib.sha256(content).hexdigest() != name[-64:]:
        raise _malformed(f"{name} does not hold what its name says")


def _limit(name: str) -> int | None:
    """The most bytes that a member of this name may have; None for a name that no member has."""
    if name == _BUNDLE:
        return manifest.BUNDLE_LIMIT
    repository, kind, last = [*name.split("/"), "", ""][:3]
    if repository not in (release.POLICY_REPOSITORY, release.ASSIGNMENT_REPOSITORY) or name.count("/") != 2:
        return None
    if kind == "metadata" and _METADATA.fullmatch(last):
        return METADATA_LIMIT
    return release.FILE_LIMIT if kind == "targets" and _TARGET.fullmatch(last) else None


def _check_size(size: int, count: int) -> None:
    if size > LIMIT or count > COUNT_LIMIT:
        raise trust_words.refused(
            "too_large", f"the delivery has more than {LIMIT} bytes or {COUNT_LIMIT} files"
        )


def _malformed(problem: str) -> HostError:
    return trust_words.refused("malformed", f"what was sent is no delivery: {problem}")
