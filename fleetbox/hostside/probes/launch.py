"""Starting programs for probes: as the workload's user, bounded in time and output, ended by pid.

A control outside the sandbox is the very command of the inside launch without its first words, so that the
sandbox is the only difference between the two.
"""

from __future__ import annotations

import json
import os
import pwd
import selectors
import subprocess
import time
from collections.abc import Sequence
from types import ModuleType
from typing import IO, Any, NamedTuple, cast

from fleetbox.hostside import paths
from fleetbox.hostside.probes import attempts
from fleetbox.hostside.probes.gpu import cuda, hip, level_zero, library, tried
from fleetbox.hostside.probes.outcome import Attempt

LAUNCH_LIMIT = 60.0  # seconds for everything that is tried in one launch
OUTPUT_LIMIT = 256 * 1024
# What is sent beside attempts.py where a GPU is asked for; each after those that it imports.
_GPU_MODULES = (library, cuda, hip, level_zero, tried)
# The modules import each other by their names, which a sandbox need not have.
_PROGRAM = """\
import json, sys, types
for name, text in json.loads({sources!r}):
    module = sys.modules[name] = types.ModuleType(name)
    package, _, last = name.rpartition(".")
    setattr(sys.modules.setdefault(package, types.ModuleType(package)), last, module)
    exec(compile(text, name, "exec"), module.__dict__)
sys.modules[{main!r}].main(json.loads({calls!r}), {limit!r})
"""
# What a launcher needs to start anything; the workload's own environment is the policy's business.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Installation(NamedTuple):
    """Where the launcher is, and what it obeys: the host's state, or in a try-out the file `plan`."""

    launcher: str = paths.LAUNCHER
    state: str = paths.STATE
    plan: str | None = None


class Account(NamedTuple):
    """The unprivileged user that workloads run as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @classmethod
    def named(cls, name: str) -> Account:
        """Raises KeyError for a name that the host does not know."""
        entry = pwd.getpwnam(name)
        groups = os.getgrouplist(name, entry.pw_gid)
        return cls(name, entry.pw_uid, entry.pw_gid, tuple(groups), entry.pw_dir)

    @classmethod
    def current(cls) -> Account:
        """Who we are; HOME decides, because an account may lack a passwd entry."""
        uid = os.getuid()
        home = os.environ.get("HOME") or "/"
        return cls(str(uid), uid, os.getgid(), tuple(os.getgroups()), home)

    def environment(self) -> dict[str, str]:
        """The clean environment that everything is started with."""
        return {"PATH": PATH, "HOME": self.home, "LANG": "C.UTF-8", "USER": self.name}


class Finished(NamedTuple):
    """How a program ended. `code` is None when it was ended for its time or its output."""

    code: int | None
    stdout: bytes
    stderr: bytes

    @property
    def too_much(self) -> bool:
        """Whether it said more than anybody wants to keep."""
        return max(len(self.stdout), len(self.stderr)) > OUTPUT_LIMIT

    def problem(self) -> str:
        """The first words of stderr, or how it ended, in printable characters."""
        text = self.stderr.decode("utf-8", "replace").strip()
        said = "".join(letter if letter.isprintable() else " " for letter in text[:400])
        if self.too_much:
            return "it said too much"
        return said or ("took too long" if self.code is None else f"ended with {self.code}")


def start(
    argv: Sequence[str],
    *,
    account: Account,
    program: str = "",
    environment: dict[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `argv` with `program` on stdin, as the account, from /, with nothing inherited.

    Raises OSError when it cannot be started.
    """
    switch: dict[str, Any] = {}
    if os.geteuid() == 0:
        switch = {"user": account.uid, "group": account.gid, "extra_groups": list(account.groups)}
    # A file in memory instead of a pipe: nothing to write while reading, so nothing can block.
    stdin = os.memfd_create("fleetbox-probe")
    try:
        os.write(stdin, program.encode())
        os.lseek(stdin, 0, os.SEEK_SET)
        return subprocess.Popen(
            list(argv), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
            env={**account.environment(), **(environment or {})}, pass_fds=tuple(descriptors),
            start_new_session=True, **switch,
        )  # fmt: skip
    finally:
        os.close(stdin)


def finish(process: subprocess.Popen[bytes], *, timeout: float) -> Finished:
    """Read what the process says until it ends; past `timeout` seconds or the output limit it is killed."""
    stdout, stderr = cast("IO[bytes]", process.stdout), cast("IO[bytes]", process.stderr)
    said: dict[Any, bytearray] = {stdout: bytearray(), stderr: bytearray()}
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector, stdout, stderr:
        for stream in said:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                chunk = os.read(key.fd, 65536)
                said[key.fileobj] += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
            if any(len(text) > OUTPUT_LIMIT for text in said.values()):
                break
        ended = not selector.get_map()
    code = _wait(process, until=deadline if ended else 0.0)
    return Finished(code, bytes(said[stdout]), bytes(said[stderr]))


def _wait(process: subprocess.Popen[bytes], *, until: float) -> int | None:
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


class Launches(NamedTuple):
    """The ways to start the program of `attempts.py`, decided once for a call of the probes."""

    installation: Installation
    account: Account
    policy: str | None = None

    def common(self, workspace: str) -> list[str]:
        """The words of a launch through the active launch plan.

        The account starts it, as a person would, and not root with --user, which passes no environment on.
        """
        if self.installation.plan is not None:
            return self.copied(workspace, self.installation.plan)
        return self._words(workspace, ["--policy", self.policy] if self.policy else [])

    def copied(self, workspace: str, plan: str) -> list[str]:
        """The words of a launch through a launch plan of the account's own."""
        return self._words(workspace, ["--plan", plan])

    def _words(self, workspace: str, which: Sequence[str]) -> list[str]:
        """Checks do not compete with workloads: neither for a GPU that one has alone, nor by keeping one."""
        return [self.installation.launcher, *which, "--share-gpu", "--workspace", workspace, "--"]

    def start(
        self, words: Sequence[str], wanted: Sequence[Attempt], *, limit: float = attempts.LIMIT,
        environment: dict[str, str] | None = None, descriptors: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start the program behind `words`, which are none for a control outside. Raises OSError."""
        calls = json.dumps([[attempt.operation, attempt.arguments] for attempt in wanted])
        modules = [attempts, *(_GPU_MODULES if _on_gpus(wanted) else ())]
        sources = json.dumps([[module.__name__, _source(module)] for module in modules])
        program = _PROGRAM.format(sources=sources, main=attempts.__name__, calls=calls, limit=limit)
        return start(
            [*words, paths.PYTHON, "-I", "-S", "-"], account=self.account, program=program,
            environment=environment, descriptors=descriptors,
        )  # fmt: skip

    def execute(
        self, words: Sequence[str], wanted: Sequence[Attempt], timeout: float = LAUNCH_LIMIT, **options: Any
    ) -> Finished:
        """Start and finish; what cannot be started ends with 126 or 127, as shells have it."""
        try:
            return finish(self.start(words, wanted, **options), timeout=timeout)
        except FileNotFoundError as problem:
            return Finished(127, b"", str(problem).encode())
        except OSError as problem:
            return Finished(126, b"", str(problem).encode())


def _on_gpus(wanted: Sequence[Attempt]) -> bool:
    return any(attempt.operation in tried.GPU_OPERATIONS for attempt in wanted)


def _source(module: ModuleType) -> str:
    """The text of a module, however this package was loaded: from a folder or from a stream."""
    loader: Any = module.__spec__.loader if module.__spec__ else None
    text = loader.get_source(module.__name__) if loader else None
    if not text:
        raise OSError(f"the source of {module.__name__} is not at hand")
    return str(text)
