"""The manifest of a bundle: its format, its limits, and the one strict reading of it.

The control machine builds with these rules and a host refuses by them, so they cannot differ. A manifest
has one encoding (`encode`); bytes that say the same in another way are refused, because a bundle's digest
names bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fleetbox.hostside import paths

SCHEMA_VERSION = 1
BUNDLE_LIMIT = 8 * 1024 * 1024  # bytes of the tar
ARTIFACT_LIMIT = 1024 * 1024  # bytes of one artifact
ARTIFACT_COUNT_LIMIT = 1024

MODES = ("read-only", "workspace-write", "full-access")
NETWORKS = ("none", "proxy", "host")

# A component begins with a letter or digit: no "..", no hidden file, no option-like name.
ARTIFACT_PATH = re.compile(r"(linux|macos)(/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){1,6}")
ARTIFACT_PATH_MAX = 200
POLICY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CHECK_ID = re.compile(r"FBX-[A-Z0-9]{2,8}-[0-9]{3}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
HEX = re.compile(r"[0-9a-f]{64}")

Manifest = dict[str, Any]


class ManifestInvalid(Exception):
    """The manifest breaks a rule of the format; `reason` says which and where."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode(manifest: Mapping[str, Any]) -> bytes:
    """The only encoding of a manifest: sorted keys, no spaces, ASCII, one newline at the end."""
    return (json.dumps(manifest, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n").encode(
        "ascii"
    )


def decode(data: bytes) -> Manifest:
    """A validated manifest from its bytes. Raises `ManifestInvalid`."""
    try:
        manifest = json.loads(data)
        canonical = encode(manifest) == data
    except (ValueError, RecursionError) as problem:
        raise ManifestInvalid(f"{paths.MANIFEST} is not JSON: {problem}") from None
    if not canonical:
        raise ManifestInvalid(f"{paths.MANIFEST} is not in canonical form")
    validate(manifest)
    return manifest  # type: ignore[no-any-return]  # validate() has seen to it


def validate(manifest: object) -> None:
    """Check every field of a manifest. Raises `ManifestInvalid`; returns nothing."""
    fields = _exactly(
        manifest, "manifest", ("schema_version", "compiler", "default_policy", "policies", "artifacts")
    )
    if not _is_integer(fields["schema_version"]) or fields["schema_version"] != SCHEMA_VERSION:
        raise ManifestInvalid(
            f"schema_version is {fields['schema_version']!r}; this program knows {SCHEMA_VERSION}"
        )
    _text(fields["compiler"], "compiler", re.compile(r"[ -~]{1,100}"))
    names = [
        _policy(entry, f"policies[{i}]") for i, entry in enumerate(_list(fields["policies"], "policies"))
    ]
    if not names or len(set(names)) != len(names):
        raise ManifestInvalid("policies must be a list of at least one policy, each named once")
    if fields["default_policy"] not in names:
        raise ManifestInvalid(f"default_policy {fields['default_policy']!r} is not among the policies")
    _artifacts(fields["artifacts"])


def policy_directory(manifest: Manifest, name: str) -> str:
    """Where the launch plan of policy `name` lies in the bundle."""
    if name == manifest["default_policy"]:
        return paths.LINUX_DIR
    return f"{paths.LINUX_DIR}/{paths.POLICIES_DIR}/{name}"


def check_files(manifest: Manifest, found: Mapping[str, tuple[int, str]]) -> None:
    """Compare path → (size, sha256 hex) with what the manifest lists. Raises `ManifestInvalid`."""
    listed = {entry["path"]: (entry["size"], entry["sha256"]) for entry in manifest["artifacts"]}
    for path in sorted(listed.keys() | found.keys()):
        if path not in found:
            raise ManifestInvalid(f"{path} is missing")
        if path not in listed:
            raise ManifestInvalid(f"{path} is not in the manifest")
        if found[path] != listed[path]:
            raise ManifestInvalid(f"{path} differs from the manifest")


def _policy(entry: object, where: str) -> str:
    fields = _exactly(entry, where, ("name", "digest", "mode", "network", "checks"))
    name = _text(fields["name"], f"{where}.name", POLICY_NAME)
    _text(fields["digest"], f"{where}.digest", DIGEST)
    _one_of(fields["mode"], f"{where}.mode", MODES)
    _one_of(fields["network"], f"{where}.network", NETWORKS)
    for i, check in enumerate(_list(fields["checks"], f"{where}.checks")):
        planned = _exactly(check, f"{where}.checks[{i}]", ("id", "params"))
        _text(planned["id"], f"{where}.checks[{i}].id", CHECK_ID)
        if not isinstance(planned["params"], dict):
            raise ManifestInvalid(f"{where}.checks[{i}].params must be an object")
    return name


def _artifacts(value: object) -> None:
    entries = _list(value, "artifacts")
    if len(entries) > ARTIFACT_COUNT_LIMIT:
        raise ManifestInvalid(f"more than {ARTIFACT_COUNT_LIMIT} artifacts")
    listed = [_artifact(entry, f"artifacts[{i}]") for i, entry in enumerate(entries)]
    if listed != sorted(set(listed)):
        raise ManifestInvalid("artifacts must be sorted by path, each listed once")
    directories = {path[: path.rindex("/")] for path in listed}
    # `a/b` and `a/b/c` together cannot be laid out as files.
    inside = [path for path in listed if any(f"{d}/".startswith(f"{path}/") for d in directories)]
    if inside:
        raise ManifestInvalid(f"{inside[0]} is both a file and a directory")


def _artifact(entry: object, where: str) -> str:
    fields = _exactly(entry, where, ("path", "sha256", "size"))
    path = _text(fields["path"], f"{where}.path", ARTIFACT_PATH)
    if len(path) > ARTIFACT_PATH_MAX:
        raise ManifestInvalid(f"{where}.path is longer than {ARTIFACT_PATH_MAX} characters")
    _text(fields["sha256"], f"{where}.sha256", HEX)
    size = fields["size"]
    if not _is_integer(size) or not 0 <= size <= ARTIFACT_LIMIT:
        raise ManifestInvalid(f"{where}.size must be a number of bytes up to {ARTIFACT_LIMIT}, not {size!r}")
    return path


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _exactly(value: object, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise ManifestInvalid(f"{where} must be an object with exactly {', '.join(keys)}")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ManifestInvalid(f"{where} must be a list")
    return value


def _text(value: object, where: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ManifestInvalid(f"{where} is {value!r:.80}, which does not match {pattern.pattern}")
    return value


def _one_of(value: object, where: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ManifestInvalid(f"{where} is {value!r:.80}, not one of {', '.join(allowed)}")
