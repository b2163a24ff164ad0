"""To which bundles a host may go back: those of which the new one takes nothing away, as compiled today."""

from pathlib import Path

import pytest

from fleetbox import bundle
from fleetbox.conformance import expect
from fleetbox.policy import ResolvedPolicy, load_policy
from fleetbox.rollout import fallback
from fleetbox.rollout.fallback import not_narrower_than, remember
from fleetbox.rollout.journal import Journal

HEAD = "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\nextends: [base]\n{body}"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state")


def policy(folder: Path, body: str = "", name: str = "one") -> ResolvedPolicy:
    path = folder / f"{name}.yml"
    path.write_text(HEAD.format(name=name, body=body))
    return load_policy(path)


def pushed(journal: Journal, *policies: ResolvedPolicy) -> str:
    digest = bundle.build(policies, {policy.name: expect.checks_for(policy) for policy in policies}).digest
    journal.begin("push", bundle=digest, policies=policies)
    remember(journal, digest)
    return digest


def test_what_allowed_no_more_is_named_and_what_allowed_more_is_not(journal: Journal, tmp_path: Path) -> None:
    plain = pushed(journal, policy(tmp_path))
    pushed(journal, policy(tmp_path, "network: {mode: host}\n"))
    assert not_narrower_than(journal, [policy(tmp_path, "environment: {pass: [EDITOR]}\n")]) == (plain,)


def test_a_policy_that_is_not_there_any_more_was_access(journal: Journal, tmp_path: Path) -> None:
    pushed(journal, policy(tmp_path), policy(tmp_path, name="two"))
    assert not_narrower_than(journal, [policy(tmp_path)]) == ()


def test_another_default_is_compared_too(journal: Journal, tmp_path: Path) -> None:
    narrow, wide = policy(tmp_path, name="narrow"), policy(tmp_path, "network: {mode: host}\n", name="wide")
    first = pushed(journal, wide, narrow)
    assert not_narrower_than(journal, [narrow, wide]) == ()
    second = pushed(journal, narrow, wide)
    assert not_narrower_than(journal, [wide, narrow]) == (second, first)


def test_what_another_version_compiled_from_the_same_policies_is_not_named(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole may have been closed in between, which no policy says."""
    before = pushed(journal, policy(tmp_path))
    assert not_narrower_than(journal, [policy(tmp_path)]) == (before,)
    monkeypatch.setattr(fallback, "__version__", "99.0")
    assert not_narrower_than(journal, [policy(tmp_path)]) == ()


def test_what_was_pushed_before_anything_was_kept_of_it_is_not_named(
    journal: Journal, tmp_path: Path
) -> None:
    journal.begin("push", bundle="sha256:" + "e" * 64, policies=[policy(tmp_path)])
    assert not_narrower_than(journal, [policy(tmp_path)]) == ()
