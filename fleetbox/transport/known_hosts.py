"""OpenSSH's known_hosts, read and judged here: a pure question with four answers.

paramiko's own reader stops at `@revoked` and `@cert-authority` lines, and a skipped `@revoked` line would be
a hole. So keys stay raw bytes, and a marked line that cannot be read refuses everything.
Format: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
"""

import base64
import binascii
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from fleetbox.errors import TrustRefused


class Marker(StrEnum):
    NONE = ""
    REVOKED = "@revoked"
    CERT_AUTHORITY = "@cert-authority"


class Verdict(StrEnum):
    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Entry:
    """One line: who, with which key. `source` is `file:line`, for messages."""

    marker: Marker
    names: str
    key_type: str
    blob: bytes
    source: str

    def covers(self, name: str) -> bool:
        """Whether the line is about `name`: lower case, `[host]:port` where the port is not 22."""
        if self.names.startswith("|"):
            return _hash_matches(self.names, name)
        return matches_patterns(self.names.split(","), name)


def lookup_name(host: str, port: int) -> str:
    """How known_hosts spells a host: `[host]:port`, or the bare name on port 22."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def judge(entries: Sequence[Entry], name: str, key_type: str, blob: bytes) -> tuple[Verdict, str]:
    """What the files say of this key for this name, and the line that says it ("" for unknown).

    A revoked key stays revoked whatever else trusts it; certificate authorities vouch elsewhere.
    """
    about = [entry for entry in entries if entry.covers(name)]
    for entry in about:
        if entry.marker is Marker.REVOKED and entry.blob == blob:
            return Verdict.REVOKED, entry.source
    plain = [entry for entry in about if entry.marker is Marker.NONE]
    for entry in plain:
        if entry.blob == blob:
            return Verdict.TRUSTED, entry.source
    for entry in plain:
        if entry.key_type == key_type:
            return Verdict.CHANGED, entry.source
    return Verdict.UNKNOWN, ""


def known_types(entries: Sequence[Entry], name: str) -> list[str]:
    """The key types recorded for `name`, so that no other need be negotiated."""
    plain = (entry for entry in entries if entry.marker is Marker.NONE and entry.covers(name))
    return list(dict.fromkeys(entry.key_type for entry in plain))


def authorities(entries: Sequence[Entry], name: str) -> list[Entry]:
    """The certificate authorities that may vouch for `name`."""
    return [entry for entry in entries if entry.marker is Marker.CERT_AUTHORITY and entry.covers(name)]


def read_files(paths: Iterable[Path]) -> list[Entry]:
    """All entries of the files that exist. Raises TrustRefused for a file or marked line nobody can read."""
    entries: list[Entry] = []
    for path in paths:
        try:
            stat = path.stat()
            entries += _parsed(path, stat.st_mtime_ns, stat.st_size)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise TrustRefused(f"{path} cannot be read: {error.strerror}") from error
    return entries


# 500 hosts ask the same files; the time stamp and size make an edited file a new question.
@lru_cache(maxsize=16)
def _parsed(path: Path, _mtime_ns: int, _size: int) -> tuple[Entry, ...]:
    return tuple(parse(path.read_text("utf-8", "replace"), str(path)))


def parse(text: str, file: str) -> list[Entry]:
    """The entries of one file; as in OpenSSH an unmarked line that makes no sense says nothing."""
    found = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        entry = _parse_line(line, f"{file}:{number}")
        if entry is not None:
            found.append(entry)
        elif line.startswith("@"):
            raise TrustRefused(
                f"{file}:{number}: a marked line that cannot be read: it may revoke any key",
                hint="repair or remove the line (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)",
            )
    return found


def _parse_line(line: str, source: str) -> Entry | None:
    fields = line.split()
    marker = Marker.NONE
    if fields[0].startswith("@"):
        if fields[0] not in (Marker.REVOKED, Marker.CERT_AUTHORITY):
            return None
        marker = Marker(fields.pop(0))
    if len(fields) < 3:
        return None
    names, key_type, encoded = fields[:3]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    if blob[4 : 4 + len(key_type)] != key_type.encode() or blob[:4] != len(key_type).to_bytes(4, "big"):
        return None
    return Entry(marker, names, key_type, blob, source)


def _hash_matches(hashed: str, name: str) -> bool:
    """`|1|salt|HMAC-SHA1(salt, name)`, both in base64."""
    parts = hashed.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, expected = (base64.b64decode(part, validate=True) for part in parts[2:])
    except binascii.Error:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), hashlib.sha1), expected)


def matches_patterns(patterns: Iterable[str], name: str) -> bool:
    """OpenSSH's pattern list: `*`, `?`, and `!` which beats every other match."""
    found = False
    for pattern in patterns:
        if _pattern(pattern.lstrip("!").lower()).fullmatch(name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    # `[host]:22` is a literal here, so fnmatch's character classes have to be quoted away.
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))


def fingerprint(blob: bytes) -> str:
    """As ssh-keygen -l prints it: `SHA256:` and base64 without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
