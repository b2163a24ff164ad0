"""What hosts are given of the two repositories: the files that one host needs, and the trust anchor.

Reading takes no lock. One `Published` is one state, however long it is used, and keeps what it has read.
"""

from collections.abc import Iterator
from pathlib import Path

from fleetbox.errors import UsageError
from fleetbox.hostside.delivery import Delivery, Part, part
from fleetbox.hostside.manifest import BUNDLE_LIMIT
from fleetbox.hostside.release import (
    ASSIGNMENT_REPOSITORY,
    FLOOR_TARGET,
    POLICY_REPOSITORY,
    Assignment,
    ReleaseName,
    assignment_target,
    release_name,
    release_target,
)
from fleetbox.trust import assignments, durable, marks
from fleetbox.trust.authority import not_set_up
from fleetbox.trust.places import REPOSITORIES, Places
from fleetbox.trust.publish import target_path
from fleetbox.trust.releases import Release, floor_of, releases_of
from fleetbox.trust.roles import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, team_role
from fleetbox.trust.view import View, file_name


class Published:
    """Both repositories as clients see them at the moment of opening."""

    def __init__(self, state_dir: Path) -> None:
        """Raises UsageError before anything was published, TrustRefused for damage."""
        self._places = Places(state_dir)
        folders = [self._places.metadata(repository) for repository in REPOSITORIES]
        if not all(View.exists(folder) for folder in folders):
            raise not_set_up(self._places)
        self._policy, self._assignment = (View(folder) for folder in folders)

    def anchor(self) -> dict[str, bytes]:
        """The newest root of each repository, by repository: what provisioning installs on hosts."""
        return {POLICY_REPOSITORY: self._policy.roots[-1], ASSIGNMENT_REPOSITORY: self._assignment.roots[-1]}

    @property
    def floor(self) -> int:
        """The lowest number of a release that may be assigned."""
        return floor_of(self._places.targets(POLICY_REPOSITORY), self._policy.targets().signed)

    @property
    def generation(self) -> int:
        """The highest generation that was assigned to any host."""
        return marks.of(self._assignment).generation

    @property
    def versions(self) -> tuple[int, int]:
        """Of the timestamps of both repositories: they grow with everything that is published."""
        return self._policy.timestamp.signed.version, self._assignment.timestamp.signed.version

    def releases(self) -> dict[ReleaseName, Release]:
        """All releases, by name."""
        return releases_of(self._policy.delegated())

    def bundle(self, name: ReleaseName) -> bytes:
        """The bundle of a release. Raises UsageError where there is none."""
        targets = self._policy.delegated().get(team_role(name.team))
        target = targets.signed.targets.get(release_target(name)) if targets else None
        if target is None:
            raise UsageError(f"there is no release {release_target(name)}", hint="fleetbox trust status")
        return durable.read(target_path(self._places.targets(POLICY_REPOSITORY), target), BUNDLE_LIMIT)

    def assignment(self, host: str) -> Assignment | None:
        """What a host is assigned; None for one that never was."""
        return assignments.assigned(self._places.targets(ASSIGNMENT_REPOSITORY), self._assignment, host)

    def metadata_for(self, host: str, *, policy_root: int = 1, assignment_root: int = 1) -> dict[str, bytes]:
        """The files that a host needs to verify its assignment and release, by path below `trust`.

        Given are the versions of the roots that the host trusts. The bundle itself is not among them:
        `bundle`. Raises UsageError for a host without an assignment.
        """
        assignment = self.assignment(host)
        if assignment is None:
            raise UsageError(f"{host} has no assignment", hint="push to it first")
        team = team_role(release_name(assignment.release).team)
        holder = assignments.bin_of(self._assignment, host)
        files = dict(self._metadata(POLICY_REPOSITORY, self._policy, policy_root, (team,)))
        files |= self._target(POLICY_REPOSITORY, self._policy, TARGETS, FLOOR_TARGET)
        files |= self._metadata(ASSIGNMENT_REPOSITORY, self._assignment, assignment_root, (holder,))
        return files | self._target(ASSIGNMENT_REPOSITORY, self._assignment, holder, assignment_target(host))

    def delivery_for(
        self, host: str, *, bundle: bytes | None, policy_root: int = 1, assignment_root: int = 1
    ) -> Delivery:
        """What a push sends to a host: those files, and the bundle unless the host has it (None)."""
        files = self.metadata_for(host, policy_root=policy_root, assignment_root=assignment_root)
        parts = {repository: _part(repository, files) for repository in REPOSITORIES}
        return Delivery(parts[POLICY_REPOSITORY], parts[ASSIGNMENT_REPOSITORY], bundle)

    def _metadata(
        self, repository: str, view: View, root: int, delegated: tuple[str, ...]
    ) -> Iterator[tuple[str, bytes]]:
        names = [file_name(ROOT, version) for version in range(root + 1, len(view.roots) + 1)]
        names += [file_name(TIMESTAMP), file_name(SNAPSHOT, view.snapshot.signed.version)]
        names += [view.name_of(role) for role in (TARGETS, *delegated)]
        for name in names:
            yield f"{repository}/metadata/{name}", view.read(name)

    def _target(self, repository: str, view: View, role: str, path: str) -> dict[str, bytes]:
        folder = self._places.targets(repository)
        file = target_path(folder, view.targets(role).signed.targets[path])
        return {str(file.relative_to(self._places.trust)): durable.read(file, BUNDLE_LIMIT)}


def _part(repository: str, files: dict[str, bytes]) -> Part:
    """The files of one repository, called as a delivery calls them."""
    metadata, targets = (f"{repository}/{kind}/" for kind in Part._fields)
    return part(
        {name.removeprefix(metadata): data for name, data in files.items() if name.startswith(metadata)},
        [data for name, data in files.items() if name.startswith(targets)],
    )
