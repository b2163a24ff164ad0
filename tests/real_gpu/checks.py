"""Exactly the GPU checks, on a machine that has nothing of ours installed, by its real libraries."""

from __future__ import annotations

import json
from pathlib import Path

from fleetbox.hostside import probes
from tests.real_gpu.trials import POLICIES


def checks(folder: Path) -> int:
    """Print each policy's results; 1 where a check failed. `folder` must be the account's."""
    failed = False
    for name in POLICIES:
        (folder / name).chmod(0o700)
        plan = str(folder / name / "launch.plan")
        installation = probes.Installation(str(folder / "fleetbox-run"), plan=plan)
        request = {"checks": json.loads((folder / f"{name}.json").read_text()), "user": None}
        print(f"policy {name}")
        for result in probes.run(request, installation)["results"]:
            failed = failed or result["status"] in ("fail", "error")
            print(f"    {result['check_id']}  {result['status']:<14}  {result['message']}")
    return int(failed)
