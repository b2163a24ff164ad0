"""Is this the host we know? Strictly: an unknown key is refused like a changed one, none is ever added."""

from dataclasses import dataclass
from pathlib import Path

from paramiko import PKey

from fleetbox.errors import TrustRefused
from fleetbox.transport import host_certificate
from fleetbox.transport.known_hosts import (
    Entry,
    Marker,
    Verdict,
    authorities,
    fingerprint,
    judge,
    known_types,
    lookup_name,
    read_files,
)
from fleetbox.transport.ssh_options import SshOptions

# What paramiko can negotiate, strongest habit first; RSA keys have two signature algorithms.
_PLAIN = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_RSA = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True)
class HostKeyRule:
    """What known_hosts demands of a host. `name` is how the files spell it, `principal` without the port."""

    name: str
    principal: str
    files: tuple[Path, ...]
    entries: tuple[Entry, ...]
    allowed: frozenset[str]

    def algorithms(self) -> tuple[str, ...]:
        """What to negotiate: only what could be trusted; anything if nothing is, to name the fingerprint."""
        known = known_types(self.entries, self.name)
        plain = [name for name in _PLAIN if name in known or (name in _RSA and "ssh-rsa" in known)]
        certified = [f"{name}{host_certificate.SUFFIX}" for name in _PLAIN] if self._authorities() else []
        wanted = tuple(name for name in (*certified, *plain) or _PLAIN if name in self.allowed)
        if not wanted:
            raise TrustRefused(
                f"the keys known for {self.name} are of types that HostKeyAlgorithms does not allow",
                hint="record a key of an allowed type, or allow the type that is recorded",
            )
        return wanted

    def check(self, key: PKey) -> None:
        """Raises TrustRefused, with the fingerprint, unless the files vouch for `key`."""
        blob = key.asbytes()
        verdict, source = judge(self.entries, self.name, key.get_name(), blob)
        shown = f"{key.get_name()} {fingerprint(blob)}"
        if verdict is Verdict.REVOKED:
            raise TrustRefused(f"the host key {shown} of {self.name} is revoked ({source})")
        if verdict is Verdict.TRUSTED:
            return
        why_not = self._certificate_problem(key)
        if why_not is None:
            return
        if verdict is Verdict.CHANGED:
            raise TrustRefused(
                f"the host key of {self.name} is {shown}, not the one in {source}",
                hint=f"if the host was reinstalled: ssh-keygen -R '{self.name}', then record its new key; "
                "otherwise somebody is in between",
            )
        raise TrustRefused(
            f"the host key {shown} of {self.name} is not in known_hosts{why_not}",
            hint=f"compare the fingerprint with the host's own, then record the key in {self._file()}",
        )

    def refused_negotiation(self) -> TrustRefused:
        """The error for a host that offers no key of a type that could be trusted."""
        return TrustRefused(
            f"{self.name} offers no host key of the known types ({', '.join(self.algorithms())})",
            hint=f"if the host was reinstalled: ssh-keygen -R '{self.name}', then record its new key",
        )

    def _authorities(self) -> list[Entry]:
        return authorities(self.entries, self.name)

    def _certificate_problem(self, key: PKey) -> str | None:
        """None: a certificate proves the host. Else why not, as the end of a sentence ("" without one)."""
        if key.public_blob is None:
            return ""
        revoked = [entry for entry in self.entries if entry.marker is Marker.REVOKED]
        reason = host_certificate.problem(
            key.public_blob.key_blob, self.principal, self._authorities(), revoked
        )
        return None if reason is None else f", and its certificate is refused: {reason}"

    def _file(self) -> str:
        return str(self.files[0]) if self.files else "a known_hosts file"


def rule_for(options: SshOptions) -> HostKeyRule:
    """Read the files that the options name. Raises TrustRefused where they cannot be read."""
    principal = options.known_as or options.hostname
    return HostKeyRule(
        name=options.known_as.lower() or lookup_name(options.hostname, options.port),
        principal=principal.lower(),
        files=options.known_hosts,
        entries=tuple(read_files(options.known_hosts)),
        allowed=options.host_key_algorithms,
    )
