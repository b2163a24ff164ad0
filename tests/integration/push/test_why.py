"""`fleetbox why` against provisioned hosts: the last refusals, and one command run again there."""

import json
from pathlib import Path

from tests.integration.push.conftest import Fleet

BASE = str(Path(__file__).resolve().parents[3] / "policies" / "base.yml")
WORKSPACE = "/home/dev/project"


def test_a_host_says_what_it_refused_last_and_what_refuses_a_command(fleet: Fleet) -> None:
    assert fleet.push(BASE, "-l", "plain", "--no-verify")[0] == 0
    fleet.plain.exec(
        ["su", "dev", "-c", f"mkdir -p {WORKSPACE}; fleetbox-run --policy nowhere -- true"], check=False
    )
    last = fleet.fleetbox("why", "plain")
    assert last.returncode == 0, last.stderr
    assert "the other policies of this machine" in last.stdout
    assert "  hint: " in last.stdout
    command = ("why", "plain", "--user", "dev", "--workspace", WORKSPACE)
    untold = fleet.fleetbox(*command, "--", "true")
    assert untold.returncode == 5
    assert "strace is not installed" in untold.stderr
    assert "apt-get install strace" in untold.stderr
    fleet.plain.exec(["sh", "-c", "apt-get -qq update && apt-get -qq install --no-install-recommends strace"])
    script = "touch /usr/x; touch .git/hook; exit 4"
    told = fleet.fleetbox(*command, "--", "sh", "-c", script)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[0] == "sh ended with 4 in the sandbox of policy base:"
    assert "filesystem.root" in told.stdout
    assert f"absent {WORKSPACE}/.git (protected name)" in told.stdout
    answer = json.loads(fleet.fleetbox(*command, "--json", "--", "sh", "-c", "id -u >/usr/me").stdout)
    assert [(one["errno"], one["subject"]) for one in answer["refusals"]] == [("EROFS", "openat /usr/me")]


def test_one_host_is_asked_and_options_of_a_command_need_one(fleet: Fleet) -> None:
    assert "this asks one" in fleet.fleetbox("why", "all").stderr
    assert fleet.fleetbox("why", "plain", "--workspace", "/x").returncode == 2
    as_root = fleet.fleetbox("why", "plain", "--user", "root", "--", "true")
    assert as_root.returncode == 5
    assert "cannot run as 'root'" in as_root.stderr
