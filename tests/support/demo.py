"""`make demo`: the whole way on three throw-away hosts, and a verdict in words.

One Debian 12 host, one Debian 13 host with GPU nodes, and one that says it is WSL1 and must be refused.
Every command is printed as typed and runs for real; exit code 0 only if all three ended as they should.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleetbox.hostside.paths import CURRENT, HOST_PROGRAM
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

REPO = Path(__file__).resolve().parents[2]
POLICY = "policies/gpu-workstation.yml"
HOSTS = (
    HostSpec.of("deb12", groups=["workstations"]),
    HostSpec.of("gpu13", suite="trixie", gpu="nvidia", groups=["gpu_vms"]),
    HostSpec.of("wsl1", hooks=["wsl1"], userns="EINVAL", groups=["workstations"]),
)
SANDBOXED, REFUSED = ("deb12", "gpu13"), "wsl1"
USED = (
    (
        "deb12",
        "touch here && echo wrote the workspace; touch /etc/x; cat ~/.ssh/authorized_keys; ps ax | wc -l",
    ),
    ("gpu13", "ls -l /dev/nvidia* && : <> /dev/nvidia0"),
)


@dataclass
class Demo:
    """One run: a lab, a state directory of its own, and what did not end as it should."""

    lab: Lab
    state: Path
    problems: list[str] = field(default_factory=list)

    def expect(self, holds: bool, claim: str) -> None:
        print(f"  {'ok ' if holds else 'NOT'}  {claim}")
        if not holds:
            self.problems.append(claim)

    def type(self, *argv: str, show: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command on the control machine, showing it as typed and, with `show`, what it printed."""
        print(f"\n$ {shlex.join(argv)}", flush=True)
        done = self.lab.controller(
            argv,
            cwd=REPO,
            env={"ANSIBLE_INVENTORY": str(self.lab.inventory), "FLEETBOX_STATE_DIR": str(self.state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        sys.stdout.write(done.stdout if show else "")
        print(f"(exit {done.returncode})", flush=True)
        return done


def recap(output: str, host: str) -> dict[str, int]:
    """The counters of one host in Ansible's PLAY RECAP; empty when it is not there."""
    line = re.search(rf"^{re.escape(host)}\s+: (.*)$", output, re.M)
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line[1])} if line else {}


def set_up(demo: Demo) -> None:
    done = demo.type("fleetbox", "init")
    demo.expect(done.returncode == 0, "fleetbox init made the keys that sign policies")


def provision(demo: Demo) -> None:
    first = demo.type("ansible-playbook", "site.yml")
    for host in SANDBOXED:
        counted = recap(first.stdout, host)
        demo.expect(bool(counted) and counted["failed"] == 0, f"site.yml provisioned {host}")
    demo.expect(recap(first.stdout, REFUSED).get("failed") == 1, f"site.yml refused {REFUSED}")
    demo.expect("wsl --set-version" in first.stdout, "and named the remedy: wsl --set-version <distro> 2")

    second = demo.type("ansible-playbook", "site.yml")
    for host in SANDBOXED:
        counted = recap(second.stdout, host)
        demo.expect(
            bool(counted) and counted["changed"] == 0 and counted["failed"] == 0,
            f"a second site.yml changed nothing on {host}",
        )


def push(demo: Demo) -> None:
    done = demo.type("fleetbox", "push-policy", POLICY, "-i", str(demo.lab.inventory), "--yes")
    demo.expect(done.returncode == 5, f"push-policy ended with 5: {REFUSED} was refused, the others were not")
    demo.expect("wsl --set-version" in done.stdout, f"and said what {REFUSED} needs")
    demo.expect(", signed " in done.stdout, "what was pushed is signed")
    for host in SANDBOXED:
        current = demo.lab.host(host).exec(["readlink", CURRENT], check=False).stdout
        demo.expect(current.strip() == b"generations/1", f"{host} has generation 1")
        status = demo.lab.host(host).exec([HOST_PROGRAM, "status"], check=False).stdout
        trust = json.loads(status)["trust"]
        demo.expect(bool(trust) and trust["floor"]["generation"] == 1, f"{host} verified who signed it")


def show(demo: Demo) -> None:
    demo.type("fleetbox", "results", "matrix")
    report = demo.type("fleetbox", "results", "matrix", "--json", show=False)
    rows = {row["host"]: row for row in json.loads(report.stdout)["hosts"]} if report.returncode == 0 else {}
    for host in SANDBOXED:
        statuses = rows.get(host, {}).get("statuses", {})
        wrong = {check for check, status in statuses.items() if status not in {"pass", "not_applicable"}}
        demo.expect(bool(statuses) and not wrong, f"every check that applies passed on {host} {wrong or ''}")
    statuses = rows.get(REFUSED, {}).get("statuses", {})
    demo.expect(
        set(statuses.values()) == {"not_run"}, f"no check ran on {REFUSED}, and none counts as a pass"
    )


def use(demo: Demo) -> None:
    """The engineer at the keyboard: the same host, the same user, with and without the sandbox."""
    for host, script in USED:
        command = f"mkdir -p work && cd work && fleetbox-run -- sh -c {shlex.quote(script)}"
        print(f"\n{host}$ {command}", flush=True)
        done = demo.lab.host(host).ssh(["sh", "-c", command], check=False)
        sys.stdout.write((done.stdout + done.stderr).decode(errors="replace"))


def untouched(demo: Demo) -> None:
    changed = [
        change for change in demo.lab.host(REFUSED).overlay_diff() if not _ansible_leftover(change.path)
    ]
    demo.expect(not changed, f"nothing on {REFUSED} changed" + "".join(f"\n         {c}" for c in changed))


def _ansible_leftover(path: str) -> bool:
    """Ansible's own temporary folder in the login's home: the one thing that a refused host may keep."""
    return re.match(r"/?home/dev(/\.ansible(/.*)?)?$", path) is not None


STEPS: tuple[Callable[[Demo], None], ...] = (set_up, provision, push, show, use, untouched)


def main(argv: Sequence[str]) -> int:
    if argv:
        print("usage: python -m tests.support.demo", file=sys.stderr)
        return 2
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="fleetbox-demo-") as state, Lab.create() as lab:
        print(
            "Starting three hosts; the first time, their trees are built (about half a minute each) ...",
            flush=True,
        )
        lab.up(*HOSTS)
        demo = Demo(lab, Path(state))
        for step in STEPS:
            step(demo)
    if demo.problems:
        print(f"\nDEMO FAILED: {len(demo.problems)} of its claims do not hold:")
        print("".join(f"  - {problem}\n" for problem in demo.problems))
        return 1
    print(f"\nDEMO OK: {' and '.join(SANDBOXED)} run workloads in a sandbox whose policy was pushed.")
    print(f"         {REFUSED} was refused with its remedy, and nothing on it changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
