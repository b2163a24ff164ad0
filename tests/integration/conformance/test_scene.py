"""What probes plant goes away, whatever happens to them, and nobody else's things are touched."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fleetbox.conformance import expect
from tests.integration.conformance.mutations import STRICT
from tests.integration.conformance.tryout import DRIVER, Tryout

pytestmark = pytest.mark.sandbox


def tree(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def scenes() -> set[str]:
    return {path.name for path in Path("/var/tmp").glob("fleetbox-probe-*")}


def test_a_home_is_as_it_was_afterwards(tryout: Tryout) -> None:
    (tryout.give(tryout.home / ".ssh", 0o700) / "known_hosts").write_text("kept")
    before, others = tree(tryout.home), scenes()
    policy = tryout.policy(STRICT)
    results = tryout.verify(policy, tryout.compile(policy, "plan"))
    assert results["FBX-FS-005"]["status"] == "pass"
    assert tree(tryout.home) == before
    assert scenes() <= others


def test_probes_that_are_killed_leave_nothing_behind(tryout: Tryout) -> None:
    policy = tryout.policy(STRICT)
    plan = tryout.compile(policy, "plan")
    others = scenes()
    slow = tryout.script("slow", "#!/bin/sh\nexec sleep 30\n")
    words = [str(tryout.root / "program"), str(slow), str(plan)]
    request = {"checks": expect.checks_for(policy), "user": None, "egress_peer": None, "policy": None}
    process = subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", "-c", DRIVER, *words],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        env={"HOME": str(tryout.home)}, **tryout.as_account(),
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(json.dumps(request).encode())
    process.stdin.close()
    _until(lambda: bool(scenes() - others) and bool(tree(tryout.home)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    _until(lambda: not scenes() - others and not tree(tryout.home))
    for pid in _running(str(slow), "sleep 30"):
        os.kill(pid, signal.SIGKILL)


def test_a_link_that_the_user_planted_is_not_followed(tryout: Tryout) -> None:
    victim = tryout.root / "victim"
    victim.write_text("root's")
    os.symlink(victim, tryout.home / ".bashrc")
    os.symlink(tryout.root, tryout.home / ".ssh")
    policy = tryout.policy(STRICT)
    tryout.verify(policy, tryout.compile(policy, "plan"))
    assert victim.read_text() == "root's"
    assert not list(tryout.root.glob("fleetbox-decoy-*"))


def test_a_launcher_that_is_not_there_never_passes(tryout: Tryout) -> None:
    policy = tryout.policy(STRICT)
    results = tryout.verify(policy, tryout.compile(policy, "plan"), tryout.root / "nothing")
    passed = {check for check, result in results.items() if result["status"] == "pass"}
    assert passed == {"FBX-POL-001"}
    assert results["FBX-FS-001"]["reason"] == "wrapper_missing"


def test_a_launcher_that_answers_nonsense_never_passes(tryout: Tryout) -> None:
    policy = tryout.policy(STRICT)
    noisy = tryout.script("noisy", "#!/bin/sh\nexec head -c 1000000 /dev/zero\n")
    # Without FBX-SYS-002, which would wait for a daemon to appear as long as the noise lasts.
    planned = [check for check in expect.checks_for(policy) if check["id"] != "FBX-SYS-002"]
    results = tryout.probe(planned, tryout.compile(policy, "plan"), noisy)
    assert results["FBX-FS-001"]["status"] == "error"
    assert results["FBX-SBX-002"]["status"] == "fail"


def _until(happened: object, seconds: float = 15.0) -> None:
    assert callable(happened)
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def _running(*commands: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() in commands:
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found
