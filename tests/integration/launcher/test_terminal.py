"""A workload on a real terminal: job control, Ctrl-C, the window's size, and what it must not inject."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from fleetbox.targets.bubblewrap import seccomp
from tests.integration.launcher.conftest import Bench
from tests.support.plans import ALLOW_ALL, Plan


class Terminal:
    """The far end of a pty: what a person types and sees."""

    def __init__(self, fd: int, pid: int) -> None:
        self.fd, self.pid, self.seen = fd, pid, ""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: str) -> str:
        """Reads on until `text` was printed; returns everything since the last call, `text` included."""
        deadline = time.monotonic() + 10
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not appear: {self.seen!r}"
            if select.select([self.fd], [], [], left)[0]:
                self.seen += self._read()
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def _read(self) -> str:
        try:
            return os.read(self.fd, 4096).decode()
        except OSError as problem:  # EIO: everybody has closed the other end
            raise AssertionError(f"the terminal ended after {self.seen!r}") from problem

    def end(self) -> int:
        """The exit status of what runs on the terminal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextmanager
def terminal(bench: Bench, argv: Sequence[str]) -> Iterator[Terminal]:
    pid, fd = pty.fork()
    if pid == 0:
        try:
            os.chdir(bench.workspace)
            if os.geteuid() == 0:
                os.fchown(0, bench.uid, -1)
                os.setgroups([])
                os.setgid(bench.uid)
                os.setuid(bench.uid)
            env = {"PATH": os.environ["PATH"], "HOME": str(bench.home), "PS1": "$ "}
            os.execve(argv[0], list(argv), env)  # noqa: S606  (no shell is what is wanted)
        finally:
            os._exit(99)
    try:
        yield Terminal(fd, pid)
    finally:
        os.close(fd)  # hangs up, which ends what is left


def on_terminal(bench: Bench, script: str) -> list[str]:
    return bench.command(bench.plan(), "sh", "-c", script)


COUNT = """
import os, signal, time
read, write = os.pipe()
os.set_blocking(write, False)
signal.set_wakeup_fd(write)  # a byte for each signal, also where Python sees two as one
signal.signal(signal.SIGINT, lambda *_: None)
print("ready", flush=True)
for _ in range(3):
    assert os.read(read, 1) == b"\\x02"
    time.sleep(0.2)  # a second one would arrive now
    print("next", flush=True)
os.write(write, b".")
print("more=%d." % (len(os.read(read, 9)) - 1))
raise SystemExit(4)
"""


def test_ctrl_c_reaches_the_workload_once_and_the_sandbox_lives_on(bench: Bench) -> None:
    with terminal(bench, bench.command(bench.plan(), "/usr/bin/python3", "-c", COUNT)) as person:
        person.expect("ready")
        for _ in range(3):
            person.type("\x03")
            person.expect("next")
        assert person.expect(".").endswith("more=0.")
        assert person.end() == 4


def test_ctrl_c_ends_a_workload_that_does_not_handle_it(bench: Bench) -> None:
    with terminal(bench, on_terminal(bench, "echo ready; exec sleep 60")) as person:
        person.expect("ready")
        person.type("\x03")
        assert person.end() == 128 + signal.SIGINT


def test_ctrl_z_stops_the_sandbox_and_fg_goes_on(bench: Bench) -> None:
    launch = on_terminal(bench, "echo ready; read word; echo word=$word; exit 5")
    with terminal(bench, ["/bin/bash", "--norc", "--noediting", "-i"]) as person:
        person.expect("$ ")
        words = " ".join(f"'{word}'" for word in launch)
        person.type(f"{words}; echo code=$?\n")
        person.expect("\nready")
        person.type("\x1a")
        person.expect("Stopped")
        time.sleep(0.3)  # a reader that is not yet stopped may still take the first character
        person.type("echo back=$((40 + 2))\n")
        person.expect("back=42")
        person.type("fg\n")
        person.expect("fg")
        time.sleep(0.3)
        person.type("hello\n")
        person.expect("word=hello")
        person.type("echo code=$?\n")
        person.expect("code=5")


def test_the_terminal_can_be_opened_and_tells_its_size(bench: Bench) -> None:
    script = "trap 'echo size=$(stty size)' WINCH; tty </dev/tty && echo ready; while read word; do :; done"
    with terminal(bench, on_terminal(bench, script)) as person:
        person.expect("ready")
        person.resize(33, 101)
        time.sleep(0.1)
        person.type("x\n")  # dash runs a trap once read returns
        person.expect("size=33 101")


TYPE = """
import errno, fcntl, os, time
for name, request in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C)):
    try:
        fcntl.ioctl(0, request, b"\\x02")
        print(name, "worked")
    except OSError as problem:
        print(name, errno.errorcode[problem.errno])
print("done")
"""


@pytest.mark.parametrize("filtered", [True, False])
def test_nothing_can_be_typed_into_the_callers_terminal(bench: Bench, filtered: bool) -> None:
    """The terminal stays the controlling one, so that the compiled filter is all that stops it."""
    compiled = {(made.arch, made.variant): made.program() for made in seccomp.filters(nested=False)}
    plan = Plan(bench.ops(), filter=compiled[os.uname().machine, "nounix"] if filtered else ALLOW_ALL)
    with terminal(bench, bench.command(plan, "/usr/bin/python3", "-c", TYPE)) as person:
        said = person.expect("done")
    if filtered:
        assert "TIOCSTI EPERM" in said
        assert "TIOCLINUX EPERM" in said
    else:
        assert "EPERM" not in said, "the control: only the filter says EPERM here"
