"""A client of the repositories: python-tuf's own, over files. It knows nothing of how they were made."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from fleetbox.hostside.release import (
    ASSIGNMENT_REPOSITORY,
    FLOOR_TARGET,
    POLICY_REPOSITORY,
    Assignment,
    assignment_target,
    decode_assignment,
    decode_floor,
)


class Files(FetcherInterface):
    """Fetches file: URLs, and remembers how many bytes that took."""

    def __init__(self) -> None:
        self.fetched: dict[str, int] = {}

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(urlsplit(url).path)
        if not path.exists():
            raise DownloadHTTPError(f"{path} is not there", 404)
        data = path.read_bytes()
        self.fetched[path.name] = len(data)
        return iter([data])


class Client:
    """One host: what it trusts and has seen lies in `home`, what it is served in `trust`."""

    def __init__(self, home: Path, trust: Path, anchor: dict[str, bytes]) -> None:
        self.home, self.trust, self.anchor, self.files = home, trust, dict(anchor), Files()

    def updater(self, repository: str, now: datetime | None = None) -> Updater:
        """Refreshed; raises what python-tuf raises."""
        metadata, targets = self.home / repository / "metadata", self.home / repository / "targets"
        for folder in (metadata, targets):
            folder.mkdir(parents=True, exist_ok=True)
        base = self.trust / repository
        updater = Updater(
            str(metadata),
            f"file://{base}/metadata",
            str(targets),
            f"file://{base}/targets",
            fetcher=self.files,
            config=UpdaterConfig(),
            bootstrap=self.anchor[repository],
        )
        if now is not None:
            updater._trusted_set.reference_time = now
        updater.refresh()
        return updater

    def target(self, repository: str, path: str, now: datetime | None = None) -> bytes | None:
        """A verified target file; None where nobody who may has signed one."""
        updater = self.updater(repository, now)
        found = updater.get_targetinfo(path)
        return None if found is None else Path(updater.download_target(found)).read_bytes()

    def floor(self, now: datetime | None = None) -> int:
        data = self.target(POLICY_REPOSITORY, FLOOR_TARGET, now)
        assert data is not None
        return decode_floor(data)

    def assignment(self, host: str, now: datetime | None = None) -> Assignment:
        data = self.target(ASSIGNMENT_REPOSITORY, assignment_target(host), now)
        assert data is not None
        return decode_assignment(data)

    def bundle(self, host: str, now: datetime | None = None) -> bytes | None:
        """What the host would run: the release of its assignment, at or above the floor."""
        assignment = self.assignment(host, now)
        return self.target(POLICY_REPOSITORY, assignment.release, now)
