"""Every check has a mutation that turns it red, and only it: what makes a green run worth something."""

from collections.abc import Callable

import pytest

from fleetbox.hostside.checks import CHECKS
from tests.integration.conformance.mutations import DIGEST, MUTATIONS, STRICT, Mutation
from tests.integration.conformance.tryout import Tryout, red

pytestmark = pytest.mark.sandbox

# Need device nodes, which are made on throw-away hosts only: test_on_a_host.py.
ON_HOSTS_ONLY = {f"FBX-GPU-00{number}" for number in range(1, 6)}


@pytest.fixture
def lived_in(tryout: Tryout) -> Tryout:
    """With a home directory that somebody uses."""
    tryout.give(tryout.home / "projects")
    tryout.file(tryout.home / ".bashrc", "# a person's\n")
    return tryout


def test_under_the_strict_policy_nothing_is_red(lived_in: Tryout) -> None:
    policy = lived_in.policy(STRICT)
    results = lived_in.verify(policy, lived_in.compile(policy, "strict"))
    assert red(results) == set(), {check: results[check] for check in red(results)}
    assert len(results) == len(CHECKS)


@pytest.mark.parametrize(
    "mutation", [m for m in MUTATIONS if m.check not in ON_HOSTS_ONLY], ids=lambda mutation: mutation.check
)
def test_a_mutation_turns_exactly_its_check_red(
    mutation: Mutation, lived_in: Tryout, record_property: Callable[[str, object], None]
) -> None:
    strict = lived_in.policy(STRICT)
    plan = lived_in.compile(lived_in.policy(mutation.policy or STRICT), "enforced")
    if mutation.damage:
        files = {path.name: path.read_bytes() for path in plan.parent.iterdir()}
        for name, content in mutation.damage(files).items():
            (plan.parent / name).write_bytes(content)
    text = mutation.launcher(str(lived_in.launcher)) if mutation.launcher else ""
    results = lived_in.verify(strict, plan, lived_in.script("stand-in", text) if text else None)
    record_property("mutation", f"{mutation.check:<11}  try-out  {mutation.what}")
    # A try-out has no manifest, so that changed artifacts are not noticed as such.
    expected = {mutation.check} | ({DIGEST} if mutation.policy else set())
    assert red(results) == expected, {check: results[check] for check in red(results)}
    assert all(results[check]["status"] == "fail" for check in expected)


def test_what_starts_by_itself_is_found_where_only_its_directory_is_the_hosts(lived_in: Tryout) -> None:
    """A home with denied names is shown as it was at launch; what lies below is the host's all the same."""
    autostart = lived_in.home / ".config/autostart"
    lived_in.give(autostart.parent)
    lived_in.give(autostart)
    strict = lived_in.policy(STRICT)
    written = lived_in.policy(STRICT + "    - {path: ~/.config/autostart, access: write}")
    plan = lived_in.compile(written, "enforced")
    assert lived_in.verify(strict, plan)["FBX-FS-006"]["reason"] == "not_denied"


def test_every_check_has_a_mutation() -> None:
    assert list(dict.fromkeys(mutation.check for mutation in MUTATIONS)) == [check.id for check in CHECKS]
