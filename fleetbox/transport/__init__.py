"""Reaching a host: one open connection, one command at a time, with a limit on time and output."""

from fleetbox.errors import UsageError
from fleetbox.transport.interface import (
    CONNECT_TIMEOUT,
    Completed,
    Endpoint,
    Transport,
    clean,
    run_as_root,
)

__all__ = ["Completed", "Endpoint", "Transport", "clean", "connect", "run_as_root"]


def connect(host: Endpoint, *, timeout: float = CONNECT_TIMEOUT) -> Transport:
    """Open a connection to `host`.

    Raises Unreachable when it is down or refuses the login, TrustRefused when it is not the host we know,
    UsageError when its ssh options ask for something this program cannot do.
    """
    match host.connection:
        case "local":
            from fleetbox.transport.local import LocalTransport  # noqa: PLC0415

            return LocalTransport()
        case "ssh":
            from fleetbox.transport.ssh import connect_ssh  # noqa: PLC0415 (paramiko takes 150 ms)

            return connect_ssh(host, timeout=timeout)
        case other:
            raise UsageError(
                f"{host.name}: connection {other!r} is neither ssh nor local", hint="set ansible_connection"
            )
