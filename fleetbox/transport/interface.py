"""What a way to reach a host must offer, and what it may assume of a host.

`Endpoint` is a shape, not a class: an inventory's `Host` has it, and this package need not know inventories.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fleetbox.errors import ApplyFailed
from fleetbox.hostside.forced import AS_ROOT

# Answers are one JSON object; a host that sends more than this is broken or hostile (8 MiB is the bundle's
# own limit, and no answer is larger than a bundle).
STDOUT_LIMIT = 8 * 1024 * 1024
STDERR_LIMIT = 256 * 1024
CONNECT_TIMEOUT = 15.0


class Endpoint(Protocol):
    """How to reach one host; read-only."""

    @property
    def name(self) -> str: ...
    @property
    def connection(self) -> str:
        """`local` or `ssh`."""

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int | None: ...
    @property
    def user(self) -> str | None: ...
    @property
    def identity_file(self) -> str | None: ...
    @property
    def ssh_args(self) -> tuple[str, ...]:
        """Words for ssh's command line, as the inventory spells them; still to be judged."""


@dataclass(frozen=True)
class Completed:
    """A command that ended: its exit status (128+n for signal n) and what it wrote, within the limits."""

    rc: int
    stdout: bytes
    stderr: bytes

    @property
    def words(self) -> str:
        """The last line of stderr, safe to show: what a failed command says last is why it failed."""
        lines = [line for line in clean(self.stderr).split("\n") if line.strip()]
        return lines[-1].strip() if lines else f"exit status {self.rc}, without a word"


class Transport(Protocol):
    """An open way to one host. Not shared between threads."""

    @property
    def is_root(self) -> bool:
        """Whether commands run as root without sudo."""

    @property
    def local_address(self) -> str | None:
        """This machine's address as the host sees it; None where it cannot be told (local, or by a jump)."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Completed:
        """Run one command to its end, within `timeout` seconds.

        Raises ApplyFailed when it does not end in time, the connection breaks or it says too much: the
        command may have had its effect. Raises Unreachable when it was never started.
        """

    def close(self) -> None:
        """Let go of the host; safe to call twice."""


def run_as_root(
    transport: Transport, argv: Sequence[str], *, stdin: bytes = b"", timeout: float
) -> Completed:
    """`Transport.run` as root, by `sudo -n` where the login is another. A password is never asked for."""
    if transport.is_root:
        return transport.run(argv, stdin=stdin, timeout=timeout)
    completed = transport.run([*AS_ROOT, *argv], stdin=stdin, timeout=timeout)
    if completed.rc == 1 and b"sudo: a password is required" in completed.stderr:
        raise ApplyFailed(
            "sudo asks for a password",
            hint="let the login run sudo without one (NOPASSWD); fleetbox never sends passwords",
        )
    if completed.rc == 127 and b"sudo" in completed.stderr:
        raise ApplyFailed("there is no sudo on the host", hint="install sudo, or log in as root")
    return completed


def clean(data: bytes | str, *, limit: int = 2000) -> str:
    """Text from the other side with nothing a terminal would obey: printable characters and newlines."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text[-limit:])
