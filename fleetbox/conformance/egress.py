"""The peer of the egress check: a port on this machine that accepts and hangs up while a host is asked."""

import socket
import threading
from types import TracebackType


class Peer:
    """Context manager; `name` is ADDR:PORT. The address is the one by which the host sees this machine."""

    def __init__(self, address: str) -> None:
        self._server = socket.create_server(
            (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        )
        port = self._server.getsockname()[1]
        self.name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self._thread = threading.Thread(target=self._answer, name="egress-peer", daemon=True)

    def __enter__(self) -> "Peer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        # shutdown, because close alone does not wake a thread in accept
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            connection.close()
