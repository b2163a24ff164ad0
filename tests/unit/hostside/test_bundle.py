"""From received bytes to files: the digest first, then the tar, the manifest, and every file against it."""

import pytest

from fleetbox.hostside import bundle, manifest
from fleetbox.hostside.errors import Exit, HostError
from fleetbox.hostside.manifest import ManifestInvalid
from tests.support import bundles
from tests.support.bundles import Built


def packed(files: dict[str, bytes], described: dict[str, bytes] | None = None) -> Built:
    """A bundle of `files` whose manifest describes `described`."""
    listed = manifest.encode(bundles.describe(files if described is None else described))
    return bundles.pack([("manifest.json", listed), *sorted(files.items())])


def refused(built: Built, digest: str | None = None) -> HostError:
    with pytest.raises(HostError) as refusal:
        bundle.read(built.tar, digest or built.digest)
    return refusal.value


def test_a_good_bundle_is_read() -> None:
    built = bundles.build("base", ("other",))
    files = dict(bundle.read(built.tar, built.digest))
    assert files.keys() == {"manifest.json", *bundles.artifacts("base", ("other",))}


def test_another_digest_is_refused_before_anything_is_parsed() -> None:
    refusal = refused(Built("", b"not even a tar"), f"sha256:{'0' * 64}")
    assert (refusal.code, refusal.exit_code) == ("digest_mismatch", Exit.TAMPERED)


@pytest.mark.parametrize(
    ("built", "reason"),
    [
        (Built(bundle.digest_of(b"junk"), b"junk"), "invalid"),
        (bundles.pack([]), "files must be manifest.json"),
        (bundles.pack([("linux/launch.plan", b"")]), "files must be manifest.json"),
        (packed(bundles.artifacts() | {"linux/extra": b""}, bundles.artifacts()), "not in the manifest"),
        (packed(bundles.artifacts(), bundles.artifacts() | {"linux/z": b""}), "linux/z is missing"),
        (packed(bundles.artifacts(), bundles.artifacts() | {"linux/launch.plan": b""}), "differs"),
    ],
)
def test_a_bundle_of_the_right_digest_can_still_be_invalid(built: Built, reason: str) -> None:
    refusal = refused(built)
    assert (refusal.code, refusal.exit_code) == ("bundle_invalid", Exit.BUNDLE_INVALID)
    assert reason in refusal.message


def test_a_file_listed_once_and_sent_twice_is_refused() -> None:
    files = bundles.artifacts()
    first = manifest.encode(bundles.describe(files))
    twice = sorted([*files.items(), ("linux/launch.plan", b"other")])
    assert refused(bundles.pack([("manifest.json", first), *twice])).code == "bundle_invalid"


@pytest.mark.parametrize("name", ["/etc/passwd", "linux/../../x", "../x", "linux/a\\..\\b\n"])
def test_a_path_out_of_the_store_is_refused(name: str) -> None:
    assert refused(packed(bundles.artifacts() | {name: b""})).code == "bundle_invalid"


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("linux/launch.plan", b"#!/bin/sh", "not a launch plan"),
        ("linux/launch.plan", bundles.plan().replace(b"plan\x001\0", b"plan\x002\0"), "format"),
        ("linux/launch.plan", bundles.plan()[:-1], "truncated or damaged"),
        ("linux/launch.plan", bundles.plan() + b"\0", "truncated or damaged"),
        ("linux/launch.plan", bundles.plan().replace(b"end\0", b"enf\0"), "truncated or damaged"),
        ("linux/seccomp-x86_64-unix.bpf", b"", "not a seccomp filter"),
        ("linux/seccomp-x86_64-unix.bpf", bundles.FILTER[:-1], "not a seccomp filter"),
        ("linux/seccomp-x86_64-unix.bpf", bundles.FILTER * 4097, "not a seccomp filter"),
    ],
)
def test_what_the_launcher_would_not_begin_with_is_refused(path: str, data: bytes, reason: str) -> None:
    files = bundles.artifacts() | {path: data}
    with pytest.raises(ManifestInvalid, match=reason):
        bundle.check_for_linux(bundles.describe(files), files)


def test_a_policy_without_a_launch_plan_is_refused() -> None:
    files = bundles.artifacts("base", ("other",))
    del files["linux/policies/other/launch.plan"]
    with pytest.raises(ManifestInvalid, match="policy other has no"):
        bundle.check_for_linux(bundles.describe(files, "base", ("other",)), files)
