"""The manifest's rules, one broken at a time."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fleetbox.hostside import manifest
from fleetbox.hostside.manifest import ManifestInvalid
from tests.support import bundles

Change = Callable[[dict[str, Any]], None]


def good() -> dict[str, Any]:
    return bundles.describe(bundles.artifacts("base", ("other",)), "base", ("other",))


def put(*path: Any) -> Change:
    """A change that sets the field at `path[:-1]` to `path[-1]`."""

    def change(value: dict[str, Any]) -> None:
        *keys, last, new = path
        found: Any = value
        for key in keys:
            found = found[key]
        found[last] = new

    return change


def test_a_good_manifest_passes_and_survives_its_encoding() -> None:
    manifest.validate(good())
    assert manifest.decode(manifest.encode(good())) == good()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put("schema_version", 2), "schema_version is 2"),
        (put("schema_version", True), "schema_version is True"),
        (put("schema_version", 1.0), "schema_version is 1.0"),
        (put("extra", 1), "manifest must be an object with exactly"),
        (put("compiler", "a\nb"), "compiler"),
        (put("policies", []), "at least one policy"),
        (put("policies", {}), "policies must be a list"),
        (put("default_policy", "nobody"), "not among the policies"),
        (put("default_policy", []), "not among the policies"),
        (put("policies", 1, "name", "base"), "each named once"),
        (put("policies", 0, "name", "../x"), "policies[0].name"),
        (put("policies", 0, "name", "-x"), "policies[0].name"),
        (put("policies", 0, "digest", "sha256:0"), "policies[0].digest"),
        (put("policies", 0, "mode", "none"), "policies[0].mode"),
        (put("policies", 0, "network", ["none"]), "policies[0].network"),
        (put("policies", 0, "checks", [{"id": "FBX-FS-1", "params": {}}]), "checks[0].id"),
        (put("policies", 0, "checks", [{"id": "FBX-FS-001", "params": 1}]), "params must be an object"),
        (put("artifacts", 0, "path", "/etc/passwd"), "artifacts[0].path"),
        (put("artifacts", 0, "path", "linux/../x"), "artifacts[0].path"),
        (put("artifacts", 0, "path", "linux/.hidden"), "artifacts[0].path"),
        (put("artifacts", 0, "path", "linux//x"), "artifacts[0].path"),
        (put("artifacts", 0, "path", "manifest.json"), "artifacts[0].path"),
        (put("artifacts", 0, "path", "linux/a\n"), "artifacts[0].path"),
        (put("artifacts", 0, "path", "linux/" + "a/" * 7 + "a"), "artifacts[0].path"),
        (put("artifacts", 0, "path", "linux/" + "/".join(["a" * 90] * 3)), "longer than"),
        (put("artifacts", 0, "sha256", "A" * 64), "artifacts[0].sha256"),
        (put("artifacts", 0, "size", -1), "artifacts[0].size"),
        (put("artifacts", 0, "size", True), "artifacts[0].size"),
        (put("artifacts", 0, "size", manifest.ARTIFACT_LIMIT + 1), "artifacts[0].size"),
        (put("artifacts", 1, "path", "linux/launch.plan"), "sorted by path, each listed once"),
        (put("artifacts", 0, "path", "linux/policies"), "both a file and a directory"),
    ],
)
def test_every_rule_is_enforced(change: Change, reason: str) -> None:
    broken = good()
    change(broken)
    if reason == "both a file and a directory":
        broken["artifacts"].sort(key=lambda entry: entry["path"])
    with pytest.raises(ManifestInvalid) as refusal:
        manifest.validate(broken)
    assert reason in refusal.value.reason


def test_too_many_artifacts_are_refused() -> None:
    broken = good()
    broken["artifacts"] *= manifest.ARTIFACT_COUNT_LIMIT
    with pytest.raises(ManifestInvalid, match="more than"):
        manifest.validate(broken)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps(good(), indent=1).encode(), id="spaces"),
        pytest.param(manifest.encode(good()).rstrip(), id="no newline"),
        pytest.param(b'{"a":1,"a":2}\n', id="a key twice"),
        pytest.param(manifest.encode(good()).decode().encode("utf-16"), id="utf-16"),
        pytest.param(b"[" * 100_000, id="deep nesting"),
        pytest.param(b"NaN\n", id="NaN"),
        pytest.param(b"\xff", id="not text"),
        pytest.param(b"null\n", id="null"),
    ],
)
def test_another_encoding_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        manifest.decode(text)
