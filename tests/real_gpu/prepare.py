"""What is needed elsewhere: launcher, bubblewrap, compiled policies and their GPU checks."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

from fleetbox.conformance import expect
from fleetbox.policy import load_policy
from fleetbox.targets import TARGETS
from tests.real_gpu.trials import POLICIES

BIN = Path(__file__).resolve().parents[2] / "fleetbox" / "bin"
HEAD = """apiVersion: fleetbox/v1
kind: SandboxPolicy
metadata: {{name: {name}}}
filesystem: {{rules: [{{path: ~/.ssh, access: none}}]}}
"""


def prepare(folder: Path) -> int:
    """Write it into `folder`; an exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in POLICIES.items():
        (folder / name).mkdir(exist_ok=True)
        file = folder / f"{name}.yml"
        file.write_text(HEAD.format(name=name) + body)
        policy = load_policy(file)
        for artifact in TARGETS["bubblewrap"].compile(policy):
            (folder / name / artifact.path).write_bytes(artifact.data)
        wanted = [check for check in expect.checks_for(policy) if check["id"].startswith("FBX-GPU-")]
        (folder / f"{name}.json").write_text(json.dumps(wanted))
    shutil.copy2(BIN / f"fleetbox-run-linux-{platform.machine()}", folder / "fleetbox-run")
    shutil.copy2(str(shutil.which("bwrap")), folder / "bwrap")
    return 0
