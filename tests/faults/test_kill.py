"""Launches that are killed at random moments leave nothing once the next has ended."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.conftest import give_to
from tests.faults.conftest import Show
from tests.faults.flips import prepare
from tests.faults.kills import VICTIMS
from tests.faults.leftovers import alone
from tests.faults.tools import REPO, built, scaled
from tests.integration.launcher.conftest import Bench

PROTECTED = (".git", ".codex", ".agents", "sub/deep/.claude", ".vscode/settings.json")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces in which nothing else runs")
def test_launches_killed_at_random_moments_leave_nothing(bench: Bench, show: Show) -> None:
    prepare(bench.workspace)
    (bench.workspace / "sub/deep").mkdir(parents=True)
    (bench.workspace / "link").symlink_to("nowhere")
    (bench.workspace / "decoy/odd").touch(mode=0o640)
    for path in (bench.workspace, *bench.workspace.rglob("*")):
        give_to(path, bench.uid)
    uid = bench.uid + 1 + os.getpid() % 1000  # with a state directory that nobody else uses
    for path in (bench.root, bench.home, bench.workspace, *bench.workspace.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)
    plan = bench.plan(
        *(("protect", name) for name in PROTECTED), ("rule", "none", "${WORKSPACE}/private/key")
    )
    file = plan.write(bench.root / "plan", uid)
    seed = int(time.time())
    work = [str(built("attack")), "probe", *PROTECTED, ":private/key", "@15"]
    driver = [
        *(sys.executable, "-m", "tests.faults.kills"),
        *(str(bench.launcher), str(file), str(bench.root), str(uid), str(scaled(150, 1000)), str(seed)),
    ]
    try:
        done = subprocess.run(
            alone(driver),
            capture_output=True,
            text=True,
            check=False,
            cwd=REPO,
            env={**os.environ, "PROBE": json.dumps(work)},
        )
    finally:
        subprocess.run(["rm", "-rf", f"/tmp/fleetbox-{uid}"], check=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    killed = found["killed"]
    show(
        f"{'killed (seed ' + str(seed) + ')':34} {'launches':>8} {'too late or early':>18}",
        *(f"{victim:34} {killed.get(victim, 0):8} {found['missed'].get(victim, 0):18}" for victim in VICTIMS),
        f"{'in all':34} {sum(killed.values()):8} {sum(found['missed'].values()):18}",
        f"    compared {found['compared']} times; a launch takes {found['duration_ms']} ms",
        *(f"    not killed {number:4} x  {answer[:110]}" for answer, number in found["answers"].items()),
    )
    assert found["problems"] == []
    assert found["bypassed"] == []
    assert all(killed.get(victim, 0) > 0 for victim in VICTIMS)
    assert set(found["answers"]) == {"0 "}, "a launch that nobody killed was refused"
