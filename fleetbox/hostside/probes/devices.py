"""Probes of device nodes (FBX-GPU).

A node without a driver is assertable: ENXIO or ENODEV says that it is there and may be opened, EACCES that it
was bound without the right to be a device, ENOENT that it is hidden.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass

from fleetbox.hostside.probes import outcome
from fleetbox.hostside.probes.outcome import Attempt, Outcome, Tried, Verdict
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Asked, Prepared, not_applicable

# What a policy with a GPU binds where it exists, and what no policy binds without naming it.
BOUND = {
    "nvidia": ("/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/nvidia-uvm"),
    "wsl": ("/dev/dxg",),
}
HIDDEN = ("/dev/nvidia-modeset", "/dev/kfd", "/dev/dri/card*", "/dev/dri/renderD*", "/dev/accel/accel*")


@dataclass(frozen=True)
class Devices:
    """Nodes of which the first `shown` must open inside, and the others must not."""

    expected: str
    targets: Sequence[Attempt]
    shown: int
    twins: Sequence[Attempt] = (Attempt("open_device", {"path": "/dev/null"}),)

    def judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """What is shown is judged first; with nothing to hide, alone."""
        shown, hidden = targets[: self.shown], targets[self.shown :]
        seen = outcome.allowed(shown, expected=self.expected) if shown else None
        if seen and (seen.status != outcome.PASS or not hidden):
            return seen
        return outcome.denied(hidden, twins, expected=self.expected, needed=0)


def _nodes(patterns: Sequence[str]) -> list[str]:
    return sorted(path for pattern in patterns for path in glob.glob(pattern))


def gpu(scene: Scene, asked: Asked) -> Prepared:
    """FBX-GPU-001. `params`: gpu (none, auto, required), its vendors, and allowed: nodes named one by one."""
    wanted = asked.params.get("gpu", "none")
    declared = [BOUND.get(vendor, ()) for vendor in asked.params.get("vendors", BOUND) if wanted != "none"]
    nodes = _nodes([*(pattern for patterns in BOUND.values() for pattern in patterns), *HIDDEN])
    if not nodes and wanted == "required":
        return Verdict(
            outcome.FAIL, "gpu_missing", "the policy requires a GPU and this host has no node of one"
        )
    if not nodes:
        return not_applicable("this host has no GPU node")
    bound = _nodes([pattern for patterns in declared for pattern in patterns])
    granted = {*asked.params.get("allowed", ()), *bound}
    shown = [path for path in nodes if path in granted]
    hidden = [path for path in nodes if path not in granted]
    targets = [Attempt("open_device", {"path": path}) for path in (*shown, *hidden)]
    return Devices("nodes of declared GPUs can be opened, and no others are there", targets, len(shown))
