"""Where signed files come from: what a push sent, or a web server.

A source gives bytes and trusts nothing. How many of them are read is decided by who asks, so an endless
answer ends at the limit.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from http.client import HTTPException, HTTPResponse
from typing import NamedTuple, Optional, Protocol
from urllib.parse import quote

from fleetbox.hostside.delivery import Delivery, Part

_CHUNK = 64 * 1024
_TIMEOUT_S = 30
_URL = re.compile(r"https?://[!-~]+")


class Source(Protocol):
    """The files of one repository. Both raise FileNotFoundError for one that is not there, else OSError."""

    def metadata(self, name: str) -> Iterable[bytes]:
        """A metadata file, `5.snapshot.json`."""

    def target(self, path: str, sha256: str, *, prefixed: bool) -> Iterable[bytes]:
        """A target of this path and hash; `prefixed`: the repository puts the hash before its name."""


class Sources(NamedTuple):
    """Both repositories, and the bundle where it came along."""

    policy: Source
    assignment: Source
    bundle: Optional[bytes] = None


class Sent(NamedTuple):
    """What a push sent of one repository."""

    part: Part

    def metadata(self, name: str) -> Iterable[bytes]:
        return _one(self.part.metadata, name)

    def target(self, path: str, sha256: str, *, prefixed: bool) -> Iterable[bytes]:
        return _one(self.part.targets, sha256)


class Web(NamedTuple):
    """A repository on a web server."""

    metadata_url: str
    targets_url: str = ""

    def metadata(self, name: str) -> Iterable[bytes]:
        return _get(f"{self.metadata_url.rstrip('/')}/{name}")

    def target(self, path: str, sha256: str, *, prefixed: bool) -> Iterable[bytes]:
        directory, slash, name = path.rpartition("/")
        last = f"{sha256}.{name}" if prefixed else name
        return _get(f"{self.targets_url.rstrip('/')}/{quote(directory + slash + last)}")


def sent(delivery: Delivery) -> Sources:
    """The sources that a push sent."""
    return Sources(Sent(delivery.policy), Sent(delivery.assignment), delivery.bundle)


def _one(files: dict[str, bytes], name: str) -> Iterable[bytes]:
    if name not in files:
        raise FileNotFoundError(name)
    return (files[name],)


def _get(url: str) -> Iterable[bytes]:
    if not _URL.fullmatch(url):
        raise OSError(f"{url!r:.200} is no http or https address")
    try:
        answer = urllib.request.urlopen(url, timeout=_TIMEOUT_S)  # noqa: S310  # the scheme was checked
    except urllib.error.HTTPError as problem:
        problem.close()
        if problem.code in (403, 404):
            raise FileNotFoundError(url) from None
        raise OSError(f"{url}: status {problem.code}") from None
    except HTTPException as problem:
        raise OSError(f"{url}: {problem}") from None
    return _chunks(answer)


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    with answer:
        try:
            while chunk := answer.read(_CHUNK):
                yield chunk
        except HTTPException as problem:
            raise OSError(f"what was sent is no HTTP: {problem!r:.200}") from None
