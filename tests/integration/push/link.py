"""A link between control machine and host that ends after so many bytes, in either direction together.

`python -m tests.integration.push.link HOST BYTES KIND` forwards connections to port 22 of HOST. It says the
port it listens on, then `cut` when BYTES have passed, and how many have when its input ends. KIND:

- `blip`: all connections are lost at both ends, later ones get through again;
- `silent`: the same, and the host does not notice: its ends stay open;
- `down`: all are lost, and nothing gets through any more;
- `killed`: nothing moves until a line comes in (whoever pushes has been killed by then), then as `blip`.
"""

import socket
import struct
import sys
from contextlib import suppress
from threading import Lock, Thread

KINDS = ("blip", "silent", "down", "killed")
_RESET = struct.pack("ii", 1, 0)


class Link:
    """Counts what passes, and ends it."""

    def __init__(self, host: str, limit: int, kind: str) -> None:
        self._address, self._limit, self._kind = (host, 22), limit, kind
        self.passed = 0
        self._lock = Lock()
        self._is_cut = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []

    def serve(self, listener: socket.socket) -> None:
        """Forward every connection until the process ends."""
        while True:
            near, _ = listener.accept()
            if self._is_cut and self._kind == "down":
                near.close()
                continue
            far = socket.create_connection(self._address)
            with self._lock:
                self._pairs.append((near, far))
            for ends in ((near, far), (far, near)):
                Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    allowed = len(data) if self._is_cut else min(len(data), self._limit - self.passed)
                    self.passed += allowed
                    sink.sendall(data[:allowed])
                    if not self._is_cut and self.passed == self._limit:
                        self._cut()
            sink.shutdown(socket.SHUT_WR)

    def _cut(self) -> None:
        print("cut", flush=True)
        if self._kind == "killed":
            sys.stdin.readline()
        self._is_cut = True
        for near, far in self._pairs:
            _reset(near)
            if self._kind != "silent":
                _reset(far)


def _reset(end: socket.socket) -> None:
    """Ended so that the other side hears of it at once, and a read on this one as well."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RD)
        end.close()


def main(host: str, limit: str, kind: str) -> None:
    """Until the input ends."""
    link = Link(host, int(limit), kind)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        Thread(target=link.serve, args=(listener,), daemon=True).start()
        while sys.stdin.readline():
            pass
        print(link.passed, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
