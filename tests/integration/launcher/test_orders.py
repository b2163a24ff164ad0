"""What bubblewrap and the inner stage are told once they run: nothing begins before all of it has come.

The test stands in the launcher's place: it starts the real bwrap, and tells it and the inner stage anything.
"""

import array
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.integration.launcher.test_bwrap import own, path_without_roots_bwrap, shim
from tests.integration.launcher.test_mounts import wrapper
from tests.support.bwraps import OPTIONS_FD
from tests.support.plans import ALLOW_ALL

# launcher/control.h
FD_CONTROL, FD_SELF, FD_LOCK, FD_WORDS = 3, 4, 6, 9
MESSAGE_GO, MESSAGE_ORDERS = 7, 12
OPEN = ["--unshare-user", "--dev-bind", "/", "/"]  # a sandbox that keeps nothing back
INNER = ["--", f"/proc/self/fd/{FD_SELF}", "--inner", "--control-fd", str(FD_CONTROL)]
PATIENCE_S = 30


@dataclass
class Told:
    """A started bwrap, and the other ends of what it and the inner stage listen to."""

    pid: int
    control: socket.socket
    options: socket.socket
    words: socket.socket

    def write(self, options: Sequence[str], words: Sequence[str], end: str = "\0") -> None:
        for stream, text in ((self.options, options), (self.words, words)):
            stream.sendall(("\0".join(text) + end).encode())
            stream.close()

    def send(self, kind: int, *descriptors: int) -> None:
        rights = (
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        )
        self.control.sendmsg([struct.pack("=ii", kind, 0)], rights)

    def wait(self) -> int:
        """Its exit status."""
        process = os.pidfd_open(self.pid)
        try:
            if not select.select([process], [], [], PATIENCE_S)[0]:
                os.kill(self.pid, signal.SIGKILL)
        finally:
            os.close(process)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def end(self) -> int:
        """Its exit status, once whatever it still waits for has gone."""
        self.control.close()
        return self.wait()


@contextmanager
def started(bench: Bench) -> Iterator[Told]:
    pairs = [socket.socketpair(type=kind) for kind in (socket.SOCK_SEQPACKET, *[socket.SOCK_STREAM] * 2)]
    files = [os.open(bench.launcher, os.O_RDONLY), os.open(os.devnull, os.O_RDWR)]
    passed = [*files, *(theirs.fileno() for _, theirs in pairs)]
    numbers = [FD_SELF, FD_LOCK, FD_CONTROL, OPTIONS_FD, FD_WORDS]
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20) for descriptor in passed]
    actions = [(os.POSIX_SPAWN_DUP2, *pair) for pair in zip(high, numbers, strict=True)]
    drop = ["setpriv", f"--reuid={bench.uid}", f"--regid={bench.uid}", "--clear-groups"]
    command = [*(drop if os.geteuid() == 0 else []), "bwrap", "--args", str(OPTIONS_FD), *INNER]
    try:
        pid = os.posix_spawnp(command[0], command, {"PATH": os.environ["PATH"]}, file_actions=actions)
    finally:
        for descriptor in (*high, *files):
            os.close(descriptor)
        for _, theirs in pairs:
            theirs.close()
    try:
        yield Told(pid, *(ours for ours, _ in pairs))
    finally:
        for ours, _ in pairs:
            ours.close()


@pytest.fixture
def filter_fd(bench: Bench) -> Iterator[int]:
    path = bench.make("filter", "")
    path.write_bytes(ALLOW_ALL)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def marker(bench: Bench) -> Path:
    return bench.workspace / "ran"


@pytest.fixture
def touch(marker: Path) -> list[str]:
    return ["--env", f"PATH={os.environ['PATH']}", "--", "touch", str(marker)]


def test_whole_orders_are_followed(bench: Bench, marker: Path, touch: list[str], filter_fd: int) -> None:
    """The control of all that follows."""
    with started(bench) as told:
        told.write(OPEN, touch)
        told.send(MESSAGE_ORDERS, filter_fd)
        assert told.wait() == 0
    assert marker.exists()


def test_a_launcher_that_is_gone_before_it_has_said_that_all_was_said_starts_nothing(
    bench: Bench, marker: Path, touch: list[str]
) -> None:
    with started(bench) as told:
        told.write(OPEN, touch)
        assert told.end() == 128 + signal.SIGKILL
    assert not marker.exists()


@pytest.mark.parametrize("options", [[], ["--unshare-user"], [*OPEN, "--unshare-pi"], OPEN[:-1]])
def test_a_launcher_that_dies_amid_the_options_starts_nothing(
    bench: Bench, marker: Path, touch: list[str], options: list[str]
) -> None:
    with started(bench) as told:
        told.write(options, touch, end="")
        assert told.end() != 0
    assert not marker.exists()


def test_words_without_their_end_are_refused(
    bench: Bench, marker: Path, touch: list[str], filter_fd: int
) -> None:
    with started(bench) as told:
        told.options.sendall("\0".join([*OPEN, ""]).encode())
        told.options.close()
        told.words.sendall("\0".join(touch).encode())
        told.words.close()
        told.send(MESSAGE_ORDERS, filter_fd)
        assert told.end() == 125
    assert not marker.exists()


def test_anything_but_the_orders_with_one_filter_is_refused(
    bench: Bench, marker: Path, touch: list[str], filter_fd: int
) -> None:
    for kind, brings in ((MESSAGE_GO, 1), (MESSAGE_ORDERS, 0), (MESSAGE_ORDERS, 2)):
        with started(bench) as told:
            told.write(OPEN, touch)
            told.send(kind, *[filter_fd] * brings)
            assert told.end() == 125, (kind, brings)
        assert not marker.exists()


def test_no_words_are_refused(bench: Bench, filter_fd: int) -> None:
    for words in ([], ["--"], ["--chdir", "/"]):
        with started(bench) as told:
            told.write(OPEN, words, end="\0" if words else "")
            told.send(MESSAGE_ORDERS, filter_fd)
            assert told.end() == 125


def test_a_refused_launch_ends_the_bubblewrap_that_it_had_begun(bench: Bench) -> None:
    """One that does not listen, so that it would stay."""
    log = bench.make("log")
    body = (
        'case "$1" in --help) exec /usr/bin/bwrap --help;; esac\n'
        f"echo $$ > {log}/pid; exec sleep 3{os.getpid()}\n"
    )
    program = shim(bench.root / "bin", body)
    own(program, bench.uid)
    (bench.workspace / ".git").symlink_to("/nowhere")
    done = bench.run(bench.plan(("protect", ".git")), "true", env=path_without_roots_bwrap(program))
    assert (done.returncode, "symlink below a writable directory" in done.stderr) == (125, True), done.stderr
    time.sleep(0.3)  # it would have come so far by now
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert f"sleep\0003{os.getpid()}\0".encode() not in commands


def test_bubblewrap_itself_has_no_environment(bench: Bench) -> None:
    log = bench.make("log")
    env = wrapper(bench, f"cat /proc/$$/environ > {log}/bwrap")
    done = bench.run(
        bench.plan(), "/usr/bin/env", env={**env, "SECRET": "s", "LC_ALL": "C", "LD_DEBUG": "none"}
    )
    assert done.returncode == 0, done.stderr
    assert (log / "bwrap").read_bytes() == b""
    inside = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert (inside["LC_ALL"], inside["PWD"]) == ("C", str(bench.workspace))
    assert "SECRET" not in inside


def test_more_words_than_bubblewrap_would_take_or_a_socket_holds(bench: Bench) -> None:
    words = [f"{number:050}" for number in range(20_000)]
    done = bench.run(bench.plan(), "sh", "-c", 'echo $# "${20000}"', "sh", *words)
    assert done.stdout == f"20000 {words[-1]}\n", done.stderr


def test_a_caller_that_ignores_the_end_of_its_children_gets_the_workloads(bench: Bench) -> None:
    launch = bench.command(bench.plan(), "sh", "-c", "echo ran; exit 7")
    done = bench.run_as(["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh", *launch], cwd=bench.workspace)
    assert (done.returncode, done.stdout) == (7, "ran\n"), done.stderr


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
@pytest.mark.parametrize("mounts", ["inner", "bwrap"])
@pytest.mark.parametrize(
    "call", ["sendto:error=ENOBUFS:when=1", "sendto:error=ENOBUFS:when=2", "sendmsg:error=ENOMEM"]
)
def test_orders_that_cannot_be_given_start_nothing_and_leave_nothing(
    bench: Bench, marker: Path, call: str, mounts: str
) -> None:
    """The first to be written is bubblewrap's options, the second the inner stage's words."""
    plan = bench.plan(("protect", ".git"))
    words = bench.command(plan, "touch", str(marker), options=["--mounts", mounts])
    done = bench.run_as(
        ["strace", "-qq", "-o", "/dev/null", "-e", f"inject={call}", *words], cwd=bench.workspace
    )
    assert (done.returncode, done.stdout) == (125, ""), done.stderr
    assert "could not make the sandbox" in done.stderr
    assert list(bench.workspace.iterdir()) == []
