"""The socket below an ssh connection: a TCP connection of our own that never waits to send.

paramiko leaves Nagle's algorithm on, which against the other side's delayed acknowledgements costs 90 of a
push's 110 ms on a LAN. So TCP_NODELAY, and TCP_QUICKACK again before every read,
because the kernel forgets it.
"""

import socket

# Linux only; a Mac as control machine goes without.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


class PromptSocket(socket.socket):
    """A TCP socket that acknowledges at once."""

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        if _QUICKACK is not None:
            self.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        return super().recv(bufsize, flags)


def dial(hostname: str, port: int, family: str, timeout: float) -> PromptSocket:
    """Connect to the first address that answers. Raises OSError of the last that did not."""
    error: OSError = OSError(f"{hostname} has no address")
    wanted = _FAMILIES.get(family, socket.AF_UNSPEC)
    for found, kind, protocol, _, address in socket.getaddrinfo(hostname, port, wanted, socket.SOCK_STREAM):
        sock = PromptSocket(found, kind, protocol)
        try:
            sock.settimeout(timeout)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as failed:
            error = failed
            sock.close()
        else:
            return sock
    raise error
