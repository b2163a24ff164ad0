"""The audit trail under SIGKILL at every change, write and fsync, and on a disk without room."""

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleetbox.hostside import audit, paths
from fleetbox.hostside.chain import Damage, Head
from fleetbox.hostside.chain_check import check
from fleetbox.hostside.paths import Places
from tests.integration.hostside.host import REPO
from tests.integration.hostside.recorder import RECORDS

RECORDER = [sys.executable, "-S", "-m", "tests.integration.hostside.recorder"]


def test_killed_anywhere_no_promised_record_is_lost_and_the_trail_goes_on(tmp_path: Path) -> None:
    torn = 0
    for number in itertools.count(1):
        root = tmp_path / str(number)
        (root / "var/log").mkdir(parents=True)
        done = subprocess.run(
            [*RECORDER, f"call:{number}", str(root)], capture_output=True, text=True, check=False, cwd=REPO
        )
        promised = [
            Head(int(seq), digest) for seq, digest in (line.split() for line in done.stdout.splitlines())
        ]
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0, done.stderr
            assert len(promised) == RECORDS
            assert torn >= RECORDS
            assert promised[0].seq == 1
            assert promised[-1].seq > RECORDS, "old files were left behind"
            assert len(list(Path(Places(str(root)).under(paths.AUDIT)).iterdir())) == 3
            return
        places = Places(str(root))
        later = audit.record(places, "later")
        with audit._trail(places).entries() as row:
            entries = list(row)
        kept = {entry.seq for entry in entries if not isinstance(entry, Damage)}
        problems = check(entries, [*promised[-1:], later])
        assert [problem for problem in problems if problem.grave] == []
        torn += bool(problems)
        assert {head.seq for head in promised if head.seq >= min(kept)} <= kept
    raise AssertionError("unreachable")


def test_a_full_disk_refuses_a_record_and_spoils_none(tmp_path: Path) -> None:
    unshare = ["unshare", "--mount", "--propagation", "private"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs root for a mount namespace: {tried.stderr.strip()}")
    done = subprocess.run(
        [*unshare, *RECORDER, "full", str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=REPO, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"disk_full", "no_inodes"} <= {one["refused"] for one in found}
    assert [one["grave"] for one in found] == [[]] * len(found)
