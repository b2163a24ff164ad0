"""Checks that load a GPU's library: two rounds of their own, because it may hang.

A process that hangs in a driver may not even be killed; then these checks alone are left without an answer.
Their rounds come before those of all others, whose attempts they repeat in part.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fleetbox.hostside.probes import rounds
from fleetbox.hostside.probes.gpu import closed, compute, nodes
from fleetbox.hostside.probes.gpu.present import present
from fleetbox.hostside.probes.launch import Launches
from fleetbox.hostside.probes.outcome import Verdict
from fleetbox.hostside.probes.rounds import Surroundings
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Asked, Params, Probe, Trial

LIMIT = 45.0  # seconds for each round; the control machine waits for 120
_REACHED = "FBX-GPU-003"
APART: dict[str, Probe] = {
    _REACHED: nodes.undeclared,
    "FBX-GPU-002": compute.computes,
    "FBX-GPU-004": closed.closed,
}


def judged(
    scene: Scene, pending: Mapping[str, Params], launches: Launches, asked: Asked
) -> tuple[dict[str, Verdict], dict[str, int]]:
    """Verdicts of those that are pending, and milliseconds spent inside. Nothing is launched for none."""
    with _left_open(pending.get(_REACHED)) as (descriptor, node):
        asked = asked._replace(descriptor=node)
        verdicts: dict[str, Verdict] = {}
        trials: dict[str, Trial] = {}
        for check in (check for check in APART if check in pending):
            made = APART[check](scene, asked._replace(params=pending[check]))
            if isinstance(made, Verdict):
                verdicts[check] = made
            else:
                trials[check] = made
        if not trials:
            return verdicts, {}
        around = Surroundings(scene.workspace, {}, descriptor, LIMIT)
        found, spent = rounds.inside(trials, rounds.outside(trials, launches, around), launches, around)
        return {**verdicts, **found}, spent


@contextmanager
def _left_open(params: Params | None) -> Iterator[tuple[int, str]]:
    """A descriptor that the launcher must not pass on: of an undeclared node, without waking its driver."""
    other = present(params).other if params is not None else ()
    path = next((node for node in other if os.access(node, os.F_OK)), "")
    descriptor = os.open(path or os.devnull, os.O_PATH | os.O_CLOEXEC)
    try:
        yield descriptor, path
    finally:
        os.close(descriptor)
