"""The two rounds of a call: everything outside the sandbox, then everything inside in one launch.

What a round prints is another user's word: bounded, parsed strictly, and an outcome that is missing is an
error of its check, never a pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fleetbox.hostside.probes import outcome
from fleetbox.hostside.probes.launch import LAUNCH_LIMIT, Finished, Launches
from fleetbox.hostside.probes.outcome import Attempt, Outcome, Tried, Verdict
from fleetbox.hostside.probes.trial import Trial

_ENDS = {125: "launch_refused", 126: "wrapper_missing", 127: "wrapper_missing"}
_FIELDS: dict[str, type] = {"ok": bool, "errno": str, "value": str, "signal": int, "ms": int}
_TEXT_LIMIT = 16_000


class Surroundings(NamedTuple):
    """What both rounds are started with: what the sandbox drops must have been there."""

    workspace: str
    environment: Mapping[str, str]
    descriptor: int
    timeout: float = LAUNCH_LIMIT


class Round(NamedTuple):
    """The outcomes of one round, in the order of its attempts; or the problem that left none."""

    outcomes: Sequence[Outcome]
    reason: str = ""
    problem: str = ""


def outside(trials: Mapping[str, Trial], launches: Launches, around: Surroundings) -> Sequence[Outcome]:
    """What every target comes to without a sandbox; all of it undone again when this returns."""
    targets = [attempt for trial in trials.values() for attempt in trial.targets]
    played = _round([], targets, launches, around)
    return played.outcomes or [Outcome(False, value=played.problem)] * len(targets)


def inside(
    trials: Mapping[str, Trial], controls: Sequence[Outcome], launches: Launches, around: Surroundings
) -> tuple[dict[str, Verdict], dict[str, int]]:
    """Verdicts, and milliseconds spent inside, by check id; `controls` are what `outside` returned."""
    targets = [attempt for trial in trials.values() for attempt in trial.targets]
    twins = [attempt for trial in trials.values() for attempt in trial.twins]
    words = launches.common(around.workspace)
    played = _round(words, [*targets, *twins], launches, around)
    if not played.outcomes:
        return {check: _failed(trial, played) for check, trial in trials.items()}, {}
    return _judge(trials, played.outcomes, controls, len(targets))


def _judge(
    trials: Mapping[str, Trial], inside: Sequence[Outcome], outside: Sequence[Outcome], first_twin: int
) -> tuple[dict[str, Verdict], dict[str, int]]:
    verdicts, spent = {}, {}
    at, twin_at = 0, first_twin
    for check, trial in trials.items():
        end, twin_end = at + len(trial.targets), twin_at + len(trial.twins)
        tried = list(map(Tried, trial.targets, inside[at:end], outside[at:end]))
        twins = [(twin, inside[n]) for n, twin in enumerate(trial.twins, twin_at)]
        verdicts[check] = trial.judge(tried, twins)
        spent[check] = sum(result.ms for result in (*inside[at:end], *inside[twin_at:twin_end]))
        at, twin_at = end, twin_end
    return verdicts, spent


def _failed(trial: Trial, inside: Round) -> Verdict:
    status = outcome.INCONCLUSIVE if inside.reason == "timeout" else outcome.ERROR
    return Verdict(status, inside.reason, f"the launch failed: {inside.problem}", trial.expected)


def _round(words: Sequence[str], tried: Sequence[Attempt], launches: Launches, around: Surroundings) -> Round:
    ended = launches.execute(
        words, tried, around.timeout,
        environment=dict(around.environment), descriptors=[around.descriptor],
    )  # fmt: skip
    if ended.code == 0:
        try:
            return Round(_parsed(ended.stdout, len(tried)))
        except ValueError as problem:
            return Round((), "probe_crash", f"its answer is not one: {problem}")
    return Round((), _reason(ended), ended.problem())


def _reason(ended: Finished) -> str:
    if ended.code is None:
        return "probe_crash" if ended.too_much else "timeout"
    return _ENDS.get(ended.code, "probe_crash")


def _parsed(text: bytes, count: int) -> list[Outcome]:
    """Raises ValueError for anything but `count` outcomes."""
    answers: Any = json.loads(text)
    if not isinstance(answers, list) or len(answers) != count:
        raise ValueError(f"{count} outcomes expected")
    return [parsed_outcome(answer) for answer in answers]


def parsed_outcome(answer: object) -> Outcome:
    """Raises ValueError for anything but an outcome."""
    if not isinstance(answer, dict) or "ok" not in answer:
        raise ValueError("an outcome is an object with `ok`")
    for name, value in answer.items():
        if type(value) is not _FIELDS.get(name):
            raise ValueError(f"{name!r:.40} is not a field of an outcome, or has another type")
        if isinstance(value, str) and len(value) > _TEXT_LIMIT:
            raise ValueError(f"{name} is longer than {_TEXT_LIMIT} characters")
    return Outcome(**answer)
