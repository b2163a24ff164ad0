"""One set of policies, one digest, on any machine; and a host takes what is built."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from fleetbox.bundle import build
from fleetbox.errors import PolicyError, UsageError
from fleetbox.hostside import bundle as host_bundle
from fleetbox.policy import Access, ResolvedPolicy, Rule, load_policy
from fleetbox.targets import UnsupportedByTarget

REPO = Path(__file__).parents[3]
BASE = REPO / "policies" / "base.yml"
READ_ONLY = REPO / "policies" / "read-only.yml"
CHECKS = {"base": [{"id": "FBX-FS-001", "params": {"path": "/etc"}}]}

DIGEST_IN_A_PROCESS = f"""
import os, sys
from pathlib import Path
from fleetbox.bundle import build
from fleetbox.policy import load_policy
os.umask(int(sys.argv[1], 8))
policies = [load_policy(Path({str(BASE)!r})), load_policy(Path({str(READ_ONLY)!r}))]
print(build(policies, {CHECKS!r}).digest)
"""


@pytest.fixture
def base() -> ResolvedPolicy:
    return load_policy(BASE)


@pytest.fixture
def read_only() -> ResolvedPolicy:
    return load_policy(READ_ONLY)


def test_two_processes_in_different_surroundings_build_the_same_bytes(tmp_path: Path) -> None:
    def digest(umask: str, cwd: Path, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", DIGEST_IN_A_PROCESS, umask],
            cwd=cwd, env={**os.environ, "PYTHONPATH": str(REPO), **environment},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    first = digest("022", REPO, PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C", HOME="/root")
    second = digest("077", tmp_path, PYTHONHASHSEED="2", TZ="Asia/Tokyo", LC_ALL="C.UTF-8", HOME="/nowhere")
    assert first == second
    assert first.startswith("sha256:")


def test_the_digest_names_the_bytes_and_the_host_takes_them(
    base: ResolvedPolicy, read_only: ResolvedPolicy
) -> None:
    bundle = build([base, read_only], CHECKS)
    assert bundle.digest == "sha256:" + hashlib.sha256(bundle.tar).hexdigest()
    names = [name for name, _ in host_bundle.read(bundle.tar, bundle.digest)]
    assert names[0] == "manifest.json"
    assert "linux/launch.plan" in names
    assert "linux/policies/read-only/launch.plan" in names


def test_the_tar_is_an_ordinary_one_without_traces_of_a_machine(base: ResolvedPolicy) -> None:
    with tarfile.open(fileobj=io.BytesIO(build([base], {}).tar)) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == [
        "manifest.json",
        "linux/launch.plan",
        "linux/seccomp-aarch64-nounix.bpf",
        "linux/seccomp-aarch64-unix.bpf",
        "linux/seccomp-x86_64-nounix.bpf",
        "linux/seccomp-x86_64-unix.bpf",
    ]
    for member in members:
        assert (member.mode, member.uid, member.gid, member.mtime) == (0o644, 0, 0, 0)
        assert (member.uname, member.gname, member.type) == ("", "", tarfile.REGTYPE)


def test_the_manifest_says_what_was_pushed(base: ResolvedPolicy, read_only: ResolvedPolicy) -> None:
    manifest = build([read_only, base], CHECKS).manifest
    assert manifest["default_policy"] == "read-only"
    assert [(p["name"], p["digest"], p["mode"], p["network"], p["checks"]) for p in manifest["policies"]] == [
        ("read-only", read_only.digest, "read-only", "none", []),
        ("base", base.digest, "workspace-write", "none", CHECKS["base"]),
    ]


def test_another_policy_another_order_or_other_checks_is_another_digest(
    base: ResolvedPolicy, read_only: ResolvedPolicy
) -> None:
    bundles = (
        build([base], {}),
        build([base], CHECKS),
        build([base, read_only], {}),
        build([read_only, base], {}),
    )
    assert len({bundle.digest for bundle in bundles}) == len(bundles)


def test_two_policies_of_one_name_are_refused(base: ResolvedPolicy, read_only: ResolvedPolicy) -> None:
    with pytest.raises(UsageError, match="two policies are called base"):
        build([base, read_only.model_copy(update={"name": "base"})], {})


def test_one_policy_that_a_target_refuses_refuses_the_bundle(base: ResolvedPolicy, tmp_path: Path) -> None:
    file = tmp_path / "limits.yml"
    file.write_text(
        "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: limits}\nnetwork: {mode: proxy}\n"
    )
    with pytest.raises(UnsupportedByTarget):
        build([base, load_policy(file)], {})


def test_a_bundle_larger_than_a_host_takes_is_refused_here(base: ResolvedPolicy) -> None:
    rules = tuple(Rule(path=f"/data/{n}{'/long' * 80}", access=Access.READ) for n in range(500))
    filesystem = base.filesystem.model_copy(update={"rules": rules})
    large = [base.model_copy(update={"name": f"p{n}", "filesystem": filesystem}) for n in range(41)]
    with pytest.raises(PolicyError, match="a host takes"):
        build(large, {})
