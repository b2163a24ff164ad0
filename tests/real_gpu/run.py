"""The trials on this machine, as a plain account, inside a sandbox and outside. Standard library only."""

from __future__ import annotations

import json
import os
import platform
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.real_gpu import trials
from tests.real_gpu.trials import POLICIES, TRIALS

REPO = Path(__file__).resolve().parents[2]
ACCOUNT = "fleetbox-gpu"
LIMIT = 240
ROUNDS = 7


class Machine:
    """An account's own place on this machine, with everything of `folder` in it."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.home, self.workspace = home, home / "ws"
        self.user = pwd.getpwnam(ACCOUNT)
        shutil.copytree(folder, home / "fleetbox")
        self.workspace.mkdir()
        if not shutil.which("bwrap"):
            shutil.copy2(folder / "bwrap", "/usr/local/bin/bwrap")
        home.chmod(0o755)
        for path in (home, *home.rglob("*")):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        for name in POLICIES:
            (home / "fleetbox" / name).chmod(0o700)

    def run(self, program: str, policy: str | None) -> subprocess.CompletedProcess[str]:
        """As the account; `policy` None: outside of any sandbox."""
        command = [sys.executable, "-c", program, str(REPO)]
        plan = self.home / "fleetbox" / str(policy) / "launch.plan"
        launch = [str(self.home / "fleetbox" / "fleetbox-run"), "--plan", str(plan), "--"] if policy else []
        become = ["setpriv", f"--reuid={ACCOUNT}", f"--regid={self.user.pw_gid}", "--init-groups"]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8"}
        if "LD_LIBRARY_PATH" in os.environ:
            env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        return subprocess.run(
            [*become, *launch, *command],
            cwd=self.workspace, env=env, capture_output=True, text=True, check=False, timeout=LIMIT,
        )  # fmt: skip


def answer(machine: Machine, program: str, policy: str | None) -> dict[str, Any]:
    try:
        done = machine.run(program, policy)
    except subprocess.TimeoutExpired:
        return {"ok": False, "said": f"not done after {LIMIT} s"}
    lines = done.stdout.splitlines()
    said = lines[-1] if done.returncode == 0 and lines else done.stderr[-600:]
    return {"ok": done.returncode == 0, "said": said}


def start_up(machine: Machine) -> dict[str, list[float]]:
    """Milliseconds from a program's start to a context, in turn inside and outside."""
    found: dict[str, list[float]] = {"inside": [], "outside": []}
    for _ in range(ROUNDS):
        for where, policy in (("inside", "all"), ("outside", None)):
            said = answer(machine, trials.START, policy)
            if said["ok"]:
                found[where].append(json.loads(said["said"])["ms"])
    return found


def is_right(name: str, wanted: bool, inside: dict[str, Any]) -> bool:
    if "stay closed" in name and inside["ok"]:
        said = json.loads(inside["said"])
        opened = said.pop("write in the workspace")
        return opened == "OPEN" and "OPEN" not in said.values()
    return bool(inside["ok"]) == wanted


def run(folder: Path) -> int:
    if not os.path.exists("/dev/nvidiactl") and not os.path.exists("/dev/dxg"):
        print("there is no NVIDIA GPU here: neither /dev/nvidiactl nor /dev/dxg", file=sys.stderr)
        return 2
    subprocess.run(["useradd", "--no-create-home", ACCOUNT], check=False, capture_output=True)
    report: dict[str, Any] = {"kernel": platform.release(), "trials": []}
    with tempfile.TemporaryDirectory(prefix="fleetbox-gpu-", dir="/var/tmp") as home:
        machine = Machine(folder, Path(home))
        for name, program, policy, wanted in TRIALS:
            inside, outside = answer(machine, program, policy), answer(machine, program, None)
            right = is_right(name, wanted, inside)
            report["trials"].append({"name": name, "right": right, "inside": inside, "outside": outside})
            print(f"{'ok ' if right else 'NOT'} {name}")
            print(f"    inside:  {inside['said']}\n    outside: {outside['said']}")
        report["start_ms"] = start_up(machine)
    for where, samples in report["start_ms"].items():
        if samples:
            print(f"CUDA start-up {where}: median {statistics.median(samples):.0f} ms of {len(samples)}")
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    return 0 if all(trial["right"] for trial in report["trials"]) else 1
