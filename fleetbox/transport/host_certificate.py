"""Host certificates: whether a certificate authority that we know vouches for this host, now.

paramiko negotiates them and proves that the host holds the key, but checks nothing that the certificate
says. Layout: OpenSSH's PROTOCOL.certkeys; the rules are those of sshkey_cert_check_authority.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from paramiko import Message, PKey, SSHException
from paramiko.pkey import UnknownKeyType

from fleetbox.transport.known_hosts import Entry, matches_patterns

SUFFIX = "-cert-v01@openssh.com"
_HOST_CERTIFICATE = 2
# How many fields hold the public key, by the beginning of the type's name.
_KEY_FIELDS = {"ssh-ed25519": 1, "ecdsa-sha2-": 2, "ssh-rsa": 2, "rsa-sha2-": 2}


@dataclass(frozen=True)
class Certificate:
    """What a host certificate claims; nothing of it is true before `problem` says None."""

    kind: int
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical_options: bytes
    authority: bytes
    signed: bytes
    signature: bytes


def parse(blob: bytes) -> Certificate:
    """Read a certificate. Raises ValueError for anything that is not one."""
    message = Message(blob)
    key_type = message.get_text()
    fields = [count for name, count in _KEY_FIELDS.items() if key_type.startswith(name)]
    if not key_type.endswith(SUFFIX) or not fields:
        raise ValueError(f"{key_type!r} is not a certificate type")
    for _ in range(1 + fields[0]):  # the nonce, and the key
        message.get_string()
    message.get_int64()  # serial
    kind = message.get_int()
    message.get_string()  # key id
    principals = Message(message.get_string())
    names = []
    while principals.get_remainder():
        names.append(principals.get_text())
    after, before = message.get_int64(), message.get_int64()
    critical, _extensions, _reserved = (message.get_string() for _ in range(3))
    authority = message.get_string()
    signed = message.get_so_far()
    signature = message.get_string()
    inner = Message(signature)
    # paramiko forgives a length that leads beyond the end; a certificate has one encoding.
    if signed + _string(_string(inner.get_string()) + _string(inner.get_string())) != blob:
        raise ValueError("its lengths do not add up")
    return Certificate(kind, tuple(names), after, before, critical, authority, signed, signature)


def _string(data: bytes) -> bytes:
    """RFC 4251's string."""
    return len(data).to_bytes(4, "big") + data


def problem(blob: bytes, name: str, known: Sequence[Entry], revoked: Sequence[Entry]) -> str | None:
    """Why the certificate does not prove that this is `name` (without port), or None when it does.

    `known` are the authorities for that name; `revoked` the `@revoked` lines, which may name an authority.
    """
    try:
        certificate = parse(blob)
    except (ValueError, SSHException) as error:
        return f"it cannot be read ({error})"
    rules = (
        (certificate.authority in {entry.blob for entry in known}, "its authority is not in known_hosts"),
        (certificate.authority not in {entry.blob for entry in revoked}, "its authority is revoked"),
        (certificate.kind == _HOST_CERTIFICATE, "it is one for users, not for hosts"),
        (matches_patterns(certificate.principals, name), f"it is not for {name}"),
        (certificate.valid_after <= time.time() < certificate.valid_before, "it is not valid at this time"),
        (not certificate.critical_options, "it has a critical option that is not understood"),
        (_signed_by_authority(certificate), "its signature is wrong"),
    )
    return next((reason for holds, reason in rules if not holds), None)


def certified_key(blob: bytes) -> bytes:
    """The plain public key that a certificate is about, as bytes that compare. Raises as PKey does."""
    return PKey.from_type_string(Message(blob).get_text().removesuffix(SUFFIX), blob).asbytes()


def _signed_by_authority(certificate: Certificate) -> bool:
    try:
        authority = PKey.from_type_string(Message(certificate.authority).get_text(), certificate.authority)
        return bool(authority.verify_ssh_sig(certificate.signed, Message(certificate.signature)))
    except (UnknownKeyType, SSHException, ValueError):
        return False
