"""The cache of `fleetbox run`: the user's own, whole or not there, and never through a link."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetbox.bundle import tryout
from fleetbox.errors import UsageError
from fleetbox.hostside import gpu, gpu_map, paths
from fleetbox.hostside.errors import HostError
from fleetbox.policy import ResolvedPolicy, load_policy
from fleetbox.policy.words import GpuMode
from fleetbox.targets import TARGETS, Artifact

POLICY = Path(__file__).parents[3] / "policies" / "base.yml"


@pytest.fixture
def policy() -> ResolvedPolicy:
    return load_policy(POLICY)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fleetbox" / "tryout"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_the_compiled_policy_lies_in_directories_only_its_user_can_reach(
    policy: ResolvedPolicy, cache: Path
) -> None:
    old = os.umask(0)
    try:
        plan = tryout.prepare(policy, Path("/bin/true"))
    finally:
        os.umask(old)
    assert plan.parent.parent == cache
    assert {mode(path) for path in (plan.parent, cache, cache.parent)} == {0o700}
    assert {path.name: mode(path) for path in plan.parent.iterdir() if path.name != tryout.LAUNCHER} == {
        artifact.path: 0o600 for artifact in TARGETS["bubblewrap"].compile(policy)
    }
    assert mode(plan.with_name(tryout.LAUNCHER)) == 0o700


def test_a_second_time_changes_nothing(policy: ResolvedPolicy) -> None:
    plan = tryout.prepare(policy)
    before = plan.stat()
    assert tryout.prepare(policy) == plan
    assert plan.stat() == before


def test_another_policy_goes_elsewhere(policy: ResolvedPolicy) -> None:
    other = policy.model_copy(update={"name": "other"})
    assert tryout.prepare(policy).parent != tryout.prepare(other).parent


@pytest.mark.parametrize("damage", ["truncated", "missing", "link"])
def test_a_damaged_plan_is_written_anew_and_nothing_is_written_through_a_link(
    policy: ResolvedPolicy, damage: str, tmp_path: Path
) -> None:
    plan = tryout.prepare(policy)
    whole = plan.read_bytes()
    plan.unlink()
    victim = tmp_path / "victim"
    if damage == "truncated":
        plan.write_bytes(whole[:100])
    elif damage == "link":
        victim.write_bytes(whole)
        plan.symlink_to(victim)
    assert tryout.prepare(policy) == plan
    assert not plan.is_symlink()
    assert plan.read_bytes() == whole
    assert [path.name for path in plan.parent.parent.iterdir()] == [plan.parent.name]


def test_a_directory_that_others_can_reach_is_refused(policy: ResolvedPolicy, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.parent.chmod(0o755)
    with pytest.raises(UsageError, match="not a directory that only you can reach"):
        tryout.prepare(policy)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_a_directory_of_somebody_else_is_refused(policy: ResolvedPolicy, cache: Path) -> None:
    cache.mkdir(parents=True, mode=0o700)
    cache.parent.chmod(0o700)
    os.chown(cache, 12345, 12345)
    with pytest.raises(UsageError, match="not a directory that only you can reach"):
        tryout.prepare(policy)


def test_a_link_in_place_of_the_cache_is_refused(policy: ResolvedPolicy, cache: Path, tmp_path: Path) -> None:
    cache.parent.mkdir(parents=True, mode=0o700)
    cache.parent.chmod(0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot use the cache"):
        tryout.prepare(policy)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_in_place_of_the_content_is_refused(policy: ResolvedPolicy, tmp_path: Path) -> None:
    directory = tryout.prepare(policy).parent
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot use the cache"):
        tryout.prepare(policy)


def test_two_at_once_both_get_a_whole_plan(policy: ResolvedPolicy, cache: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        plans = set(pool.map(lambda _: tryout.prepare(policy), range(16)))
    assert len(plans) == 1
    assert [path.name for path in cache.iterdir()] == [plans.pop().parent.name]


def test_without_a_home_it_says_what_to_set(policy: ResolvedPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.delenv("HOME")
    with pytest.raises(UsageError, match="neither XDG_CACHE_HOME nor HOME") as caught:
        tryout.prepare(policy)
    assert "XDG_CACHE_HOME" in caught.value.hint


def selecting(policy: ResolvedPolicy, **fields: object) -> ResolvedPolicy:
    wanted = policy.devices.gpu.model_copy(update=fields)
    return policy.model_copy(update={"devices": policy.devices.model_copy(update={"gpu": wanted})})


class Compiled:
    """A target whose plan is always the same: what the real one thinks of a selection is its own matter."""

    def compile(self, _policy: ResolvedPolicy) -> tuple[Artifact, ...]:
        return (Artifact(paths.LAUNCH_PLAN, b"plan"),)


@pytest.fixture
def any_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryout, "TARGETS", {"bubblewrap": Compiled()})


@pytest.mark.usefixtures("any_selection")
@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, False),
        ({"select": "all"}, False),
        ({"select": ("0", "GPU-5a1b2c3d-0000-1111-2222-333344440000")}, False),
        ({"select": ("0", "MIG-c7384736-a75d-5afc-978f-d2f1294409fd")}, True),
        ({"select": ("nvidia.com/gpu=0",)}, True),
        ({"vendors": ("amd", "cdi")}, True),
        ({"vendors": ("cdi",), "mode": GpuMode.NONE}, False),
    ],
)
def test_a_gpu_map_lies_beside_the_plan_where_the_policy_needs_one(
    policy: ResolvedPolicy, fields: dict[str, object], needed: bool
) -> None:
    changed = selecting(policy, **fields)
    assert tryout.needs_gpu_map(changed) is needed
    beside = tryout.prepare(changed).with_name(paths.TRYOUT_GPU_MAP)
    assert beside.exists() is needed
    if needed:
        gpu_map.decode(beside.read_bytes())


@pytest.mark.usefixtures("any_selection")
def test_another_map_of_the_machine_makes_another_directory(
    policy: ResolvedPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cdi = selecting(policy, vendors=("cdi",))
    first = tryout.prepare(cdi)
    other = gpu_map.GpuMap(notes=("another machine",))
    made = gpu.Composed(other, gpu_map.encode(other), (), "", ())
    monkeypatch.setattr(gpu, "compose", lambda _: made)
    second = tryout.prepare(cdi)
    assert second.parent != first.parent
    assert second.with_name(paths.TRYOUT_GPU_MAP).read_bytes() == made.data


@pytest.mark.usefixtures("any_selection")
def test_a_map_that_cannot_be_made_is_said_with_its_remedy(
    policy: ResolvedPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise HostError("cdi_too_many", "too many specs", hint="remove some")

    monkeypatch.setattr(gpu, "compose", refuse)
    with pytest.raises(UsageError, match="too many specs") as caught:
        tryout.prepare(selecting(policy, vendors=("cdi",)))
    assert caught.value.hint == "remove some"
