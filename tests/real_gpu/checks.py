"""Exactly the GPU checks on a machine that has nothing of ours installed, by its real libraries.

    python -m tests.real_gpu.checks prepare DIRECTORY    here: launcher, compiled policies and their checks
    python -m tests.real_gpu.checks run DIRECTORY        there, as an ordinary account with a home

`run` needs Python 3.9, bubblewrap, the checkout and DIRECTORY, which is the account's; it changes nothing.
It prints each policy's results and ends with 1 where one failed.
"""

import json
import platform
import shutil
import sys
from pathlib import Path

from fleetbox.hostside import probes

REPO = Path(__file__).resolve().parents[2]
HEAD = "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: tried}\n"
RULES = "filesystem: {rules: [{path: ~/.ssh, access: none}]}\n"
POLICIES = {
    "all": "",
    "first": "devices: {gpu: {mode: required, select: 0}}\n",
    "graphics": "devices: {gpu: {profile: graphics}}\n",
    "none": "gpu_passthrough: false\n",
}


def prepare(folder: Path) -> int:
    """Needs fleetbox with all that it depends on."""
    from fleetbox.conformance import expect  # noqa: PLC0415 - not there where `run` runs
    from fleetbox.policy import load_policy  # noqa: PLC0415
    from fleetbox.targets import TARGETS  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(REPO / f"fleetbox/bin/fleetbox-run-linux-{platform.machine()}", folder / "fleetbox-run")
    for name, body in POLICIES.items():
        (folder / name).mkdir(exist_ok=True)
        file = folder / f"{name}.yml"
        file.write_text(HEAD + RULES + body)
        policy = load_policy(file)
        for artifact in TARGETS["bubblewrap"].compile(policy):
            (folder / name / artifact.path).write_bytes(artifact.data)
        planned = [check for check in expect.checks_for(policy) if check["id"].startswith("FBX-GPU-")]
        (folder / f"{name}.json").write_text(json.dumps(planned))
    return 0


def run(folder: Path) -> int:
    failed = False
    for name in POLICIES:
        (folder / name).chmod(0o700)
        installation = probes.Installation(
            str(folder / "fleetbox-run"), plan=str(folder / name / "launch.plan")
        )
        request = {"checks": json.loads((folder / f"{name}.json").read_text()), "user": None}
        print(f"policy {name}")
        for result in probes.run(request, installation)["results"]:
            failed = failed or result["status"] in ("fail", "error")
            print(f"    {result['check_id']}  {result['status']:<14}  {result['message']}")
    return int(failed)


if __name__ == "__main__":
    verb, where = sys.argv[1:]
    sys.exit({"prepare": prepare, "run": run}[verb](Path(where).resolve()))
