"""An Ed25519 key on a PKCS #11 token, as a securesystemslib Signer.

securesystemslib has a signer for tokens that knows ECDSA alone; this one differs in the mechanism. That the
library is found by `PYKCS11LIB`, and key 2 (slot 9c of a PIV token) taken where none is named, are its rules.
"""

import os
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey

from fleetbox.errors import UsageError

_KEY_ID = "2"
_POINT = 32


class TokenSigner(Signer):
    """Signs on the token; the PIN is asked once and kept in memory."""

    def __init__(self, token: Any, key_id: bytes, public_key: SSlibKey, pin: str) -> None:
        self._token, self._key_id, self._public_key, self._pin = token, key_id, public_key, pin

    @property
    def public_key(self) -> SSlibKey:
        """The public half, as read from the token."""
        return self._public_key

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> "TokenSigner":
        """Not how these are made: `open_token` reads the public key from the token."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        """Raises what python-pkcs11 raises."""
        import pkcs11  # noqa: PLC0415 (an extra)

        with self._token.open(user_pin=self._pin) as session:
            key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, id=self._key_id)
            signature: bytes = key.sign(payload, mechanism=pkcs11.Mechanism.EDDSA)
        return Signature(self._public_key.keyid, signature.hex())


def open_token(key_id: str, label: str | None, secret: SecretsHandler) -> TokenSigner:
    """The signer for key `key_id` (a decimal number) on the token `label`, or on the only one.

    Raises UsageError, ImportError without python-pkcs11, and what that raises.
    """
    import pkcs11  # noqa: PLC0415 (an extra)

    library = os.environ.get("PYKCS11LIB")
    if not library:
        raise UsageError(
            "PYKCS11LIB does not say which library speaks to the token",
            hint="for a YubiKey: export PYKCS11LIB=/usr/lib/x86_64-linux-gnu/libykcs11.so",
        )
    if not (key_id or _KEY_ID).isdecimal():
        raise UsageError(f"{key_id!r:.80} is no number of a key on a token", hint="hsm:2?label=TOKEN")
    number = int(key_id or _KEY_ID)
    identity = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    token = pkcs11.lib(library).get_token(token_label=label, token_flags=pkcs11.TokenFlag.TOKEN_INITIALIZED)
    pin = secret(f"PIN of token {token.label}")
    with token.open(user_pin=pin) as session:
        found = session.get_key(pkcs11.ObjectClass.PUBLIC_KEY, id=identity)
        if found.key_type != pkcs11.KeyType.EC_EDWARDS:
            raise UsageError(
                f"key {number} on {token.label} is of kind {found.key_type.name}: hosts verify Ed25519 alone",
                hint="make an Ed25519 key on the token (docs/trust.md, Keys)",
            )
        point = bytes(found[pkcs11.Attribute.EC_POINT])
    # The point is an OCTET STRING by the standard of 2020, and bare bytes on some tokens.
    public = Ed25519PublicKey.from_public_bytes(point[-_POINT:])
    return TokenSigner(token, identity, SSlibKey.from_crypto(public), pin)
