"""What TUF leaves to us: whether a signed assignment of a signed release is one that this host takes.

Pure: values in, nothing or a refusal out. Each rule says in docs/host-trust.md what it is against.
"""

from __future__ import annotations

from collections.abc import Collection

from fleetbox.hostside import release, trust_words
from fleetbox.hostside.floor import Floor
from fleetbox.hostside.release import Assignment, ReleaseName


def check_host(assignment: Assignment, host_id: str) -> None:
    """The file that was signed for a host's path also names that host. Raises `HostError` `wrong_host`."""
    if assignment.host != host_id:
        raise trust_words.refused(
            "wrong_host", f"the assignment is for {assignment.host!r:.100}; this host is {host_id!r}"
        )


def check_team(name: ReleaseName, teams: Collection[str]) -> None:
    """Raises `HostError` `wrong_team`."""
    if name.team not in teams:
        raise trust_words.refused(
            "wrong_team",
            f"the release is of team {name.team}; this host takes those of {', '.join(sorted(teams))}",
        )


def check_generation(assignment: Assignment, floor: Floor) -> None:
    """Higher than the last one accepted, or that very one again. Raises `HostError` `replayed`."""
    if assignment.generation > floor.generation:
        return
    again = (floor.generation, floor.release, floor.digest)
    if (assignment.generation, assignment.release, assignment.digest) != again:
        raise trust_words.refused(
            "replayed",
            f"generation {assignment.generation} is not higher than {floor.generation}, which this host has"
            f" had with {floor.release}",
            floor=floor.public(),
        )


def check_min_release(name: ReleaseName, floor: Floor) -> None:
    """Raises `HostError` `below_min_release`."""
    if name.number < floor.min_release:
        raise trust_words.refused(
            "below_min_release",
            f"{release.release_target(name)} is below min_release, which is {floor.min_release}",
            floor=floor.public(),
        )


def check_digest(assignment: Assignment, sha256: str) -> None:
    """Both repositories mean the same bundle. Raises `HostError` `digest_mismatch`."""
    if assignment.digest != f"sha256:{sha256}":
        raise trust_words.refused(
            "digest_mismatch",
            f"the assignment says that {assignment.release} is {assignment.digest}; it is sha256:{sha256}",
        )
