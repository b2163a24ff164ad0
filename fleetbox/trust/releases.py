"""The releases of the policy repository, and the floor below which none may be assigned."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tuf.api.metadata import Metadata, Targets

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.hostside.release import (
    FILE_LIMIT,
    FLOOR_TARGET,
    NUMBER_MAX,
    ReleaseInvalid,
    ReleaseName,
    decode_custom,
    decode_floor,
    release_name,
    release_target,
)
from fleetbox.trust import durable
from fleetbox.trust.publish import target_path
from fleetbox.trust.view import View


class Release(NamedTuple):
    """A signed bundle. `not_narrower_than`: digests of those of which it takes no access away."""

    name: ReleaseName
    digest: str
    length: int
    not_narrower_than: tuple[str, ...]


def floor_of(folder: Path, targets: Targets) -> int:
    """The lowest number that may be assigned; `folder` is that of the targets. Raises TrustRefused."""
    try:
        return decode_floor(durable.read(target_path(folder, targets.targets[FLOOR_TARGET]), FILE_LIMIT))
    except (OSError, KeyError, ReleaseInvalid) as problem:
        raise TrustRefused(
            f"the floor {FLOOR_TARGET} cannot be read: {problem}", hint="restore the state directory"
        ) from problem


def releases_of(roles: Mapping[str, Metadata[Targets]]) -> dict[ReleaseName, Release]:
    """All releases in force, by name."""
    return {release.name: release for metadata in roles.values() for release in _releases(metadata.signed)}


def last_number(view: View) -> int:
    """The highest number that a release has; 0 before the first."""
    return max((name.number for name in releases_of(view.delegated())), default=0)


def next_name(team: str, last: int) -> ReleaseName:
    """The name of the next release. Raises UsageError when numbers have run out."""
    if last >= NUMBER_MAX:
        raise UsageError(
            f"there is no release number above {NUMBER_MAX}",
            hint="set trust up anew in another state directory, and provision the hosts again",
        )
    return ReleaseName(team, last + 1)


def forget_below(floor: int, targets: Targets) -> None:
    """Drop releases that may not be assigned any more, except the newest, which keeps the numbers growing."""
    names = {path: release_name(path) for path in targets.targets}
    newest = max((name.number for name in names.values()), default=0)
    for path, name in names.items():
        if name.number < min(floor, newest):
            del targets.targets[path]


def refusals(
    wanted: Mapping[str, tuple[ReleaseName, str]], releases: Mapping[ReleaseName, Release], floor: int
) -> tuple[str, ...]:
    """Why these assignments (host: release, digest) may not be signed; empty when they may."""
    return tuple(dict.fromkeys(_refusals(wanted, releases, floor)))


def _refusals(
    wanted: Mapping[str, tuple[ReleaseName, str]], releases: Mapping[ReleaseName, Release], floor: int
) -> Iterator[str]:
    for name, digest in wanted.values():
        shown = release_target(name)
        if name not in releases:
            yield f"{shown} was not signed"
        elif releases[name].digest != digest:
            yield f"{shown} is {releases[name].digest}, not {digest}"
        elif name.number < floor:
            yield f"{shown} is below the floor, which is {floor}"


def _releases(targets: Targets) -> Iterator[Release]:
    for path, target in targets.targets.items():
        try:
            narrower = decode_custom(target.custom)
            digest = f"sha256:{target.hashes['sha256']}"
            yield Release(release_name(path), digest, target.length, narrower)
        except (ReleaseInvalid, KeyError) as problem:
            raise TrustRefused(f"a team signed {path!r:.100}, which is no release: {problem}") from problem
