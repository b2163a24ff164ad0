"""A real OpenSSH server on the loopback, with keys of its own: what the transport is tested against."""

import contextlib
import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
{certificate}
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
"""


def generate_key(path: Path, *words: str) -> str:
    """A new ed25519 key pair; the public half as text."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, *words], check=True)
    return Path(f"{path}.pub").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Endpoint:
    """The shape that a transport asks for."""

    port: int | None
    ssh_args: tuple[str, ...]
    name: str = "h1"
    connection: str = "ssh"
    address: str = "127.0.0.1"
    user: str | None = field(default_factory=getpass.getuser)
    identity_file: str | None = None


@dataclass(frozen=True)
class Server:
    """A running sshd; `folder` holds its keys, the key that may log in (`id`) and a matching known_hosts."""

    port: int
    folder: Path

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def endpoint(self, *options: str, identity: bool = True) -> Endpoint:
        """The server as a host: nothing but the options here and the server's own known_hosts applies."""
        words = [f"UserKnownHostsFile={self.known_hosts}", "GlobalKnownHostsFile=none", *options]
        flags = tuple(word for option in words for word in ("-o", option))
        base = ("-F", "/dev/null", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none")
        key = str(self.folder / "id") if identity else "/nonexistent"
        return Endpoint(self.port, (*flags, *base), identity_file=key)

    def force(self, command: str) -> None:
        """Whatever is asked for, the server now runs `command`: a host that does not do as it is told."""
        key = (self.folder / "id.pub").read_text()
        (self.folder / "authorized_keys").write_text(f'command="{command}" {key}')


@contextlib.contextmanager
def serve(folder: Path, *, certificate: Path | None = None) -> Iterator[Server]:
    """Run sshd until the block ends."""
    folder.mkdir(exist_ok=True)
    host_key = generate_key(folder / "host_key") if not certificate else ""
    (folder / "authorized_keys").write_text(generate_key(folder / "id"))
    server = Server(free_port(), folder)
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {host_key}" if host_key else "")
    line = f"HostCertificate {certificate}" if certificate else ""
    (folder / "sshd_config").write_text(_CONFIG.format(port=server.port, folder=folder, certificate=line))
    if os.geteuid() == 0:
        # Where sshd separates privileges; a package's start-up script would have made it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
    with (folder / "log").open("w") as log, subprocess.Popen(argv, stderr=log) as process:
        try:
            _wait_for(server.port, process)
            yield server
        finally:
            process.terminate()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, "sshd ended; see the folder's log"
        time.sleep(0.02)
    raise AssertionError("sshd does not listen")
