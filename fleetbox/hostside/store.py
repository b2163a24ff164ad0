"""The store: one directory per bundle, named by its digest, whole or not there at all.

A bundle is written under a temporary name, made durable, and only then renamed. What is already there is
read back rather than trusted: as a bundle has one encoding, its digest can be computed from the directory,
and a power cut or a bad disk that left the right names with the wrong content is found.
"""

from __future__ import annotations

import os
import shutil
import stat
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from fleetbox.hostside import bundle, manifest, paths, reversal, steps, ustar
from fleetbox.hostside.bundle import Files
from fleetbox.hostside.errors import Exit, HostError, storage_errors
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State, check_own, locked, opened, temporary_name, unsafe
from fleetbox.hostside.steps import Step

_TEMPORARY = ".tmp-"
_DEPTH_MAX = 8


def stage(places: Places, options: Namespace, stdin: BinaryIO) -> dict[str, Any]:
    """Verb `stage`: put the bundle on stdin into the store."""
    files = receive(stdin, options.digest)
    with locked(places) as state:
        reversal.settle(places, state)
        sweep(state)
        return {"changed": put(state, options.digest, files), "digest": options.digest}


def receive(stdin: BinaryIO, digest: str) -> Files:
    """The files of the bundle on `stdin`, which must have `digest`; bounded, in memory, nothing written."""
    data = stdin.read(manifest.BUNDLE_LIMIT + 1)
    if len(data) > manifest.BUNDLE_LIMIT:
        raise bundle.invalid(f"larger than {manifest.BUNDLE_LIMIT} bytes")
    return bundle.read(data, digest)


def put(state: State, digest: str, files: Files) -> bool:
    """Publish `files` as `digest`, durably. True if something changed; a damaged copy is replaced."""
    name = _name(digest)
    if _holds(state, name, digest):
        os.fsync(state.store_fd)  # a run killed right after its rename may have left this undone
        return False
    temporary = temporary_name(_TEMPORARY)
    try:
        with storage_errors(state.path):
            _write(state, temporary, files)
            _publish(state, temporary, name)
    except BaseException:
        _remove(state, temporary)
        raise
    os.fsync(state.store_fd)
    steps.reached(Step.STORE_SYNCED)
    return True


def load(state: State, digest: str) -> Files:
    """All files of a staged bundle, manifest first, proven to be `digest`.

    Raises `HostError`: `not_staged`, or `tampered` (exit 6) when the content is not what the name says.
    """
    if not _present(state, _name(digest)):
        raise HostError("not_staged", f"{digest} is not on this host", hint="send the bundle along")
    files = _read(state, _name(digest))
    if bundle.digest_of(ustar.write(files)) != digest:
        raise HostError(
            "tampered",
            f"{state.path}/store/{_name(digest)} does not hold what its name says",
            hint="push the policy again to replace it, and find out what changed it",
            exit_code=Exit.TAMPERED,
        )
    return files


def sweep(state: State) -> None:
    """Remove what killed runs left behind. Only under the lock, where no other run can be at work."""
    for name in os.listdir(state.store_fd):
        if name.startswith(_TEMPORARY):
            _remove(state, name)


def listed(state: State) -> list[str]:
    """The digests of all staged bundles, sorted."""
    return sorted(f"sha256:{name}" for name in os.listdir(state.store_fd) if manifest.HEX.fullmatch(name))


def age_s(state: State, digest: str, now: float) -> float:
    """Seconds since a bundle was staged; `now` as time.time()."""
    return now - os.stat(_name(digest), dir_fd=state.store_fd, follow_symlinks=False).st_mtime


def drop(state: State, digest: str) -> None:
    """Remove a bundle that no generation has: it loses its name first, so it is whole or not there."""
    aside = temporary_name(_TEMPORARY)
    os.rename(_name(digest), aside, src_dir_fd=state.store_fd, dst_dir_fd=state.store_fd)
    _remove(state, aside)
    os.fsync(state.store_fd)


def _name(digest: str) -> str:
    return digest[len("sha256:") :]


def _present(state: State, name: str) -> bool:
    try:
        os.stat(name, dir_fd=state.store_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _holds(state: State, name: str, digest: str) -> bool:
    """Whether the store has `name` and its content really is `digest`."""
    try:
        return _present(state, name) and bundle.digest_of(ustar.write(_read(state, name))) == digest
    except HostError:
        return False


def _write(state: State, temporary: str, files: Files) -> None:
    """Write and sync everything. Every directory is made here, anew, so no component can be a link."""
    os.mkdir(temporary, 0o755, dir_fd=state.store_fd)
    directories = sorted({parent for name, _ in files for parent in _parents(name)})
    with opened(temporary, dir_fd=state.store_fd) as root_fd:
        for directory in directories:
            os.mkdir(directory, 0o755, dir_fd=root_fd)
        for name, data in files:
            _write_file(name, data, root_fd)
        steps.reached(Step.UNPACKED)
        for name in (*(name for name, _ in files), *directories, "."):
            _sync(name, root_fd)
    steps.reached(Step.FILES_SYNCED)


def _parents(name: str) -> Iterator[str]:
    parts = name.split("/")[:-1]
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))


def _write_file(name: str, data: bytes, dir_fd: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o644, dir_fd=dir_fd), "wb") as file:
        file.write(data)


def _sync(name: str, dir_fd: int) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _publish(state: State, temporary: str, name: str) -> None:
    """Give the directory its name. A damaged one is moved aside first: a directory cannot be replaced."""
    aside = temporary_name(_TEMPORARY)
    if damaged := _present(state, name):
        os.rename(name, aside, src_dir_fd=state.store_fd, dst_dir_fd=state.store_fd)
    os.rename(temporary, name, src_dir_fd=state.store_fd, dst_dir_fd=state.store_fd)
    steps.reached(Step.PUBLISHED)
    if damaged:
        _remove(state, aside)


def _remove(state: State, name: str) -> None:
    with suppress(FileNotFoundError):
        path = f"{state.path}/{os.path.basename(paths.STORE)}/{name}"
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _read(state: State, name: str) -> Files:
    """The files below store/`name`, the manifest first. Raises `HostError` for anything but plain files."""
    try:
        with opened(name, dir_fd=state.store_fd) as fd:
            files = sorted(_walk(fd, "", f"{state.path}/store/{name}"))
    except NotADirectoryError:
        raise unsafe(f"{state.path}/store/{name} is not a directory, or is a link") from None
    return sorted(files, key=lambda file: file[0] != paths.MANIFEST)


def _walk(dir_fd: int, prefix: str, shown: str) -> Iterator[tuple[str, bytes]]:
    check_own(os.fstat(dir_fd), f"{shown}/{prefix}")
    for entry in os.listdir(dir_fd):
        path = prefix + entry
        kind = os.stat(entry, dir_fd=dir_fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(kind) and path.count("/") < _DEPTH_MAX:
            with opened(entry, dir_fd=dir_fd) as fd:
                yield from _walk(fd, f"{path}/", shown)
        elif stat.S_ISREG(kind):
            yield path, _read_file(entry, dir_fd, f"{shown}/{path}")
        else:
            raise unsafe(f"{shown}/{path} is neither a file nor a directory of a bundle")


def _read_file(name: str, dir_fd: int, shown: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=dir_fd), "rb") as file:
        check_own(os.fstat(file.fileno()), shown)
        data = file.read(manifest.ARTIFACT_LIMIT + 1)
    if len(data) > manifest.ARTIFACT_LIMIT:
        raise unsafe(f"{shown} is larger than a file of a bundle")
    return data
