"""Probes of GPU nodes: which are there (FBX-GPU-001), and that the others are not reached (FBX-GPU-003).

A node without a driver is assertable: ENXIO or ENODEV says that it is there and may be opened, EACCES that it
was bound without the right to be a device, ENOENT that it is hidden.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleetbox.hostside.probes import outcome
from fleetbox.hostside.probes.gpu import computed
from fleetbox.hostside.probes.gpu.present import Present, present
from fleetbox.hostside.probes.outcome import Attempt, Outcome, Tried, Verdict
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Asked, Prepared, not_applicable

_TWIN = Attempt("open_device", {"path": "/dev/null"})
_CAPABILITY = "/dev/nvidia-caps/"
_CLOSED = {"EACCES", "EPERM", "ENOENT"}
MAX_TRIED = 24


def opened(path: str, node: str = "") -> Attempt:
    """Opening a node at a path. The right to a MIG instance is a node that nobody may write."""
    return Attempt("open_device", {"path": path, "write": not (node or path).startswith(_CAPABILITY)})


def _closed_to_the_account(targets: Sequence[Tried]) -> bool:
    """What the account may not open outside either needs no sandbox to be out of its reach."""
    return all(not tried.inside.ok and tried.outside.errno in _CLOSED for tried in targets)


@dataclass(frozen=True)
class Visible:
    """Nodes of which the first `shown` must open inside, and the others must not."""

    expected: str
    targets: Sequence[Attempt]
    shown: int
    twins: Sequence[Attempt] = (_TWIN,)

    def judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """What is shown is judged first; with nothing to hide, alone."""
        shown, hidden = targets[: self.shown], targets[self.shown :]
        seen = outcome.allowed(shown, expected=self.expected) if shown else None
        if seen and (seen.status != outcome.PASS or not hidden):
            return seen
        if _closed_to_the_account(hidden):
            return seen or not_applicable("this account may open no node of a GPU, in or out of a sandbox")
        return outcome.denied(hidden, twins, expected=self.expected, needed=0)


def refused(found: Present, wanted: str) -> Verdict | None:
    """Why a launch is refused for its GPU, where it is."""
    if found.missing:
        said = f"devices.gpu.select: {', '.join(found.missing)}: this host has none such"
        return Verdict(outcome.FAIL, "gpu_missing", said)
    if wanted == "required" and not found.picked:
        return Verdict(
            outcome.FAIL, "gpu_missing", "the policy requires a GPU, and this host has none that it names"
        )
    return None


def visible(scene: Scene, asked: Asked) -> Prepared:
    """FBX-GPU-001. `params`: see `present`."""
    found = present(asked.params)
    if why := refused(found, asked.params.get("gpu", "none")):
        return why
    if not found.shown and not found.other:
        return not_applicable("this host has no GPU node")
    targets = [opened(path) for path in (*found.shown, *found.other)]
    expected = "nodes of the declared GPUs can be opened, and no others are there"
    return Visible(expected, targets, len(found.shown))


@dataclass(frozen=True)
class Undeclared:
    """Every way to a node that must fail; `computing`: the last target is computing, which must fail, too.

    left_out: how many more nodes there are, which are not tried.
    """

    expected: str
    targets: Sequence[Attempt]
    computing: bool
    twins: Sequence[Attempt] = (_TWIN,)
    left_out: int = 0

    def judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """What was tried decides, and what was not is said."""
        verdict = self._judge(targets, twins)
        if not self.left_out:
            return verdict
        return replace(verdict, message=f"{verdict.message}; {self.left_out} more nodes were not tried")

    def _judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """A library that computes is the worse news; that it does not is no news where it never does."""
        ways = targets[: len(targets) - self.computing]
        if self.computing and (bad := self._computed(targets[-1])):
            return bad
        if _closed_to_the_account([way for way in ways if way.attempt.operation == "open_device"]):
            return not_applicable("this account may open no undeclared GPU outside either")
        verdict = outcome.denied(ways, twins, expected=self.expected, needed=0)
        if self.computing and verdict.status == outcome.PASS:
            said = computed.describe(targets[-1].inside)
            return replace(verdict, message=f"{verdict.message}; {said} inside")
        return verdict

    def _computed(self, tried: Tried) -> Verdict | None:
        answer = computed.parsed(tried.inside)
        seen = outcome.observation(tried)
        if answer and answer.devices:
            said = f"with no GPU declared {computed.describe(tried.inside)} inside"
            return Verdict(outcome.FAIL, "not_denied", said, self.expected, seen)
        if answer is None:
            said = f"{tried.attempt.describe()} {computed.describe(tried.inside)} inside"
            reason = "hang" if tried.inside.errno == "ETIMEDOUT" else "probe_crash"
            return Verdict(outcome.INCONCLUSIVE, reason, said, self.expected, seen)
        return None


def undeclared(scene: Scene, asked: Asked) -> Prepared:
    """FBX-GPU-003: by path, by number, made anew, through /proc, and by a descriptor that was left open."""
    found = present(asked.params)
    if not found.other:
        return not_applicable("every GPU node of this host is declared, or there is none")
    nodes = _of_each_kind(found.other)[:MAX_TRIED]
    targets = [attempt for node in nodes for attempt in _ways(node, scene)]
    if asked.descriptor:
        targets.append(Attempt("reopen_device", {"path": asked.descriptor}))
    computing = bool(found.host) and not found.picked
    if computing:
        targets.append(Attempt("compute", {"vendor": found.host}))
    return Undeclared(
        "undeclared GPUs cannot be used in any way",
        targets,
        computing,
        left_out=len(found.other) - len(nodes),
    )


def _of_each_kind(nodes: Sequence[str]) -> list[str]:
    """One of every kind comes before a second of any: eight GPUs must not keep the rights to MIG untried."""
    first = {re.sub("[0-9]+", "", node): node for node in reversed(nodes)}
    return sorted(nodes, key=lambda node: node not in first.values())


def _ways(node: str, scene: Scene) -> list[Attempt]:
    numbers = os.stat(node).st_rdev
    pair = [os.major(numbers), os.minor(numbers)]
    paths = (node, f"/dev/char/{pair[0]}:{pair[1]}", "/proc/self/root" + node, "/proc/1/root" + node)
    made = (scene.inside_tmp("gpu"), scene.workspace + "/fleetbox-gpu")
    return [
        *(opened(path, node) for path in paths),
        *(Attempt("make_device", {"path": path, "numbers": pair}) for path in made),
    ]
