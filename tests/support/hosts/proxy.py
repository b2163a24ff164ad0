"""A caching proxy for the hosts' apt: it listens inside the lab and fetches outside.

It serves the one archive that the machine's own apt uses and answers 403 to everything else, so a host that
gets around a sandbox still reaches nothing. Packages and by-hash files never change and are kept for ever.
"""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from http import HTTPStatus
from pathlib import Path

from tests.support.hosts import namespaces, network
from tests.support.hosts.mirror import Mirror
from tests.support.hosts.trees import CACHE

FRESH_SECONDS = 3600.0
FETCH_SECONDS = 120.0


class Cache:
    """Files of an archive by the hash of their address; safe between threads and between labs."""

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        proxies = dict.fromkeys(("http", "https"), mirror.proxy) if mirror.proxy else None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))

    def get(self, url: str) -> Path:
        """The file behind an address; raise urllib's HTTPError or URLError when it cannot be fetched."""
        name = hashlib.sha256(url.encode()).hexdigest()
        kept = self._folder / name
        with self._locks[name]:
            if not self._usable(kept, url):
                self._fetch(url, kept)
        return kept

    def _usable(self, kept: Path, url: str) -> bool:
        if not kept.exists():
            return False
        constant = url.endswith(".deb") or "/by-hash/" in url
        return constant or time.time() - kept.stat().st_mtime < FRESH_SECONDS

    def _fetch(self, url: str, kept: Path) -> None:
        with self._opener.open(url, timeout=FETCH_SECONDS) as answer:
            handle, partial = tempfile.mkstemp(dir=self._folder, prefix="partial-")
            try:
                with os.fdopen(handle, "wb") as file:
                    shutil.copyfileobj(answer, file, 1 << 20)
                os.replace(partial, kept)
            finally:
                Path(partial).unlink(missing_ok=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, netns: str, mirror: Mirror) -> None:
        super().__init__((network.GATEWAY, network.PROXY_PORT), Handler, bind_and_activate=False)
        self.mirror = mirror
        self.cache = Cache(CACHE / "apt", mirror)
        self.socket.close()
        self.socket = namespaces.in_network(netns, _listener)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        upstream = self.server.mirror.upstream(self.path)
        if upstream is None:
            return self.send_error(HTTPStatus.FORBIDDEN, "not the archive of this lab")
        try:
            kept = self.server.cache.get(upstream)
        except urllib.error.HTTPError as error:
            error.close()
            return self.send_error(error.code)
        except OSError as error:
            return self.send_error(HTTPStatus.BAD_GATEWAY, explain=str(error))
        return self._send(kept)

    def _send(self, kept: Path) -> None:
        with open(kept, "rb") as file:
            status = os.fstat(file.fileno())
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", str(status.st_size))
            self.send_header("Last-Modified", self.date_time_string(status.st_mtime))
            self.end_headers()
            shutil.copyfileobj(file, self.wfile, 1 << 20)


def _listener() -> socket.socket:
    return socket.create_server((network.GATEWAY, network.PROXY_PORT), backlog=128)
