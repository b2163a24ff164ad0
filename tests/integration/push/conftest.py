"""Two provisioned hosts, one of them with a small state disk, and the command as an operator runs it.

Trust was set up before they were provisioned: they take what is signed and assigned to them.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

REPO = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent

Inventory = dict[str, Any]


@dataclass(frozen=True)
class Fleet:
    """The hosts `small` (24 MiB of state) and `plain`, and the way to them."""

    lab: Lab
    small: Host
    plain: Host
    folder: Path

    def fleetbox(self, *argv: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """The command inside the hosts' network, without a terminal."""
        return self.lab.controller(
            [str(BIN / "python"), "-m", "fleetbox.cli", *argv],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env={"FLEETBOX_INVENTORY": str(self.lab.inventory), **self.settings, **env},
        )

    @property
    def settings(self) -> dict[str, str]:
        """Where this operator keeps journal, results and trust."""
        return {"FLEETBOX_STATE_DIR": str(self.folder / "state")}

    def push(self, *argv: str, **env: str) -> "tuple[int, dict[str, dict[str, Any]]]":
        """push-policy -y --json: the exit code and each host's answer by name."""
        return self.ask("push-policy", *argv, "-y", **env)

    def ask(self, *argv: str, **env: str) -> "tuple[int, dict[str, dict[str, Any]]]":
        """Any command over hosts, with --json."""
        done = self.fleetbox(*argv, "--json", **env)
        hosts = json.loads(done.stdout)["hosts"] if done.stdout else []
        return done.returncode, {host["host"]: host for host in hosts}

    def current(self) -> list[str]:
        """What each host's `current` leads to."""
        argv = ["readlink", "-f", "/var/lib/fleetbox/current"]
        return [host.exec(argv).stdout.decode() for host in (self.small, self.plain)]

    def inventory(self, change: Callable[[Inventory], None]) -> str:
        """A copy of the inventory, changed."""
        content = yaml.safe_load(self.lab.inventory.read_text())
        change(content)
        path = self.folder / "changed.yml"
        path.write_text(yaml.safe_dump(content))
        return str(path)


@pytest.fixture(scope="module")
def fleet(lab: Lab, launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    small, plain = lab.up(HostSpec.of("small", disk="24m/512"), HostSpec.of("plain"))
    fleet = Fleet(lab, small, plain, tmp_path_factory.mktemp("push"))
    done = fleet.fleetbox("init")
    assert done.returncode == 0, done.stderr
    done = lab.controller(
        [str(BIN / "ansible-playbook"), "-i", str(lab.inventory), "site.yml", "-l", "small,plain"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPO,
        env={"ANSIBLE_CONFIG": str(REPO / "ansible.cfg"), **fleet.settings},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    code, hosts = fleet.push(str(REPO / "policies/base.yml"), "-l", "small,plain", "--no-verify")
    assert code == 0, hosts
    yield fleet
    lab.down(small, plain)
