"""From a policy to a launch plan: whole plans as golden files, and what must hold in each."""

from pathlib import Path

import pytest

from fleetbox.errors import PolicyError
from fleetbox.policy import Access, Rule, load_policy
from fleetbox.targets import TARGETS
from fleetbox.targets.bubblewrap import launch_plan, operations, plan
from fleetbox.targets.bubblewrap.seccomp import filters

GOLDEN = Path(__file__).parents[2] / "golden" / "bubblewrap"
CASES = sorted(case.name for case in GOLDEN.iterdir())


def compiled(case: str) -> dict[str, bytes]:
    policy = load_policy(GOLDEN / case / "policy.yml")
    return {artifact.path: artifact.data for artifact in TARGETS["bubblewrap"].compile(policy)}


def readable(data: bytes) -> str:
    """One record a line, as the launcher reads them."""
    return "".join(
        " ".join((operation.op, *map(repr, operation.arguments()))) + "\n" for operation in plan.decode(data)
    )


@pytest.mark.parametrize("case", CASES)
def test_the_launch_plan_is_what_the_golden_file_shows(case: str, update_golden: bool) -> None:
    golden = GOLDEN / case / "plan.txt"
    text = readable(compiled(case)["launch.plan"])
    if update_golden:
        golden.write_text(text)
    assert text == golden.read_text(), "pytest --update-golden, and read the diff"


@pytest.mark.parametrize("case", sorted(set(CASES) - {"full-access"}))
def test_every_filter_that_the_plan_names_lies_beside_it(case: str) -> None:
    files = compiled(case)
    named = {op.file for op in plan.decode(files["launch.plan"]) if isinstance(op, operations.Seccomp)}
    assert named == set(files) - {"launch.plan"}
    assert len(named) == (6 if case == "alone" else 4)


@pytest.mark.parametrize("case", sorted(set(CASES) - {"full-access"}))
def test_the_masks_that_always_hold_are_in_every_plan(case: str) -> None:
    masked = {op.path for op in plan.decode(compiled(case)["launch.plan"]) if isinstance(op, operations.Mask)}
    assert masked == {"/run", "/var/lib/fleetbox", "/var/log/fleetbox"}


def test_only_a_policy_with_nested_sandboxes_gets_the_filter_that_lets_them() -> None:
    for case, nested in (("defaults", False), ("nested-host-network", True)):
        files = compiled(case)
        for filter_ in filters(nested=nested):
            assert files[filter_.file_name] == filter_.program()


def test_only_a_policy_that_lists_programs_gets_the_filter_that_closes_memory() -> None:
    policy = load_policy(GOLDEN / "defaults" / "policy.yml")
    process = policy.process.model_copy(update={"allowed_binaries": ("git",)})
    for tried, listed in ((policy, False), (policy.model_copy(update={"process": process}), True)):
        files = {artifact.path: artifact.data for artifact in TARGETS["bubblewrap"].compile(tried)}
        assert (operations.Program("git") in plan.decode(files["launch.plan"])) is listed
        for filter_ in filters(nested=False, listed=listed):
            assert files[filter_.file_name] == filter_.program()


def test_limits_are_written_as_bytes_and_seconds() -> None:
    policy = load_policy(GOLDEN / "defaults" / "policy.yml")
    limits = policy.process.limits.model_copy(update={"memory": "1GiB", "pids": 7, "wall": "1h30m"})
    process = policy.process.model_copy(update={"limits": limits})
    compiled_ = TARGETS["bubblewrap"].compile(policy.model_copy(update={"process": process}))
    written = [op for op in plan.decode(compiled_[0].data) if isinstance(op, operations.Limit)]
    assert [op.arguments() for op in written] == [("memory", "1073741824"), ("pids", "7"), ("wall", "5400")]


def test_full_access_is_no_sandbox_and_every_word_of_the_plan_says_so() -> None:
    assert list(compiled("full-access")) == ["launch.plan"]
    said = plan.describe(launch_plan(load_policy(GOLDEN / "full-access" / "policy.yml")))
    assert "NO SANDBOX" in said


def test_read_only_leaves_nothing_writable_and_binds_no_gpu() -> None:
    operations_ = plan.decode(compiled("read-only")["launch.plan"])
    assert operations.Workspace("read") in operations_
    assert operations.Tmp("private") in operations_
    assert operations.Gpu("none") in operations_


def test_a_policy_that_does_not_fit_into_a_launch_plan_is_an_error_of_the_policy() -> None:
    policy = load_policy(GOLDEN / "defaults" / "policy.yml")
    rules = tuple(Rule(path=f"/data/{n}{'/long' * 100}", access=Access.READ) for n in range(600))
    filesystem = policy.filesystem.model_copy(update={"rules": rules})
    with pytest.raises(PolicyError, match="a launch plan holds at most"):
        TARGETS["bubblewrap"].compile(policy.model_copy(update={"filesystem": filesystem}))
