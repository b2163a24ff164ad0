"""What signed files say: which bundle a release is, which host shall have it, which releases are too old.

Two TUF repositories (docs/distribution.md). In the policy repository, whose keys may be kept offline, a
release is the target `policies/<team>/<number>.tar`, a bundle; `min_release.json` is the floor below which
no release may be assigned. In the assignment repository, whose key is online, `hosts/<host>.json` says which
release a host shall have. The control machine encodes what a host decodes, by the rules here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from fleetbox.hostside.manifest import DIGEST

POLICY_REPOSITORY = "policy"
ASSIGNMENT_REPOSITORY = "assignment"

SCHEMA_VERSION = 1
FILE_LIMIT = 16 * 1024  # bytes of an assignment or of the floor
NUMBER_MAX = 999_999_999

TEAM = re.compile(r"[a-z][a-z0-9-]{0,31}")
DEFAULT_TEAM = "default"
HOST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
FLOOR_TARGET = "min_release.json"
_RELEASE = re.compile(rf"policies/({TEAM.pattern})/([1-9][0-9]{{0,8}})\.tar")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class ReleaseInvalid(Exception):
    """A signed file does not say what it must; the text says which field and why."""


class Assignment(NamedTuple):
    """Which release a host shall have.

    `generation` only grows: a host takes none that is not higher than every one it had, so a rollback is a
    new assignment of an older release. `issued` is UTC, `2026-11-22T02:00:00Z`; a host whose clock says less
    knows that its clock is wrong.
    """

    host: str
    generation: int
    release: str
    digest: str
    issued: str


class ReleaseName(NamedTuple):
    """Whose release, and its number: one sequence over all teams, which only grows."""

    team: str
    number: int


def release_target(name: ReleaseName) -> str:
    """The target path of a release."""
    return f"policies/{name.team}/{name.number}.tar"


def release_name(target: str) -> ReleaseName:
    """What a target path of a release says. Raises `ReleaseInvalid`."""
    found = _RELEASE.fullmatch(target)
    if not found:
        raise ReleaseInvalid(f"{target!r:.100} is no release; one is called policies/<team>/<number>.tar")
    return ReleaseName(found[1], int(found[2]))


def assignment_target(host: str) -> str:
    """The target path of a host's assignment."""
    return f"hosts/{host}.json"


def encode_assignment(assignment: Assignment) -> bytes:
    """The one encoding. Raises `ReleaseInvalid` for what `decode_assignment` would refuse."""
    _check_assignment(assignment._asdict())
    return _encode(assignment._asdict())


def decode_assignment(data: bytes) -> Assignment:
    """Raises `ReleaseInvalid`."""
    fields = _decode(data, "the assignment", Assignment._fields)
    _check_assignment(fields)
    return Assignment(**fields)


def encode_floor(min_release: int) -> bytes:
    """The content of target `min_release.json`."""
    _number(min_release, "min_release")
    return _encode({"min_release": min_release})


def decode_floor(data: bytes) -> int:
    """The lowest number that a release may have. Raises `ReleaseInvalid`."""
    fields = _decode(data, FLOOR_TARGET, ("min_release",))
    return _number(fields["min_release"], "min_release")


def encode_custom(not_narrower_than: list[str]) -> dict[str, Any]:
    """What a release's target carries as TUF's `custom`.

    `not_narrower_than`: digests of bundles of which this one takes no access away. Falling back to any other
    would give a workload access that this release was to take.
    """
    return {"fleetbox": {"schema_version": SCHEMA_VERSION, "not_narrower_than": sorted(not_narrower_than)}}


def decode_custom(custom: object) -> tuple[str, ...]:
    """The digests of `not_narrower_than`; none where nothing is said. Raises `ReleaseInvalid`."""
    said = custom.get("fleetbox") if isinstance(custom, dict) else None
    if said is None:
        return ()
    if not isinstance(said, dict) or said.get("schema_version") != SCHEMA_VERSION:
        raise ReleaseInvalid("the release's custom field is not of a version that this program knows")
    digests = said.get("not_narrower_than")
    if not isinstance(digests, list) or not all(isinstance(d, str) and DIGEST.fullmatch(d) for d in digests):
        raise ReleaseInvalid("not_narrower_than must be a list of digests")
    return tuple(digests)


def _check_assignment(fields: Mapping[str, Any]) -> None:
    _text(fields["host"], "host", HOST_ID)
    _number(fields["generation"], "generation")
    release_name(_text(fields["release"], "release", _RELEASE))
    _text(fields["digest"], "digest", DIGEST)
    _text(fields["issued"], "issued", _TIME)


def _encode(fields: Mapping[str, Any]) -> bytes:
    whole = {"schema_version": SCHEMA_VERSION, **fields}
    return (json.dumps(whole, sort_keys=True, separators=(",", ":")) + "\n").encode("ascii")


def _decode(data: bytes, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    if len(data) > FILE_LIMIT:
        raise ReleaseInvalid(f"{what} is larger than {FILE_LIMIT} bytes")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise ReleaseInvalid(f"{what} is not JSON: {problem}") from None
    if not isinstance(fields, dict) or set(fields) != {"schema_version", *names}:
        raise ReleaseInvalid(f"{what} must be an object with exactly schema_version, {', '.join(names)}")
    if fields.pop("schema_version") != SCHEMA_VERSION:
        raise ReleaseInvalid(f"{what} is of a version that this program does not know")
    return fields


def _number(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= NUMBER_MAX:
        raise ReleaseInvalid(f"{name} is {value!r:.80}, not a number from 1 to {NUMBER_MAX}")
    return value


def _text(value: object, name: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ReleaseInvalid(f"{name} is {value!r:.80}, which does not match {pattern.pattern}")
    return value
