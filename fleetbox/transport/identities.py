"""Which keys to offer: the agent's and those of IdentityFile, in OpenSSH's order. Never a password.

A key file that needs a passphrase is passed over: the agent is where it belongs, and nobody is asked.
"""

import socket
from collections.abc import Iterator
from pathlib import Path

from paramiko import PasswordRequiredException, PKey, SSHException
from paramiko.agent import AgentSSH
from paramiko.pkey import PublicBlob, UnknownKeyType

from fleetbox.transport.host_certificate import certified_key
from fleetbox.transport.ssh_options import SshOptions


class _Agent(AgentSSH):
    """paramiko's agent client, on the socket that the options name rather than on SSH_AUTH_SOCK alone."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(10)
        self._socket.connect(str(path))
        self._connect(self._socket)  # type: ignore[attr-defined]  # the stubs leave it out

    def close(self) -> None:
        self._close()  # type: ignore[attr-defined]


class Identities:
    """The keys for one login; a context manager, since an agent connection is held while they are used."""

    def __init__(self, options: SshOptions) -> None:
        self._options = options
        self._agent = _open_agent(options.agent)
        self.skipped: list[str] = []

    def __enter__(self) -> "Identities":
        return self

    def __exit__(self, *_: object) -> None:
        if self._agent is not None:
            self._agent.close()

    def __iter__(self) -> Iterator[tuple[str, PKey]]:
        """Keys with the words that name them: the agent's keys first that IdentityFile names."""
        named = {blob: path for path in self._options.identity_files if (blob := _public_blob(path))}
        held = self._agent.get_keys() if self._agent else ()
        first = [key for key in held if key.asbytes() in named]
        others = [] if self._options.identities_only else [key for key in held if key not in first]
        for key in (*first, *others):
            yield f"agent key {key.fingerprint}", self._certified(key)
        offered = {key.asbytes() for key in first}
        for path in self._options.identity_files:
            key_file = self._load(path)
            if key_file is not None and key_file.asbytes() not in offered:
                yield str(path), self._certified(key_file, path)

    def _load(self, path: Path) -> PKey | None:
        if not path.is_file():
            return None
        try:
            return PKey.from_path(path)
        except (PasswordRequiredException, TypeError):  # TypeError is how cryptography says it
            self.skipped.append(f"{path} needs a passphrase (ssh-add it)")
        except (SSHException, UnknownKeyType, ValueError, OSError) as error:
            self.skipped.append(f"{path}: {error}")
        return None

    def _certified(self, key: PKey, path: Path | None = None) -> PKey:
        """The key with the certificate that belongs to it, if there is one."""
        beside = [Path(f"{path}-cert.pub")] if path else []
        for candidate in (*self._options.certificate_files, *beside):
            if candidate.is_file() and _certifies(candidate, key):
                key.load_certificate(str(candidate))
        return key


def _open_agent(path: Path | None) -> _Agent | None:
    """The agent, or None where none answers: a stale socket must not keep the key files from being tried."""
    if path is None:
        return None
    try:
        return _Agent(path)
    except (OSError, SSHException):
        return None


def _public_blob(path: Path) -> bytes | None:
    """The public half beside a private key file; IdentityFile may also name the public half itself."""
    for candidate in (Path(f"{path}.pub"), path):
        try:
            return bytes(PublicBlob.from_file(str(candidate)).key_blob)
        except (OSError, ValueError, UnicodeDecodeError):
            continue
    return None


def _certifies(certificate: Path, key: PKey) -> bool:
    try:
        blob = PublicBlob.from_file(str(certificate)).key_blob
        return certified_key(bytes(blob)) == key.asbytes()
    except (OSError, ValueError, SSHException):
        return False
