"""Which Debian archive this machine itself uses: asked of apt when needed, never written down.

Hosts see the archive's address with the scheme `http`, because that is what a caching proxy can read; the
proxy fetches with the scheme the machine's own configuration names.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from tests.support.hosts.errors import HostsError


@dataclass(frozen=True)
class Mirror:
    uri: str
    """The archive as apt knows it, ending in a slash."""
    proxy: str | None
    """The proxy that the machine's apt goes through, if any."""

    @property
    def plain_uri(self) -> str:
        """The same archive as the hosts' sources.list names it."""
        return urlsplit(self.uri)._replace(scheme="http").geturl()

    def upstream(self, url: str) -> str | None:
        """Where to fetch what a host asks for; None outside the archive."""
        if not url.startswith(self.plain_uri) or ".." in url.split("/"):
            return None
        return self.uri + url.removeprefix(self.plain_uri)


@cache
def configured() -> Mirror:
    """The main archive of the machine's own apt configuration."""
    listed = _ask(["apt-get", "indextargets", "--format", "$(REPO_URI)"])
    for uri in dict.fromkeys(listed.splitlines()):
        parts = urlsplit(uri)
        if parts.scheme in {"http", "https"} and parts.path.rstrip("/").endswith("/debian"):
            return Mirror(uri.rstrip("/") + "/", _apt_proxy(parts.scheme))
    raise HostsError(
        "this machine's apt sources name no Debian archive over http(s)",
        "hosts are built from the archive in /etc/apt/sources.list*; add one that ends in /debian",
    )


def _apt_proxy(scheme: str) -> str | None:
    answer = _ask(["apt-config", "dump", "--format", "%v%n", f"Acquire::{scheme}::Proxy"]).strip()
    return answer if answer and answer != "DIRECT" else None


def _ask(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise HostsError(f"cannot ask apt for its sources: {error}", "hosts need a Debian machine") from error
