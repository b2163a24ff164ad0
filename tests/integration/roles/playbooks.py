"""Runs the repository's playbooks against hosts of a lab and reads the recap.

The recap is what an operator sees, so tests read that, not a callback of our own.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab

REPO = Path(__file__).resolve().parents[3]
ANSIBLE_PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
_RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)
_SECONDS = 600


@dataclass(frozen=True)
class Run:
    """One `ansible-playbook`: its exit code, what it printed, and the recap's numbers by host."""

    code: int
    output: str
    recap: dict[str, dict[str, int]]

    def words(self, host: Host) -> str:
        """What was printed about a failure of this host, on one line."""
        found = re.findall(
            rf"^fa(?:tal|iled): \[{host.name}\].*?(?=^\S)", self.output, re.MULTILINE | re.DOTALL
        )
        return " ".join(" ".join(found).split())

    def ended_well(self, host: Host) -> bool:
        counts = self.recap[host.name]
        return counts["failed"] == 0 and counts["unreachable"] == 0


def book(directory: Path, *tasks: dict[str, object], **variables: object) -> str:
    """A playbook of the test's own, for one role's entry point or one template."""
    play = {"hosts": "all", "gather_facts": False, "become": True, "vars": variables, "tasks": list(tasks)}
    path = directory / "playbook.yml"
    path.write_text(yaml.safe_dump([play]))
    return str(path)


def play(lab: Lab, hosts: list[Host], playbook: str, *options: str, state_dir: Path | None = None) -> Run:
    """Run a playbook of the repository on these hosts alone, with the repository's own ansible.cfg.

    Whom hosts shall trust is read from `state_dir`; without it nothing was ever set up.
    """
    done = lab.controller(
        [
            *(str(ANSIBLE_PLAYBOOK), playbook, "--inventory", str(lab.inventory)),
            *("--limit", ",".join(host.name for host in hosts), *options),
        ],
        cwd=REPO,
        env={
            "ANSIBLE_NOCOLOR": "1",
            "FLEETBOX_STATE_DIR": str(state_dir or lab.state.path / "no-state"),
        },
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    output = done.stdout + done.stderr
    recap = {name: _counts(numbers) for name, numbers in _RECAP.findall(output)}
    assert recap.keys() == {host.name for host in hosts}, output
    return Run(done.returncode, output, recap)


def _counts(numbers: str) -> dict[str, int]:
    return {name: int(count) for name, _, count in (pair.partition("=") for pair in numbers.split())}
