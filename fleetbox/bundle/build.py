"""The bundle that a push sends: manifest and artifacts in one tar, named by the SHA-256 of its bytes.

The same policies give the same bytes on any machine at any time: nothing in it comes from a file system, a
clock or the environment. Format and limits are the host's (`hostside/manifest.py`), which refuses by them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetbox import __version__
from fleetbox.errors import PolicyError, UsageError
from fleetbox.hostside import manifest as host_manifest
from fleetbox.hostside import paths, ustar
from fleetbox.hostside.bundle import digest_of
from fleetbox.policy import ResolvedPolicy
from fleetbox.targets import TARGETS

Checks = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Bundle:
    """What a host receives. `manifest` is what the tar holds, as data."""

    digest: str
    tar: bytes
    manifest: Mapping[str, Any]


def build(policies: Sequence[ResolvedPolicy], checks: Checks) -> Bundle:
    """Compile `policies`, the first being the default, with the planned checks of each by policy name.

    Raises UnsupportedByTarget for a policy that a target refuses, UsageError for two policies of one name,
    PolicyError for what is too large to send.
    """
    _check_names(policies)
    artifacts = dict(sorted(_artifacts(policies)))
    manifest = _manifest(policies, checks, artifacts)
    try:
        host_manifest.validate(manifest)
    except host_manifest.ManifestInvalid as invalid:
        problem = f"these policies make no valid bundle: {invalid}"
        raise PolicyError(problem, hint="push fewer policies, or smaller ones") from None
    tar = ustar.write([(paths.MANIFEST, host_manifest.encode(manifest)), *artifacts.items()])
    if len(tar) > host_manifest.BUNDLE_LIMIT:
        problem = f"the bundle has {len(tar)} bytes; a host takes {host_manifest.BUNDLE_LIMIT}"
        raise PolicyError(problem, hint="push fewer policies at once")
    return Bundle(digest_of(tar), tar, manifest)


def _check_names(policies: Sequence[ResolvedPolicy]) -> None:
    names = [policy.name for policy in policies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        hint = "give each its own metadata.name: fleetbox-run --policy picks by it"
        raise UsageError(f"two policies are called {twice[0]}", hint=hint)


def _artifacts(policies: Sequence[ResolvedPolicy]) -> Iterator[tuple[str, bytes]]:
    """Path in the bundle, and bytes. Where a policy's directory is, is the manifest's knowledge."""
    default = {"default_policy": policies[0].name}
    for policy in policies:
        directory = host_manifest.policy_directory(default, policy.name)
        for artifact in TARGETS["bubblewrap"].compile(policy):
            yield f"{directory}/{artifact.path}", artifact.data


def _manifest(
    policies: Sequence[ResolvedPolicy], checks: Checks, artifacts: Mapping[str, bytes]
) -> dict[str, Any]:
    return {
        "schema_version": host_manifest.SCHEMA_VERSION,
        "compiler": __version__,
        "default_policy": policies[0].name,
        "policies": [_policy(policy, checks) for policy in policies],
        "artifacts": [
            {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for path, data in artifacts.items()
        ],
    }


def _policy(policy: ResolvedPolicy, checks: Checks) -> dict[str, Any]:
    return {
        "name": policy.name,
        "digest": policy.digest,
        "mode": policy.mode.value,
        "network": policy.network.mode.value,
        "checks": [{"id": check["id"], "params": check["params"]} for check in checks.get(policy.name, ())],
    }
