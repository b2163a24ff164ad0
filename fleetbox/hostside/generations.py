"""Generations: numbered pointers into the store, and `current`, the one that launches use.

    generations/7 -> ../store/<sha256 hex>    current -> generations/7    back -> generations/6

`back` is there while generation 7 is on trial. `current` is replaced by rename, so a launch sees the old or
the new generation and never neither. Numbers only grow and are never used twice, also after a generation was
removed: the next one is kept in a file of its own, made durable before the number is used.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from dataclasses import dataclass

from fleetbox.hostside import paths, steps
from fleetbox.hostside.errors import storage_errors
from fleetbox.hostside.state import State, temporary_name, unsafe
from fleetbox.hostside.steps import Step

_TEMPORARY = ".new-"
_CURRENT = os.path.basename(paths.CURRENT)
_BACK = os.path.basename(paths.BACK)
_NEXT = os.path.basename(paths.NEXT_GENERATION)
_GENERATIONS = os.path.basename(paths.GENERATIONS)
_STORE = os.path.basename(paths.STORE)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_POINTER = re.compile(rf"{_GENERATIONS}/([1-9][0-9]{{0,8}})")
_CONTENT = re.compile(rf"\.\./{_STORE}/([0-9a-f]{{64}})")


@dataclass(frozen=True)
class Generation:
    """A number and the digest of the bundle that it activated."""

    number: int
    digest: str


def current(state: State) -> Generation | None:
    """The active generation; None before the first. Raises `HostError` `unsafe_state`."""
    target = _link(_CURRENT, state.root_fd, f"{state.path}/{_CURRENT}")
    if target is None:
        return None
    pointer = _POINTER.fullmatch(target)
    if not pointer:
        raise unsafe(f"{state.path}/{_CURRENT} points to {target!r:.100}, which is no generation")
    generation = get(state, int(pointer[1]))
    if generation is None:
        raise unsafe(f"{state.path}/{_CURRENT} points to {target}, which does not exist")
    return generation


def get(state: State, number: int) -> Generation | None:
    """Generation `number`, or None. Raises `HostError` `unsafe_state`."""
    path = f"{state.path}/{_GENERATIONS}/{number}"
    target = _link(str(number), state.generations_fd, path)
    if target is None:
        return None
    content = _CONTENT.fullmatch(target)
    if not content:
        raise unsafe(f"{path} points to {target!r:.100}, which is not in the store")
    return Generation(number, f"sha256:{content[1]}")


def listed(state: State) -> list[Generation]:
    """All generations, oldest first. Raises `HostError` `unsafe_state`."""
    names = [name for name in os.listdir(state.generations_fd) if _NUMBER.fullmatch(name)]
    found = (get(state, number) for number in sorted(map(int, names)))
    return [generation for generation in found if generation]


def add(state: State, digest: str) -> Generation:
    """A new generation of `digest`, numbered higher than any before it, durable, not yet current."""
    generation = Generation(_reserve(state), digest)
    with storage_errors(state.path):
        content = f"../{_STORE}/{digest[len('sha256:') :]}"
        os.symlink(content, str(generation.number), dir_fd=state.generations_fd)
    steps.reached(Step.GENERATION_WRITTEN)
    os.fsync(state.generations_fd)
    steps.reached(Step.GENERATION_SYNCED)
    return generation


def lay_back(state: State, fallback: Generation | None) -> None:
    """Lay a pointer to `fallback` beside `current`, durably: then a full disk cannot stop the way back."""
    with storage_errors(state.path):
        _lay(state, fallback.number if fallback else None)
    os.fsync(state.root_fd)
    steps.reached(Step.BACK_LAID)


def switch(state: State, generation: Generation) -> None:
    """Make `generation` current, atomically and durably."""
    with storage_errors(state.path):
        temporary = _pointer(state, generation.number)
        try:
            _rename(state, temporary, _CURRENT)
        except BaseException:
            _discard(state, temporary)
            raise
    steps.reached(Step.SWITCHED)
    os.fsync(state.root_fd)
    steps.reached(Step.POINTER_SYNCED)


def go_back(state: State, fallback: int | None) -> None:
    """Make generation `fallback` current again, or none where none was, durably. Needs no space."""
    if fallback is None:
        _discard(state, _CURRENT)
    else:
        if _pointed(state, _BACK) != fallback:
            _lay(state, fallback)
        _rename(state, _BACK, _CURRENT)
    steps.reached(Step.SWITCHED_BACK)
    os.fsync(state.root_fd)
    steps.reached(Step.BACK_SYNCED)


def sweep(state: State, *, keep: frozenset[int] = frozenset()) -> None:
    """Remove what killed runs left: temporary names, `back` where nothing is on trial, and generations above
    the current one but those to `keep`.

    Numbers grow with each activation, so a generation above `current` never finished; kept, it would be
    offered for rolling back to.
    """
    for name in os.listdir(state.root_fd):
        if name.startswith(_TEMPORARY):
            os.unlink(name, dir_fd=state.root_fd)
    if not keep:
        _discard(state, _BACK)
    active = current(state)
    for generation in listed(state):
        if (active is None or generation.number > active.number) and generation.number not in keep:
            forget(state, generation.number)


def forget(state: State, number: int) -> None:
    """Remove a generation that is neither current nor on trial, durably; the store keeps its content."""
    with suppress(FileNotFoundError):
        os.unlink(str(number), dir_fd=state.generations_fd)
    os.fsync(state.generations_fd)


def _lay(state: State, number: int | None) -> None:
    if number is None:
        return _discard(state, _BACK)
    temporary = _pointer(state, number)
    try:
        _rename(state, temporary, _BACK)
    except BaseException:
        _discard(state, temporary)
        raise


def _reserve(state: State) -> int:
    """The next number, used up durably before anything carries it."""
    number = max([_next(state), *(generation.number + 1 for generation in listed(state))])
    temporary = temporary_name(_TEMPORARY)
    try:
        with storage_errors(state.path):
            _write_next(state, temporary, number + 1)
            _rename(state, temporary, _NEXT)
    except BaseException:
        _discard(state, temporary)
        raise
    os.fsync(state.root_fd)
    steps.reached(Step.NUMBER_RESERVED)
    return number


def _next(state: State) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(_NEXT, flags, dir_fd=state.root_fd), "rb") as file:
            text = file.read(16).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return 1
    if not _NUMBER.fullmatch(text):
        raise unsafe(f"{state.path}/{_NEXT} holds {text!r}, not a number")
    return int(text)


def _write_next(state: State, name: str, number: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o644, dir_fd=state.root_fd), "wb") as file:
        file.write(b"%d\n" % number)
        file.flush()
        os.fsync(file.fileno())


def _pointer(state: State, number: int) -> str:
    temporary = temporary_name(_TEMPORARY)
    os.symlink(f"{_GENERATIONS}/{number}", temporary, dir_fd=state.root_fd)
    return temporary


def _pointed(state: State, name: str) -> int | None:
    """The generation that a pointer beside `current` names; None where it names none."""
    pointer = _POINTER.fullmatch(_link(name, state.root_fd, f"{state.path}/{name}") or "")
    return int(pointer[1]) if pointer else None


def _rename(state: State, temporary: str, name: str) -> None:
    os.rename(temporary, name, src_dir_fd=state.root_fd, dst_dir_fd=state.root_fd)


def _discard(state: State, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=state.root_fd)


def _link(name: str, dir_fd: int, path: str) -> str | None:
    """Where symlink `name` points; None when there is nothing of that name."""
    try:
        return os.readlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
        raise unsafe(f"{path} is not a symbolic link") from None
