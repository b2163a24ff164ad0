"""What `run` needs elsewhere: launcher, bubblewrap and compiled policies. Needs fleetbox installed."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from fleetbox.policy import load_policy
from fleetbox.targets import TARGETS
from tests.real_gpu.trials import POLICIES

BIN = Path(__file__).resolve().parents[2] / "fleetbox" / "bin"
HEAD = "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\n"


def prepare(folder: Path) -> int:
    """Write it into `folder`; an exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in POLICIES.items():
        (folder / name).mkdir(exist_ok=True)
        file = folder / f"{name}.yml"
        file.write_text(HEAD.format(name=name) + body)
        for artifact in TARGETS["bubblewrap"].compile(load_policy(file)):
            (folder / name / artifact.path).write_bytes(artifact.data)
    shutil.copy2(BIN / f"fleetbox-run-linux-{platform.machine()}", folder / "fleetbox-run")
    shutil.copy2(str(shutil.which("bwrap")), folder / "bwrap")
    return 0
