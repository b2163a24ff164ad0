"""Activation: a staged bundle becomes the current generation, or the host goes back to where it was.

validate -> number -> lay the way back -> remember the trial -> arm the watchdog -> switch by rename -> GPU
map -> critical checks inside the new sandbox -> wait for `confirm`, or keep at once where none is asked for.
Rolling back is an activation too: a new, higher generation that points at older content. Killed at any
moment, the host has the old or the new generation, whole; whoever comes next, the watchdog or the next
command, ends the trial that was left.

Where the new generation takes access away, the way back leads to the strictest baseline and not to the
wider generation before: a workload must not undo a tightening by breaking its checks. The sender says of
which bundles the new one takes nothing away; what nobody says counts as taken.

A host that has trust anchors takes only what `verify` lets through; `wanted` has that half.
"""

from __future__ import annotations

import os
import secrets
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

from fleetbox.hostside import (
    audit,
    baseline,
    bundle,
    clock,
    collect,
    generations,
    manifest,
    paths,
    pending,
    quarantine,
    reversal,
    smoke,
    steps,
    store,
    wanted,
    watchdog,
)
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.generations import Generation
from fleetbox.hostside.manifest import Manifest, ManifestInvalid
from fleetbox.hostside.paths import Places
from fleetbox.hostside.pending import Pending
from fleetbox.hostside.smoke import Results, Smoke
from fleetbox.hostside.state import State, locked
from fleetbox.hostside.steps import Step
from fleetbox.hostside.text import escape
from fleetbox.hostside.wanted import Terms, Wanted


class Begun(NamedTuple):
    """A trial that is remembered, and from where it began."""

    trial: Pending
    previous: Generation | None
    confirm_within: int | None


class Checked(NamedTuple):
    """What came of the GPU map that launches read from now on, and of the critical checks after it."""

    gpu_map: dict[str, Any]
    smoke: Results


def activate(places: Places, options: Namespace, stdin: BinaryIO) -> dict[str, Any]:
    """Verb `activate`: make bundle DIGEST, staged before or sent along, the current generation; or what a
    signed delivery assigns to this host.
    """
    check = smoke.none if options.no_smoke else smoke.checks(places)
    with wanted.refusals_recorded(places):
        choose = wanted.signed if options.delivery else wanted.unsigned
        chosen = choose(places, options, stdin)
    steps.reached(Step.RECEIVED)
    with _ready(places) as state:
        with wanted.refusals_recorded(places):
            asked = chosen(state)
        stored = asked.files is not None and store.put(state, asked.digest, asked.files)
        answer = _make_current(places, state, asked, check)
        # What is current was in the store already: something had changed or removed it there.
        return {**answer, **asked.said, "repaired": stored and not answer["changed"]}


def rollback(places: Places, options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `rollback`: make the content of an older generation current again, as a new generation.

    Where only signed releases are taken, going back is one, too: `fleetbox rollback` assigns it.
    """
    with wanted.refusals_recorded(places):
        wanted.refuse_unsigned(places)
    check = smoke.none if options.no_smoke else smoke.checks(places)
    with _ready(places) as state:
        digest = _older(state, options.to).digest
        return _make_current(places, state, wanted.as_told(digest, None, options), check)


@contextmanager
def _ready(places: Places) -> Iterator[State]:
    """The locked state directory without what killed runs and trials that are over left behind."""
    with locked(places) as state:
        reversal.settle(places, state)
        store.sweep(state)
        generations.sweep(state, keep=pending.needed(state))
        quarantine.sweep(state)
        steps.reached(Step.OPENED)
        yield state


def _make_current(places: Places, state: State, asked: Wanted, check: Smoke) -> dict[str, Any]:
    """Switch to a staged bundle, write the GPU map and check. Returns what `activate` prints.

    Raises `HostError` `smoke_failed` after having gone back, with the results in its answer.
    """
    contents = _contents(state, asked.digest)
    if asked.terms.retry:
        quarantine.clear(state, asked.digest)
    quarantine.refuse(state, asked.digest)
    steps.reached(Step.VALIDATED)
    _record(places, state, asked)
    asked.accept()
    # Only now: what is refused takes nobody's trial away.
    reversal.settle(places, state, superseding=True)

    def checked() -> Checked:
        return Checked(_gpu_map(places, state), check(contents))

    previous = generations.current(state)
    if previous and previous.digest == asked.digest:
        return _check_again(previous, checked())
    trial = _begin(places, state, asked.digest, previous, asked.terms)
    return _try(places, state, Begun(trial, previous, asked.terms.confirm_within), checked)


def _record(places: Places, state: State, asked: Wanted) -> None:
    """What is about to be done; where that cannot be written down, it is not done. Raises `HostError`."""
    active = generations.current(state)
    if active is None or active.digest != asked.digest:
        audit.record(
            places,
            "activation_begun",
            digest=asked.digest,
            before=active and active.digest,
            by=os.environ.get("SUDO_USER", ""),
            confirm_within=asked.terms.confirm_within,
            **asked.said,
        )


def _begin(places: Places, state: State, digest: str, previous: Generation | None, terms: Terms) -> Pending:
    """Everything that must be durable before the switch: the generation, the way back, and the trial."""
    generation = generations.add(state, digest)
    fallback = None
    try:
        fallback = _way_back(state, generation, previous, terms)
        generations.lay_back(state, fallback)
        trial = _trial(places, generation, fallback, terms.confirm_within)
        pending.write(state, trial)
    except BaseException:
        for unused in (generation, fallback):
            if unused is not None and unused != previous:
                with suppress(OSError):
                    generations.forget(state, unused.number)
        raise
    steps.reached(Step.PENDING_WRITTEN)
    return trial


def _way_back(
    state: State, generation: Generation, previous: Generation | None, terms: Terms
) -> Generation | None:
    """The generation before; or the strictest baseline, as a generation of its own above the new one."""
    if previous is None or previous.digest in terms.not_narrower_than:
        return previous
    digest = baseline.put(state)
    return previous if previous.digest == digest else generations.add(state, digest)


def _trial(
    places: Places, generation: Generation, fallback: Generation | None, confirm_within: int | None
) -> Pending:
    now = clock.now(places)
    return Pending(
        generation=generation.number,
        digest=generation.digest,
        fallback=fallback.number if fallback else None,
        nonce=secrets.token_hex(16),
        checked=False,
        boot=now.boot,
        since=now.since_boot,
        until=now.since_boot + (confirm_within or 0),
        until_wall=now.wall,
    )


def _try(places: Places, state: State, begun: Begun, check: Callable[[], Checked]) -> dict[str, Any]:
    """Switch and check. Whatever is raised on the way, the host has gone back by then."""
    trial = begun.trial
    generation = Generation(trial.generation, trial.digest)
    try:
        armed = watchdog.arm(places)
        steps.reached(Step.ARMED)
        generations.switch(state, generation)
        checked = check()
        failed = smoke.failures(checked.smoke)
        ending = {} if failed else _passed(places, state, trial, begun.confirm_within)
    except BaseException:
        reversal.reverse(places, state, trial, "interrupted")
        raise
    if failed:
        reversal.reverse(places, state, trial, "checks_failed", failed)
        raise _failed(state, trial, checked, failed)
    audit.attempt(
        places, "activated", generation=trial.generation, digest=trial.digest, on_trial=bool(ending)
    )
    if not ending:
        reversal.tidy(state, trial, trial.generation)
        collect.after_trial(state)
    return {**_answer(generation, begun.previous, checked), **ending, "watchdog": armed}


def _passed(places: Places, state: State, trial: Pending, confirm_within: int | None) -> dict[str, Any]:
    """Wait for the confirmation from now on, durably; nothing to say where none was asked for."""
    steps.reached(Step.SMOKE_DONE)
    if confirm_within is None:
        pending.remove(state)
        steps.reached(Step.CONFIRMED)
        return {}
    now = clock.now(places)
    until_wall = clock.later(now.wall, confirm_within)
    waiting = trial._replace(checked=True, until=now.since_boot + confirm_within, until_wall=until_wall)
    pending.write(state, waiting)
    steps.reached(Step.AWAITING)
    return {"pending": {"nonce": trial.nonce, "within_s": confirm_within, "until": until_wall}}


def _failed(state: State, trial: Pending, checked: Checked, failed: Results) -> HostError:
    """The refusal after the way back, with what holds now; a bundle that failed is not tried again."""
    # Unlike a fail, an error says nothing of the bundle.
    proven = [result for result in failed if result["status"] == "fail"]
    quarantined = False
    if proven:
        with suppress(HostError):  # a full disk keeps it from being remembered, and nothing else
            quarantine.add(state, trial.digest, trial.generation, proven)
            quarantined = True
    active = generations.current(state)
    answer = {
        **_answer(active, active, checked, rolled_back=True),
        "changed": False,
        "failed_generation": trial.generation,
        "baseline": baseline.is_it(active.digest) if active else False,
        "quarantined": quarantined,
    }
    return _smoke_failed(failed, answer)


def _gpu_map(places: Places, state: State) -> dict[str, Any]:
    """What launches must know of GPUs, as it is now; `problem` says what is wrong with it."""
    try:
        said = import_module("fleetbox.hostside.gpu").refresh(places, state)
    except Exception as problem:  # noqa: BLE001  # no spec and no library may keep a host from going back
        return {"changed": False, "problem": escape(f"{type(problem).__name__}: {problem}")}
    return {"changed": said["changed"], "problem": said["mig_problem"]}


def _older(state: State, number: int | None) -> Generation:
    """Generation `number`; without one, the newest older one with another content."""
    active = generations.current(state)
    if number is not None:
        chosen = generations.get(state, number)
    else:
        # The baseline that a trial may go back to is newer than the generation on trial.
        older = [old for old in generations.listed(state) if active and old.number < active.number]
        others = [old for old in older if active and old.digest != active.digest]
        chosen = others[-1] if others else None
    if chosen is None:
        wanted = f"generation {number}" if number is not None else "older generation"
        raise HostError(
            "no_such_generation",
            f"this host has no {wanted} to roll back to",
            hint="fleetbox-host status lists the generations",
        )
    return chosen


def _contents(state: State, digest: str) -> Manifest:
    """The manifest of a staged bundle that was read back whole and that this host can use."""
    files = dict(store.load(state, digest))
    try:
        contents = manifest.decode(files[paths.MANIFEST])
        bundle.check_for_linux(contents, files)
    except ManifestInvalid as problem:
        raise bundle.invalid(problem.reason) from None
    return contents


def _check_again(active: Generation, checked: Checked) -> dict[str, Any]:
    """Nothing to switch; but what made it fail may have come since."""
    answer = {**_answer(active, active, checked), "changed": False}
    failed = smoke.failures(checked.smoke)
    if failed:
        raise _smoke_failed(failed, answer)
    return answer


def _smoke_failed(failed: Results, answer: dict[str, Any]) -> HostError:
    return HostError(
        "smoke_failed",
        f"critical checks failed: {smoke.describe(failed)}",
        hint="the results say what was tried and seen; fleetbox-host facts says what this host lacks",
        answer=answer,
    )


def _answer(
    generation: Generation | None, previous: Generation | None, checked: Checked, *, rolled_back: bool = False
) -> dict[str, Any]:
    return {
        "changed": True,
        "generation": generation and generation.number,
        "previous": previous and previous.number,
        "digest": generation and generation.digest,
        "smoke": checked.smoke,
        "gpu_map": checked.gpu_map,
        "rolled_back": rolled_back,
    }
