"""The signed metadata that this host has verified, of both repositories: one file, whole, old or new.

A TUF client writes its files one by one, without syncing any. Here it works in a private copy, and what it
leaves is put in place by one rename. Losing the file costs nothing but protection that the floor gives, too,
so a damaged one counts as none; one that somebody else can write is refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from fleetbox.hostside import paths, release, small_file, trust_words, ustar
from fleetbox.hostside.errors import HostError, storage_errors
from fleetbox.hostside.state import State, check_own, opened, temporary_name

_DIRECTORY = os.path.basename(paths.TRUST)
_NAME = os.path.basename(paths.TRUST_METADATA)
_WORK = ".tmp-"
_KEPT_MAX = 32 * 1024 * 1024
_SIZE_MAX = 2 * _KEPT_MAX  # of the tar, which has a header and padding for each file
TIMESTAMP = "timestamp.json"
_ROOT = "root.json"  # the client's link to the newest of root_history

Files = dict[str, bytes]


class Signed(NamedTuple):
    """What a stored metadata file says of itself. It was verified before it was stored."""

    name: str
    version: int
    expires: str


@contextmanager
def changing(state: State) -> Iterator[str]:
    """A private directory with the stored files; what is in it at the end is stored, durably.

    Also when a `HostError` ends the block: what was verified before the refusal, a new root above all, stays
    verified. Any other end leaves what was stored.
    """
    with suppress(FileExistsError):
        os.mkdir(_DIRECTORY, 0o755, dir_fd=state.root_fd)
    os.fsync(state.root_fd)  # also where a run that was killed made it
    with opened(_DIRECTORY, dir_fd=state.root_fd) as fd:
        if os.geteuid() == 0:
            check_own(os.fstat(fd), f"{state.path}/{_DIRECTORY}")
        _sweep(state, fd)
        before = _read(state, fd)
        with _working_copy(state, before) as directory:
            try:
                yield directory
            except HostError:
                after = read_directory(directory)
                if _fits(after):  # what is refused may not fill up what is kept
                    _store(state, fd, before, after)
                raise
            after = read_directory(directory)
            if not _fits(after):
                raise trust_words.refused("too_large", f"the metadata has more than {_KEPT_MAX} bytes")
            _store(state, fd, before, after)


def stored(state: State, repository: str) -> list[Signed]:
    """What is stored of a repository, of root files the newest; empty before the first push."""
    try:
        with opened(_DIRECTORY, dir_fd=state.root_fd) as fd:
            files = _read(state, fd)
    except FileNotFoundError:
        return []
    own = {
        name[len(repository) + 1 :]: data for name, data in files.items() if name.startswith(f"{repository}/")
    }
    roots = [_signed(name, data) for name, data in own.items() if "/" in name]
    rest = [_signed(name, data) for name, data in own.items() if "/" not in name]
    return [*sorted(roots, key=lambda root: root.version)[-1:], *rest]


def versions(state: State) -> tuple[int, int]:
    """Which timestamps are stored, of both repositories; 0 where there is none. Every signing raises one."""
    of = {
        repository: {signed.name: signed.version for signed in stored(state, repository)}
        for repository in (release.POLICY_REPOSITORY, release.ASSIGNMENT_REPOSITORY)
    }
    return (
        of[release.POLICY_REPOSITORY].get(TIMESTAMP, 0),
        of[release.ASSIGNMENT_REPOSITORY].get(TIMESTAMP, 0),
    )


def read_directory(directory: str) -> Files:
    """Every plain file below a client's directory, by path; the client's link is left out."""
    files = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    files[os.path.relpath(path, directory)] = file.read()
    return files


def write_directory(directory: str, files: Files) -> None:
    """The other way."""
    for name, data in files.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "xb") as file:
            file.write(data)


def _signed(name: str, data: bytes) -> Signed:
    fields: dict[str, Any] = json.loads(data)["signed"]
    return Signed(name, fields["version"], fields["expires"])


def _read(state: State, dir_fd: int) -> Files:
    data = small_file.read(state, _NAME, dir_fd=dir_fd, limit=_SIZE_MAX)
    try:
        return dict(ustar.read(data)) if data else {}
    except ustar.TarInvalid:
        return {}


@contextmanager
def _working_copy(state: State, files: Files) -> Iterator[str]:
    directory = f"{state.path}/{_DIRECTORY}/{temporary_name(_WORK)}"
    try:
        with storage_errors(state.path):
            os.mkdir(directory, 0o700)
            write_directory(directory, files)
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _fits(files: Files) -> bool:
    """Whether it may be stored, so that it can be read again and takes what one more delivery brings."""
    return sum(map(len, files.values())) <= _KEPT_MAX


def _store(state: State, dir_fd: int, before: Files, after: Files) -> None:
    if after == before:
        os.fsync(dir_fd)  # a run killed right after its rename may have left this undone
        return
    data = ustar.write(sorted(after.items()))
    small_file.replace(state, _NAME, data, dir_fd=dir_fd)


def _sweep(state: State, dir_fd: int) -> None:
    for name in os.listdir(dir_fd):
        if name.startswith(small_file.TEMPORARY):
            os.unlink(name, dir_fd=dir_fd)
        if name.startswith(_WORK):
            shutil.rmtree(f"{state.path}/{_DIRECTORY}/{name}")
