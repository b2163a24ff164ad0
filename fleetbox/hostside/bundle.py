"""The bytes of a bundle: its name, what is in it, and whether this program can use it.

Everything received is hostile until `read` has returned: the digest is compared before a byte is parsed,
and every file is compared with the manifest before one is written.
"""

from __future__ import annotations

import hashlib
import struct

from fleetbox.hostside import manifest, paths, ustar
from fleetbox.hostside.errors import Exit, HostError
from fleetbox.hostside.manifest import Manifest, ManifestInvalid
from fleetbox.hostside.records import LAUNCH_PLAN, FrameInvalid

_SECCOMP_INSTRUCTION = struct.calcsize("HBBI")
_SECCOMP_INSTRUCTIONS_MAX = 4096  # the kernel's BPF_MAXINSNS

Files = list[tuple[str, bytes]]


def digest_of(data: bytes) -> str:
    """`sha256:<hex>`, the name of a bundle."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def read(data: bytes, digest: str) -> Files:
    """All files of the bundle, the manifest first; `digest` is the one it must have.

    Raises `HostError`: `digest_mismatch` (exit 6), else `bundle_invalid` (exit 3).
    """
    found = digest_of(data)
    if found != digest:
        raise HostError(
            "digest_mismatch",
            f"the bundle received is {found}, not {digest}",
            hint="push again; if it happens twice, something on the way changes what is sent",
            exit_code=Exit.TAMPERED,
        )
    try:
        files = ustar.read(data)
        _check(files)
    except (ustar.TarInvalid, ManifestInvalid) as problem:
        raise invalid(str(problem)) from None
    return files


def invalid(reason: str) -> HostError:
    """The refusal of a bundle that has the right digest and is still not one."""
    return HostError(
        "bundle_invalid",
        f"the bundle is invalid: {reason}",
        hint="build it with the fleetbox version that set up this host, or run the hostside role again",
        exit_code=Exit.BUNDLE_INVALID,
    )


def check_for_linux(contents: Manifest, files: dict[str, bytes]) -> None:
    """Check that every policy has a launch plan and filters that a launcher can begin with.

    What the operations of a plan mean is the launcher's to judge. Raises `ManifestInvalid`.
    """
    for policy in contents["policies"]:
        directory = manifest.policy_directory(contents, policy["name"])
        plan = f"{directory}/{paths.LAUNCH_PLAN}"
        if plan not in files:
            raise ManifestInvalid(f"policy {policy['name']} has no {plan}")
        _check_plan(plan, files[plan])
    for path, data in files.items():
        if path.startswith(f"{paths.LINUX_DIR}/") and path.endswith(".bpf"):
            _check_filter(path, data)


def _check(files: Files) -> None:
    names = [name for name, _ in files]
    if not names or names[0] != paths.MANIFEST or names[1:] != sorted(set(names[1:])):
        raise ManifestInvalid(f"files must be {paths.MANIFEST}, then the artifacts by name, each once")
    contents = manifest.decode(files[0][1])
    found = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files[1:]}
    manifest.check_files(contents, found)


def _check_plan(path: str, data: bytes) -> None:
    try:
        LAUNCH_PLAN.payload(data)
    except FrameInvalid as problem:
        raise ManifestInvalid(f"{path}: {problem}") from None


def _check_filter(path: str, data: bytes) -> None:
    instructions, rest = divmod(len(data), _SECCOMP_INSTRUCTION)
    if rest or not 1 <= instructions <= _SECCOMP_INSTRUCTIONS_MAX:
        raise ManifestInvalid(f"{path} is not a seccomp filter")
