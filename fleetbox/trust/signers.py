"""Who can sign: a key named by a URI, wherever it lies. The schemes are securesystemslib's.

    file2:PATH     a PKCS #8 file, encrypted or not
    hsm:ID?label=L a PKCS #11 token (PYKCS11LIB names its library)
    hv:NAME        HashiCorp Vault      gcpkms:, awskms:, azurekms:   clouds

Hosts check signatures with nothing but their Python, which leaves Ed25519: a key of another kind would sign
what no host can verify, so it is refused before it signs. securesystemslib's own PKCS #11 signer knows ECDSA
alone and its file signer no passphrase; both are done here, on the same interface.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import (
    AWSSigner,
    AzureSigner,
    CryptoSigner,
    GCPSigner,
    Key,
    SecretsHandler,
    Signer,
    SSlibKey,
    VaultSigner,
)

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.trust import durable, pkcs11_token

KEY_LIMIT = 64 * 1024
HOST_SCHEMES = ("ed25519",)
_EXTRAS = {"hsm": "hsm", "hv": "vault", "gcpkms": "gcpkms", "awskms": "awskms", "azurekms": "azurekms"}
SCHEMES = ("file2", *_EXTRAS)


class NeedsSecret(TrustRefused):
    """A key cannot be used without a passphrase or PIN, and nobody can be asked here."""


def nobody(name: str) -> str:
    """A secrets handler for where nobody can be asked."""
    raise NeedsSecret(f"a {name} is needed", hint="fleetbox trust sign FILE --key URI asks for it")


def open_signer(uri: str, secret: SecretsHandler = nobody) -> Signer:
    """The signer that `uri` names; its public key comes from the same place.

    Raises UsageError for a wrong URI, a missing library, a wrong passphrase; TrustRefused for a key that
    others can read or that hosts cannot verify; NeedsSecret.
    """
    scheme, _, rest = uri.partition(":")
    if scheme not in SCHEMES:
        raise UsageError(
            f"{uri!r:.200} names no key", hint=f"a key is SCHEME:..., one of {', '.join(SCHEMES)}"
        )
    try:
        return _OPEN[scheme](uri, rest, secret)
    except (TrustRefused, UsageError):
        raise
    except (UnsupportedLibraryError, ImportError) as problem:
        raise UsageError(
            f"keys of {scheme}: need a library that is not here: {problem}",
            hint=f"pip install 'securesystemslib[{_EXTRAS.get(scheme, 'crypto')}]'",
        ) from problem
    except Exception as problem:  # every service's own errors: securesystemslib documents none
        words = " ".join(str(problem).split()) or type(problem).__name__
        raise UsageError(f"the key {uri} cannot be used: {words:.300}") from problem


def read_public_key(path: Path) -> Key:
    """The key in a PEM file of a public key. Raises UsageError, TrustRefused."""
    try:
        return host_verifiable(SSlibKey.from_crypto(load_pem_public_key(durable.read(path, KEY_LIMIT))))
    except (OSError, ValueError, UnsupportedAlgorithm) as problem:
        raise UsageError(
            f"{path} is no public key: {problem}", hint="a PEM file that begins -----BEGIN PUBLIC KEY-----"
        ) from problem


def host_verifiable(key: Key) -> Key:
    """The key, if hosts can verify what it signs. Raises TrustRefused."""
    if key.scheme not in HOST_SCHEMES:
        raise TrustRefused(
            f"key {key.keyid[:12]} is of kind {key.scheme}: hosts verify {', '.join(HOST_SCHEMES)} alone",
            hint="docs/trust.md, Keys: which tokens and services have such keys",
        )
    return key


def same_key(one: Key, other: Key) -> bool:
    """Whether two say the same public key, whatever they call it."""
    return (one.scheme, one.keyval.get("public")) == (other.scheme, other.keyval.get("public"))


def _file(_uri: str, rest: str, secret: SecretsHandler) -> Signer:
    path = Path(rest)
    try:
        pem = durable.read(path, KEY_LIMIT)
        status = os.stat(path)
    except OSError as problem:
        raise UsageError(f"the key {path} cannot be read: {problem.strerror}") from problem
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise TrustRefused(
            f"others can read the key {path} (mode {stat.S_IMODE(status.st_mode):04o})",
            hint="if somebody may have, revoke it; else chmod 600",
        )
    return _checked(CryptoSigner(load_pem_private_key(pem, _passphrase(pem, path, secret))))


def _passphrase(pem: bytes, path: Path, secret: SecretsHandler) -> bytes | None:
    if b"ENCRYPTED" not in pem:
        return None
    return secret(f"passphrase of {path}").encode()


def _token(_uri: str, rest: str, secret: SecretsHandler) -> Signer:
    parts = urlsplit(rest)
    return _checked(pkcs11_token.open_token(parts.path, dict(parse_qsl(parts.query)).get("label"), secret))


def _imported(found: tuple[str, Key], secret: SecretsHandler) -> Signer:
    uri, key = found
    return Signer.from_priv_key_uri(uri, host_verifiable(key), secret)


def _azure(_uri: str, rest: str, secret: SecretsHandler) -> Signer:
    vault, _, name = rest.partition("/")
    return _imported(AzureSigner.import_(vault, name), secret)


def _checked(signer: Signer) -> Signer:
    host_verifiable(signer.public_key)
    return signer


_OPEN: dict[str, Callable[[str, str, SecretsHandler], Signer]] = {
    "file2": _file,
    "hsm": _token,
    "hv": lambda _, rest, secret: _imported(VaultSigner.import_(rest), secret),
    "gcpkms": lambda _, rest, secret: _imported(GCPSigner.import_(rest), secret),
    "awskms": lambda _, rest, secret: _imported(AWSSigner.import_(rest), secret),
    "azurekms": _azure,
}
