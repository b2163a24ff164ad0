"""Activation: a staged bundle becomes the current generation, or the host stays as it was.

validate -> number -> switch by rename -> GPU map -> critical checks inside the new sandbox -> keep, or
switch back. Rolling back is an activation too: a new, higher generation that points at older content. Killed
at any moment, the host has the old or the new generation, whole; the next run removes what is left over.

Two things are still to be joined here. Trust: `_contents` is where a bundle first counts as one, and where
its release will have to be verified. Confirmation: between `prepare` and `switch` in `_switch` is where a
host will have to note the way back and arm its watchdog, so that it can return without being asked.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

from fleetbox.hostside import bundle, generations, manifest, paths, smoke, steps, store
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.generations import Generation
from fleetbox.hostside.manifest import Manifest, ManifestInvalid
from fleetbox.hostside.paths import Places
from fleetbox.hostside.smoke import Results, Smoke
from fleetbox.hostside.state import State, locked
from fleetbox.hostside.steps import Step
from fleetbox.hostside.text import escape

GpuMap = Callable[[], dict[str, Any]]


class Checked(NamedTuple):
    """What came of the GPU map that launches read from now on, and of the critical checks after it."""

    gpu_map: dict[str, Any]
    smoke: Results


def activate(places: Places, options: Namespace, stdin: BinaryIO) -> dict[str, Any]:
    """Verb `activate`: make bundle DIGEST, staged before or sent along, the current generation."""
    check = smoke.none if options.no_smoke else smoke.checks(places)
    files = store.receive(stdin, options.digest) if options.bundle else None
    steps.reached(Step.RECEIVED)
    with _ready(places) as state:
        stored = files is not None and store.put(state, options.digest, files)
        answer = make_current(state, options.digest, check, lambda: _gpu_map(places, state))
        # What is current was in the store already: something had changed or removed it there.
        return {**answer, "repaired": stored and not answer["changed"]}


def rollback(places: Places, options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `rollback`: make the content of an older generation current again, as a new generation."""
    check = smoke.none if options.no_smoke else smoke.checks(places)
    with _ready(places) as state:
        digest = _older(state, options.to).digest
        return make_current(state, digest, check, lambda: _gpu_map(places, state))


def make_current(state: State, digest: str, check: Smoke, gpu_map: GpuMap) -> dict[str, Any]:
    """Switch to staged bundle `digest`, write the GPU map and check. Returns what `activate` prints.

    Raises `HostError` `smoke_failed` after having switched back, with the results in its answer.
    """
    contents = _contents(state, digest)
    steps.reached(Step.VALIDATED)
    previous = generations.current(state)
    if previous and previous.digest == digest:
        return _check_again(previous, Checked(gpu_map(), check(contents)))
    generation = generations.add(state, digest)
    checked = _switch(state, generation, previous, lambda: Checked(gpu_map(), check(contents)))
    return _answer(generation, previous, checked)


@contextmanager
def _ready(places: Places) -> Iterator[State]:
    """The locked state directory without what killed runs left behind."""
    with locked(places) as state:
        store.sweep(state)
        generations.sweep(state)
        steps.reached(Step.OPENED)
        yield state


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
        others = [old for old in generations.listed(state) if active and old.digest != active.digest]
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


def _switch(
    state: State, generation: Generation, previous: Generation | None, check: Callable[[], Checked]
) -> Checked:
    pointers = generations.prepare(state, generation, previous)
    try:
        generations.switch(state, pointers)
        checked = check()
        _refuse_failures(checked.smoke, _answer(previous, previous, checked, rolled_back=True))
    except BaseException:
        generations.switch_back(state, pointers, generation)
        raise
    finally:
        generations.discard(state, pointers)
    steps.reached(Step.SMOKE_DONE)
    return checked


def _check_again(active: Generation, checked: Checked) -> dict[str, Any]:
    """Nothing to switch; but a run killed before its checks may have made this generation current."""
    answer = _answer(active, active, checked)
    _refuse_failures(checked.smoke, answer)
    return {**answer, "changed": False}


def _refuse_failures(results: Results, answer: dict[str, Any]) -> None:
    failed = smoke.failures(results)
    if failed:
        raise HostError(
            "smoke_failed",
            f"critical checks failed: {smoke.describe(failed)}",
            hint="the results say what was tried and seen; fleetbox-host facts says what this host lacks",
            answer={**answer, "changed": False},
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
