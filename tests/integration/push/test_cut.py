"""The link is cut, or the control machine dies, after a random number of bytes of a push.

Whatever it is, the host enforces the old or the new policy, or the strictest baseline where the new one took
access away; whole, and in a sandbox that starts. Nothing stays on trial, and the next push goes through, be
the connection of the last one still open there.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.faults.tools import scaled
from tests.integration.push import link
from tests.integration.push.conftest import REPO, Fleet, Inventory

pytestmark = pytest.mark.host

# Of one name: a host that goes back to a name that is gone would open it again.
NARROW = "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: base}\nextends: [base]\n"
POLICIES = {"narrow": NARROW, "wide": NARROW + "environment: {pass: [EDITOR]}\n"}
ROUNDS = scaled(6, 100)
# Seconds: what a trial may take here, and what a host takes at most to be itself again.
CONFIRM_WITHIN, PATIENCE = 10, 90.0


class Cut:
    """A link to the host `plain` that ends; `inventory` leads over it."""

    def __init__(self, fleet: Fleet, process: "subprocess.Popen[str]", port: int) -> None:
        self._process = process
        known = fleet.folder / f"known_hosts.{port}"
        key = fleet.plain.get("/etc/ssh/ssh_host_ed25519_key.pub").decode()
        known.write_text(f"[127.0.0.1]:{port} {key}")

        def lead(content: Inventory) -> None:
            content["all"]["hosts"]["plain"] |= {
                "ansible_host": "127.0.0.1",
                "ansible_port": port,
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
            }

        self.inventory = fleet.inventory(lead)

    def wait(self) -> None:
        """Until it is cut. What comes instead is an end that came before."""
        assert self._process.stdout
        assert self._process.stdout.readline() == "cut\n"

    def go_on(self) -> None:
        """Whoever pushed is dead."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def passed(self) -> int:
        """How many bytes got through; ends it."""
        out, _ = self._process.communicate(timeout=10)
        return int(out.split()[-1])


@contextmanager
def cut(fleet: Fleet, after: int, kind: str) -> Iterator[Cut]:
    """A link to the host `plain` that is cut after so many bytes."""
    words = [sys.executable, "-m", "tests.integration.push.link", fleet.plain.address, str(after), kind]
    with subprocess.Popen(
        fleet.lab.controller_argv(words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
        env=fleet.lab.controller_env(),
    ) as process:
        assert process.stdout
        try:
            yield Cut(fleet, process, int(process.stdout.readline()))
        finally:
            process.kill()


def words(fleet: Fleet, name: str) -> list[str]:
    """How a policy is pushed."""
    file = fleet.folder / f"{name}.yml"
    file.write_text(POLICIES[name])
    terms = ["-l", "plain", "--no-verify", "-y", "--json", "--confirm-within", str(CONFIRM_WITHIN)]
    return ["push-policy", str(file), *terms]


def status(fleet: Fleet) -> dict[str, Any]:
    return dict(json.loads(fleet.plain.exec(["/usr/local/bin/fleetbox-host", "status"]).stdout))


def pushed(fleet: Fleet, name: str, link: Cut, *, killed: bool = False) -> str:
    """A push over a link that is cut: how it ended for the host, in the command's words."""
    with subprocess.Popen(
        fleet.lab.controller_argv(
            [sys.executable, "-m", "fleetbox.cli", *words(fleet, name), "-i", link.inventory]
        ),
        env=fleet.lab.controller_env() | fleet.settings,
        cwd=fleet.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as push:
        if killed:
            link.wait()
            push.send_signal(signal.SIGKILL)
            link.go_on()
        out, err = push.communicate(timeout=120)
    if killed:
        return "killed"
    assert out, err
    [host] = json.loads(out)["hosts"]
    assert push.returncode != 0 or host["outcome"] in ("activated", "unchanged"), err
    return str(host["outcome"])


def settled(fleet: Fleet) -> dict[str, Any]:
    """What the host says once nothing is on trial; nobody tells it to end that."""
    end = time.monotonic() + PATIENCE
    while (said := status(fleet))["pending"]:
        assert time.monotonic() < end, said
        time.sleep(0.3)
    return said


def test_wherever_a_push_is_cut_the_host_has_a_whole_policy_and_takes_the_next(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = time.time_ns() % 1_000_000
    chance = random.Random(seed)  # noqa: S311 - a seed that is printed
    fleet.plain.exec(["install", "-d", "-o", "dev", "/home/dev/ws"])
    launch = ["fleetbox-run", "--workspace", "/home/dev/ws", "--", "true"]
    assert fleet.fleetbox(*words(fleet, "narrow")).returncode == 0
    digests = {"narrow": status(fleet)["digest"]}
    with cut(fleet, 1 << 40, "blip") as whole:
        assert pushed(fleet, "wide", whole) == "activated"
        total = whole.passed()
    digests["wide"] = status(fleet)["digest"]
    before, ends = "wide", Counter[str]()
    for number, kind in enumerate(chance.sample(link.KINDS * ROUNDS, ROUNDS)):
        wanted = "narrow" if before == "wide" else "wide"
        # The last quarter once more: handshakes and the upload come first, and are most of it.
        after = chance.randrange(1 if chance.random() < 0.5 else total * 3 // 4, total)
        where = f"round {number} of seed {seed}: {kind} after {after} of {total} bytes"
        with cut(fleet, after, kind) as broken:
            end = pushed(fleet, wanted, broken, killed=kind == "killed")
            said = settled(fleet)
            has = "baseline" if said["baseline"] else {d: name for name, d in digests.items()}[said["digest"]]
            ends[f"{kind}: {end}, {before} to {wanted} leaves {has}"] += 1
            if end == "activated":
                assert has == wanted, f"{where}: {said}"
            assert has in {before, wanted, *(["baseline"] if wanted == "narrow" else [])}, f"{where}: {said}"
            launched = fleet.plain.ssh(launch, check=False)
            assert launched.returncode == 0, f"{where}: {launched.stderr.decode()}"
            done = fleet.fleetbox(*words(fleet, wanted))
            assert done.returncode == 0, f"{where}: {done.stderr}"
        assert (status(fleet)["digest"], status(fleet)["pending"]) == (digests[wanted], None), where
        before = wanted
    with capsys.disabled():
        print(
            f"\n{ROUNDS} pushes cut (seed {seed}):",
            *(f"{n:4}  {end}" for end, n in sorted(ends.items())),
            sep="\n",
        )
