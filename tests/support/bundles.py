"""Small bundles, right in every respect unless a test asks otherwise, and without the compiler."""

import hashlib
import zlib
from typing import Any, NamedTuple

from fleetbox.hostside import bundle, manifest, ustar

CHECKS = [{"id": "FBX-SBX-001", "params": {}}, {"id": "FBX-ENV-001", "params": {}}]
FILTER = bytes([6, 0, 0, 0, 0, 0, 0xFF, 0x7F])  # one instruction: allow


class Built(NamedTuple):
    """A bundle's bytes and its name."""

    digest: str
    tar: bytes

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")


def plan(words: str = "end") -> bytes:
    """A launch plan's envelope round `words`, which the launcher alone would look into."""
    payload = words.encode() + b"\0"
    return b"fleetbox-launch-plan\0" + b"1\0%d\0%08x\0" % (len(payload), zlib.crc32(payload)) + payload


def artifacts(name: str = "base", others: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The files of a bundle whose plans differ by the policies' names."""
    directories = {"linux": name, **{f"linux/policies/{other}": other for other in others}}
    files = {f"{directory}/launch.plan": plan(policy) for directory, policy in directories.items()}
    files |= {f"{directory}/seccomp-x86_64-unix.bpf": FILTER for directory in directories}
    return files


def describe(
    files: dict[str, bytes], name: str = "base", others: tuple[str, ...] = (), **fields: Any
) -> dict[str, Any]:
    """The manifest of `files`; `fields` replace top-level ones."""
    policies = [
        {
            "name": policy,
            "digest": "sha256:" + hashlib.sha256(policy.encode()).hexdigest(),
            "mode": "workspace-write",
            "network": "none",
            "checks": CHECKS,
        }
        for policy in (name, *others)
    ]
    listed = [
        {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for path, data in sorted(files.items())
    ]
    whole = {
        "schema_version": 1,
        "compiler": "0.1.0",
        "default_policy": name,
        "policies": policies,
        "artifacts": listed,
    }
    return {**whole, **fields}


def pack(members: list[tuple[str, bytes]]) -> Built:
    """Any members as a tar of its own digest."""
    tar = ustar.write(members)
    return Built(bundle.digest_of(tar), tar)


def build(
    name: str = "base", others: tuple[str, ...] = (), *, extra: dict[str, bytes] | None = None
) -> Built:
    """A whole valid bundle; another `name` is another digest."""
    files = {**artifacts(name, others), **(extra or {})}
    described = manifest.encode(describe(files, name, others))
    return pack([("manifest.json", described), *sorted(files.items())])
