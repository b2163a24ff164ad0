"""The keys that this machine knows: private ones that lie here, and by what URI the others are reached.

A key is named by its TUF key id; the name is for people. Public halves are not kept here but where they
count, in the metadata that the keys sign.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from securesystemslib.signer import CryptoSigner, Key, SecretsHandler, Signer

from fleetbox.errors import FleetboxError, TrustRefused, UsageError
from fleetbox.trust import durable, signers
from fleetbox.trust.places import PRIVATE_FILE, Places

_LIST = "keys.json"
_LIMIT = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,62}")


class KnownKey(NamedTuple):
    """What this machine knows of a key; `uri` is empty where the private half is somewhere else."""

    keyid: str
    name: str
    uri: str


class KeyRing:
    """The keys of one state directory. Signers are opened when first needed, and kept."""

    def __init__(self, places: Places) -> None:
        """Reads the list. Raises TrustRefused for one that was damaged."""
        self._folder = places.keys
        self._known = _decode(self._folder / _LIST)
        self._open: dict[str, Signer] = {}

    def known(self, keyid: str) -> KnownKey:
        """What is known of a key; nothing but its id for one that was never named here."""
        return self._known.get(keyid, KnownKey(keyid, "", ""))

    def create(self, name: str) -> Key:
        """Make a key that lies here, readable by this account alone and without a passphrase."""
        signer = CryptoSigner.generate_ed25519()
        key = signer.public_key
        durable.write({self._private(key.keyid): signer.private_bytes}, mode=PRIVATE_FILE)
        self._open[key.keyid] = signer
        self.remember(key, name, f"file2:{key.keyid}.pem")
        return key

    def remember(self, key: Key, name: str, uri: str = "") -> None:
        """Keep the name of a key, and how to reach it. Raises UsageError for a name that cannot be kept."""
        if name and not _NAME.fullmatch(name):
            raise UsageError(f"{name!r:.80} cannot be a key's name", hint="letters, digits and . _ @ -")
        self._known[key.keyid] = KnownKey(key.keyid, name, uri)
        self._keep()

    def forget(self, keyid: str) -> None:
        """Remove the private half, if it lies here. What a disk keeps of it is not overwritten."""
        durable.remove([self._private(keyid)])
        self._open.pop(keyid, None)
        if keyid in self._known:
            self._known[keyid] = self._known[keyid]._replace(uri="")
            self._keep()

    def use(self, uri: str, secret: SecretsHandler) -> Signer:
        """Open a key by its URI, to sign with it in this run."""
        signer = signers.open_signer(uri, secret)
        self._open[signer.public_key.keyid] = signer
        return signer

    def signers(self, keys: Iterable[Key]) -> list[Signer]:
        """Those of `keys` that can sign here and now, without a question to anybody."""
        return [signer for key in keys if (signer := self._signer(key))]

    def _signer(self, key: Key) -> Signer | None:
        for signer in self._open.values():
            if signers.same_key(signer.public_key, key):
                return signer
        uri = self.known(key.keyid).uri
        if not uri or uri.startswith("hsm:") or not self._is_here(uri):
            return None
        try:
            signer = signers.open_signer(self._absolute(uri))
        except signers.NeedsSecret:
            return None
        if not signers.same_key(signer.public_key, key):
            raise TrustRefused(f"{uri} is not the key {key.keyid[:12]} that it is to be")
        self._open[key.keyid] = signer
        return signer

    def where(self, keyid: str) -> str:
        """Where a key is, for `status`."""
        uri = self.known(keyid).uri
        return "not on this machine" if not uri else self._absolute(uri)

    def _absolute(self, uri: str) -> str:
        """A relative file is one of ours, so that a state directory can be moved."""
        scheme, _, rest = uri.partition(":")
        return f"file2:{self._folder / rest}" if scheme == "file2" else uri

    def _is_here(self, uri: str) -> bool:
        scheme, _, path = self._absolute(uri).partition(":")
        return scheme != "file2" or os.path.exists(path)

    def _private(self, keyid: str) -> Path:
        return self._folder / f"{keyid}.pem"

    def _keep(self) -> None:
        entries = [key._asdict() for key in sorted(self._known.values())]
        data = json.dumps({"schema_version": 1, "keys": entries}, indent=2) + "\n"
        durable.write({self._folder / _LIST: data.encode()}, mode=PRIVATE_FILE)


def make_key_file(path: Path, passphrase: str) -> Key:
    """Make a private key in `path` and its public half in `path`.pub, for a machine that only signs.

    An empty passphrase leaves it unencrypted. Raises UsageError where a file is there already.
    """
    public_path = path.with_name(f"{path.name}.pub")
    for place in (path, public_path):
        if os.path.lexists(place):
            raise UsageError(f"{place} is there already", hint="choose another name; no key is overwritten")
    private = Ed25519PrivateKey.generate()
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase:
        encryption = BestAvailableEncryption(passphrase.encode())
    try:
        durable.write(
            {path: private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)}, mode=0o600
        )
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        durable.write({public_path: public})
    except OSError as problem:
        raise UsageError(f"the key cannot be written to {path}: {problem.strerror}") from problem
    return signers.read_public_key(public_path)


def _decode(path: Path) -> dict[str, KnownKey]:
    try:
        entries = json.loads(durable.read(path, _LIMIT))["keys"]
        return {entry["keyid"]: KnownKey(entry["keyid"], entry["name"], entry["uri"]) for entry in entries}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, FleetboxError) as problem:
        raise TrustRefused(f"{path} was damaged: {problem}", hint="restore it from a backup") from problem
