"""The journal: private to who pushes, and an error in words where it cannot be kept."""

import stat
from pathlib import Path

import pytest

from fleetbox.errors import ExitCode, UsageError
from fleetbox.policy import load_policy
from fleetbox.rollout.journal import Journal
from fleetbox.rollout.outcome import HostOutcome, Outcome

REPO = Path(__file__).resolve().parents[3]


def test_what_it_keeps_is_private_and_found_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    journal = Journal(state)
    policy = load_policy(REPO / "policies/base.yml")
    entry = journal.begin("push", bundle="sha256:b", policies=[policy])
    journal.end(entry, [HostOutcome(host="h1", outcome=Outcome.ACTIVATED)], ExitCode.OK)
    assert [kept.digest for kept in journal.policies_of("sha256:b")] == [policy.digest]
    assert journal.policies_of("sha256:other") == ()
    journal.close()
    made = [state, *state.rglob("*")]
    assert not [path for path in made if path.is_dir() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert stat.S_IMODE((state / "journal.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("spoil", ["a file", "not a database"])
def test_a_place_that_cannot_be_used_is_a_usage_error(tmp_path: Path, spoil: str) -> None:
    state = tmp_path / "state"
    if spoil == "a file":
        state.write_text("")
    else:
        state.mkdir()
        (state / "journal.db").write_text("not a database " * 100)
    with pytest.raises(UsageError, match="cannot be used") as refused:
        Journal(state)
    assert "--state-dir" in refused.value.hint
