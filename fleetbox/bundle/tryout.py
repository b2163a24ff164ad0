"""The try-out's cache: a compiled policy, and the launcher, in a directory that only its user can reach.

Whoever can write a launch plan or a launcher decides what a workload may do. The launcher refuses both
below a writable root, and masks their directory in the sandbox; a copy of it lies here, because the package
is often inside the workspace: a clone. Directories are 0700 from the moment they exist, and never links.
"""

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fleetbox.errors import UsageError
from fleetbox.hostside import gpu, paths
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.text import escape
from fleetbox.policy import ResolvedPolicy
from fleetbox.policy.explain import explain
from fleetbox.policy.words import Access, GpuMode, Mode, Tmp
from fleetbox.targets import TARGETS, Artifact

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HINT = "set XDG_CACHE_HOME to a directory of your own"


LAUNCHER = "fleetbox-run"


def prepare(policy: ResolvedPolicy, launcher: Path | None = None) -> Path:
    """Compile `policy` into the cache, unless it is there already; returns the launch plan's path.

    A copy of `launcher` lies beside it as `LAUNCHER`, and a map of this machine's GPUs where the policy needs
    one. Raises UnsupportedByTarget, or UsageError where the cache is not safe to use.
    """
    artifacts = TARGETS["bubblewrap"].compile(policy)
    if needs_gpu_map(policy):
        artifacts += (_gpu_map(),)
    if launcher:
        artifacts += (Artifact(LAUNCHER, launcher.read_bytes()),)
    cache = cache_directory(os.environ)
    name = _name(artifacts)
    try:
        with _own_directory(cache) as directory:
            if not _holds(directory, name, artifacts):
                _write(directory, name, artifacts)
    except OSError as error:
        raise UsageError(f"cannot use the cache {cache}: {error.strerror}", hint=_HINT) from error
    return cache / name / paths.LAUNCH_PLAN


def needs_gpu_map(policy: ResolvedPolicy) -> bool:
    """Whether a launch has to know MIG instances by UUID, or CDI devices."""
    wanted = policy.devices.gpu
    selected = () if isinstance(wanted.select, str) else wanted.select
    by_name = any("MIG-" in name or "=" in name for name in selected)
    return wanted.mode is not GpuMode.NONE and (by_name or "cdi" in map(str, wanted.vendors))


def _gpu_map() -> Artifact:
    """As it is now: another one makes another directory of the cache."""
    try:
        return Artifact(paths.TRYOUT_GPU_MAP, gpu.compose(Places()).data)
    except HostError as error:
        raise UsageError(error.message, hint=error.hint) from error


def cache_directory(environment: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/fleetbox/tryout`. A relative value counts as unset, as the specification says."""
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        home = Path(environment.get("HOME", ""))
        if not home.is_absolute():
            raise UsageError("neither XDG_CACHE_HOME nor HOME is an absolute path", hint=_HINT)
        base = home / ".cache"
    return base / "fleetbox" / "tryout"


def _name(artifacts: Sequence[Artifact]) -> str:
    """By content, not by the policy's digest: another fleetbox version may compile the same policy anew."""
    whole = hashlib.sha256()
    for artifact in artifacts:
        whole.update(f"{artifact.path}\0{len(artifact.data)}\0".encode() + artifact.data)
    return whole.hexdigest()


@contextmanager
def _own_directory(cache: Path) -> Iterator[int]:
    """A descriptor of the cache. Only its last two levels are ours to make and to be strict about."""
    cache.parent.parent.mkdir(parents=True, exist_ok=True)
    base = os.open(cache.parent.parent, os.O_DIRECTORY | os.O_CLOEXEC)
    opened = [base]
    try:
        for name in (cache.parent.name, cache.name):
            opened.append(_open_own(opened[-1], name, cache))
        yield opened[-1]
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _open_own(parent: int, name: str, cache: Path) -> int:
    """Make it if it is missing, open it without following a link, and check what was opened."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(descriptor)
        problem = f"{name} in the cache {cache} is not a directory that only you can reach"
        raise UsageError(problem, hint=f"remove it, or {_HINT}")
    return descriptor


def _holds(directory: int, name: str, artifacts: Sequence[Artifact]) -> bool:
    """Whether the content is there, byte for byte: a cut off or changed file is written anew."""
    try:
        inner = os.open(name, _DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        return False
    try:
        return all(_read(inner, artifact.path, len(artifact.data)) == artifact.data for artifact in artifacts)
    finally:
        os.close(inner)


def _read(directory: int, name: str, size: int) -> bytes:
    """Up to one byte more than `size`; nothing for what is missing or no plain file of one name."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError:
        return b""
    with open(descriptor, "rb") as file:
        return file.read(size + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


def _write(directory: int, name: str, artifacts: Sequence[Artifact]) -> None:
    """Into a directory of another name, then renamed: a second `fleetbox run` sees all of it or nothing."""
    temporary = f".{name}.{secrets.token_hex(8)}"
    os.mkdir(temporary, 0o700, dir_fd=directory)
    try:
        inner = os.open(temporary, _DIRECTORY, dir_fd=directory)
        try:
            for artifact in artifacts:
                _write_file(inner, artifact)
        finally:
            os.close(inner)
        _put_in_place(directory, temporary, name, artifacts)
    finally:
        shutil.rmtree(temporary, ignore_errors=True, dir_fd=directory)


def _write_file(directory: int, artifact: Artifact) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    mode = 0o700 if artifact.path == LAUNCHER else 0o600
    with open(os.open(artifact.path, flags, mode, dir_fd=directory), "wb") as file:
        file.write(artifact.data)


def _put_in_place(directory: int, temporary: str, name: str, artifacts: Sequence[Artifact]) -> None:
    """A directory can only be renamed over an empty one, so a damaged one is first moved aside."""
    try:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        if _holds(directory, name, artifacts):
            return  # another `fleetbox run` was first
        damaged = f"{temporary}.damaged"
        os.rename(name, damaged, src_dir_fd=directory, dst_dir_fd=directory)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        shutil.rmtree(damaged, ignore_errors=True, dir_fd=directory)


def refuse_what_it_could_rewrite(
    policy: ResolvedPolicy, own: Iterable[Path], *, workspace: Path, home: Path
) -> None:
    """Refuse when the workload could write the policy's files, or one of `own`: what a later run starts from.

    Raises UsageError naming the file and what makes it writable.
    """
    if policy.mode is Mode.FULL_ACCESS:
        return
    origins = {Path(origin.rpartition(":")[0]) for origin in policy.origins.values()}
    for file in sorted({*own, *(origin for origin in origins if origin.is_file())}):
        found = explain(policy, str(file.resolve()), workspace=workspace.resolve(), home=home.resolve())
        private = policy.filesystem.tmp is Tmp.PRIVATE and found.rule.startswith("filesystem.tmp")
        if found.access is Access.WRITE and not private:
            raise UsageError(
                f"{escape(str(file))} is writable in this sandbox ({escape(found.rule)})",
                hint="keep policies and fleetbox itself outside of what a workload writes: "
                "it would decide about the next run",
            )
