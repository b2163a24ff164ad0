"""Several processes on one state directory: they wait for each other, and no work is lost."""

import subprocess
import sys
from pathlib import Path

import pytest

from fleetbox.errors import UsageError
from fleetbox.trust import durable
from tests.unit.trust.conftest import released

REPO = Path(__file__).resolve().parents[3]
ROUNDS = 5
PROGRAM = """
import sys
from pathlib import Path
from fleetbox.trust import Trust
trust = Trust(Path(sys.argv[1]))
(release,) = trust.published().releases().values()
for number in range(int(sys.argv[3])):
    host = f"{sys.argv[2]}-{number}"
    print(trust.assign({host: (release.name, release.digest)})[host].generation)
"""


def test_two_controllers_lose_no_assignment_and_share_no_generation(trust, tmp_path) -> None:
    released(trust)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "state")]
    started = [
        subprocess.Popen([*command, name, str(ROUNDS)], cwd=REPO, stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    said = [process.communicate()[0].split() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    generations = [int(number) for numbers in said for number in numbers]
    assert sorted(generations) == list(range(1, 2 * ROUNDS + 1))
    published = trust.published()
    for name in ("a", "b"):
        assert all(published.assignment(f"{name}-{number}") for number in range(ROUNDS))


def test_who_waits_too_long_for_the_lock_is_told_and_changes_nothing(trust) -> None:
    with (
        trust.opened() as authority,
        pytest.raises(UsageError, match="another fleetbox on this machine"),
        durable.locked(authority.places.lock, wait_s=0.2),
    ):
        pass
