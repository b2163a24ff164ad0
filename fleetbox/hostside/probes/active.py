"""What is in force on this host: launch plan and filters, and who may change them (FBX-POL-001)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fleetbox.hostside import manifest, paths
from fleetbox.hostside.manifest import ManifestInvalid
from fleetbox.hostside.probes.launch import Installation
from fleetbox.hostside.probes.outcome import ERROR, FAIL, PASS, Control, Verdict

READ = Control(True, "no attempt: the host program read the state itself")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NothingActive(Exception):
    """There is no policy to probe; the text says what is missing."""


class Active(NamedTuple):
    """The bytes in force; `digest` is what the launch plan says. A try-out has no manifest or bundle."""

    directory: str
    policy: str
    digest: str
    files: Mapping[str, bytes]
    manifest: manifest.Manifest | None
    bundle: str
    generation: int | None

    @property
    def checks(self) -> list[dict[str, Any]]:
        """The checks that the manifest plans for this policy."""
        entries = self.manifest["policies"] if self.manifest else []
        return next((list(entry["checks"]) for entry in entries if entry["name"] == self.policy), [])


def load(installation: Installation, policy: str | None) -> Active:
    """Read what is in force for a policy (None: the default one). Raises NothingActive."""
    try:
        if installation.plan is not None:
            return _tryout(Path(installation.plan))
        return _installed(Path(installation.state), policy)
    except (OSError, ManifestInvalid) as problem:
        raise NothingActive(str(problem)) from None


def _tryout(plan: Path) -> Active:
    files = _files(plan.parent)
    name, digest = _head(files.get(plan.name, b""))
    return Active(str(plan.parent), name, digest, files, None, "", None)


def _installed(state: Path, policy: str | None) -> Active:
    current = state / os.path.basename(paths.CURRENT)
    generation = os.path.basename(os.readlink(current))
    # Resolved once: an activation in the meantime must not mix two generations.
    root = current.resolve(strict=True)
    contents = manifest.decode((root / paths.MANIFEST).read_bytes())
    name = policy or contents["default_policy"]
    if name not in [entry["name"] for entry in contents["policies"]]:
        raise NothingActive(f"policy {name!r} is not in the active bundle")
    directory = root / manifest.policy_directory(contents, name)
    files = _files(directory)
    _, digest = _head(files.get(paths.LAUNCH_PLAN, b""))
    number = int(generation) if generation.isdigit() else None
    return Active(str(directory), name, digest, files, contents, "sha256:" + root.name, number)


def _files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


def _head(plan: bytes) -> tuple[str, str]:
    """Name and digest in the first record; that the rest is whole is the launcher's to judge."""
    fields = plan.split(b"\0", 8)
    if len(fields) < 8 or fields[4] != b"policy":
        raise NothingActive("the launch plan does not begin with its policy")
    return fields[5].decode("ascii", "replace")[:64], fields[6].decode("ascii", "replace")[:71]


def holds(active: Active, installation: Installation, uid: int, params: Mapping[str, Any]) -> Verdict:
    """FBX-POL-001. `params.digest`: the policy that must be in force."""
    expected = f"policy {params.get('digest', '')} is in force, whole, and nobody but root can change it"

    def verdict(status: str, reason: str, message: str) -> Verdict:
        return Verdict(status, reason, message, expected, {"op": "read"}, READ, READ)

    if active.digest != params.get("digest"):
        return verdict(FAIL, "digest_differs", f"{active.policy} {active.digest} is in force")
    if damaged := _damaged(active):
        return verdict(FAIL, "tampered", damaged)
    try:
        loose = _loose(active, installation, uid)
    except OSError as problem:
        return verdict(ERROR, "probe_crash", str(problem))
    if loose:
        return verdict(FAIL, "writable_state", loose)
    return verdict(PASS, "in_force", f"{active.policy} {active.digest} is in force")


def _damaged(active: Active) -> str:
    if active.manifest is None:
        return ""
    planned = next(entry for entry in active.manifest["policies"] if entry["name"] == active.policy)
    if planned["digest"] != active.digest:
        return "the manifest and the launch plan name different policies"
    directory = manifest.policy_directory(active.manifest, active.policy)
    for entry in active.manifest["artifacts"]:
        where, name = os.path.split(entry["path"])
        if where == directory:
            content = active.files.get(name, b"")
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                return f"{entry['path']} is not what was pushed"
    return ""


def _loose(active: Active, installation: Installation, uid: int) -> str:
    """The first thing in force that somebody else owns or may write, "" for none."""
    tried_out = installation.plan is not None
    owners = {0, uid} if tried_out else {0}
    above = [] if tried_out else [installation.launcher, installation.state, *_above(active, installation)]
    for path in [*above, active.directory, *(f"{active.directory}/{name}" for name in active.files)]:
        found = os.stat(path)
        if found.st_uid not in owners:
            return f"{path} belongs to uid {found.st_uid}"
        if found.st_mode & _OTHERS_WRITE:
            return f"{path} can be written by others"
    return ""


def _above(active: Active, installation: Installation) -> list[str]:
    state = os.path.realpath(installation.state)
    found, path = [], os.path.dirname(active.directory)
    while path.startswith(state + "/"):
        found.append(path)
        path = os.path.dirname(path)
    return found
