"""Descriptors 0 to 2 are the caller's: what a workload could climb out through is refused, the usual work."""

import os
import pty
import select
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench

USUAL = ("null", "zero", "full", "random", "urandom")
READ = "echo got $(head -n 1)"


@contextmanager
def opened(path: str | Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def unix_pair(kind: socket.SocketKind) -> Iterator[int]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs:
        yield theirs.fileno()


@contextmanager
def unconnected(family: socket.AddressFamily, kind: socket.SocketKind) -> Iterator[int]:
    with socket.socket(family, kind) as made:
        yield made.fileno()


@contextmanager
def listening_unix() -> Iterator[int]:
    with socket.socket(socket.AF_UNIX) as made, tempfile.TemporaryDirectory() as directory:
        made.bind(f"{directory}/socket")
        made.listen()
        yield made.fileno()


@contextmanager
def connected_tcp() -> Iterator[int]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        yield client.fileno()


@contextmanager
def pseudo_terminal(end: int) -> Iterator[int]:
    pair = pty.openpty()
    try:
        yield pair[end]
    finally:
        for fd in pair:
            os.close(fd)


@contextmanager
def epoll() -> Iterator[int]:
    with select.epoll() as made:
        yield made.fileno()


@contextmanager
def handle(make: Callable[[], int]) -> Iterator[int]:
    fd = make()
    try:
        yield fd
    finally:
        os.close(fd)


REFUSED = {
    "a directory": lambda: opened("/etc"),
    "a directory opened as a path only": lambda: opened("/etc", os.O_PATH),
    "a file opened as a path only": lambda: opened("/etc/passwd", os.O_PATH),
    "a namespace": lambda: opened("/proc/self/ns/user"),
    "a process's memory": lambda: opened("/proc/self/mem", os.O_RDWR),
    "a pidfd": lambda: handle(lambda: os.pidfd_open(os.getpid())),
    "an eventfd": lambda: handle(lambda: os.eventfd(0)),
    "an epoll": epoll,
    "a terminal's other end": lambda: pseudo_terminal(0),
    "a datagram pair": lambda: unix_pair(socket.SOCK_DGRAM),
    "an unconnected unix socket": lambda: unconnected(socket.AF_UNIX, socket.SOCK_STREAM),
    "a listening unix socket": listening_unix,
    "an unconnected tcp socket": lambda: unconnected(socket.AF_INET, socket.SOCK_STREAM),
    "a connected tcp socket": connected_tcp,
    "a udp socket": lambda: unconnected(socket.AF_INET6, socket.SOCK_DGRAM),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_way_out_of_the_sandbox_is_no_descriptor_for_it(bench: Bench, what: str, number: int) -> None:
    with REFUSED[what]() as fd, opened("/dev/null", os.O_RDWR) as null:
        streams = ["stdin", "stdout", "stderr"]
        given = {name: fd if at == number else null for at, name in enumerate(streams)}
        done = bench.run(bench.plan(), "true", capture_output=False, **given)
    assert done.returncode == 125


def test_what_is_refused_is_named(bench: Bench) -> None:
    with unix_pair(socket.SOCK_DGRAM) as fd:
        done = bench.run(bench.plan(), "true", stdin=fd)
    assert done.stderr.startswith(
        "fleetbox-run: descriptor 0 is a socket that could be connected elsewhere\n"
    )
    assert "hint: redirect it" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to open devices")
def test_devices_other_than_terminals_and_null_are_refused(bench: Bench) -> None:
    tried = 0
    for path in sorted(Path("/dev").iterdir()):
        mode = path.stat().st_mode if path.exists() else 0
        usual = path.resolve().name in USUAL or path.name.startswith("tty")
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) or usual or path.name in ("console", "watchdog"):
            continue
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            continue
        try:
            if not os.isatty(fd):
                tried += 1
                assert bench.run(bench.plan(), "true", stdin=fd).returncode == 125, path
        finally:
            os.close(fd)
    assert tried, "no device of this machine could be opened"


@contextmanager
def written_pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    os.write(writing, b"line\n")
    os.close(writing)
    with handle(lambda: reading) as fd:
        yield fd


@contextmanager
def written_file() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(b"line\n")
        file.flush()
        file.seek(0)
        yield file.fileno()


@contextmanager
def written_socket(kind: socket.SocketKind = socket.SOCK_STREAM, *, close: bool = False) -> Iterator[int]:
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, kind))
        ours.sendall(b"line\n")
        if close:
            ours.close()
        yield theirs.fileno()


@contextmanager
def memory_file() -> Iterator[int]:
    with handle(lambda: os.memfd_create("line")) as fd:
        os.write(fd, b"line\n")
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd


@contextmanager
def written_terminal() -> Iterator[int]:
    ours, theirs = pty.openpty()
    with handle(lambda: ours), handle(lambda: theirs):
        os.write(ours, b"line\n")
        yield theirs


WORKING = {
    "a pipe": written_pipe,
    "a file": written_file,
    "a memory file": memory_file,
    "a stream pair": written_socket,
    "a stream pair whose other end is gone": lambda: written_socket(close=True),
    "a packet pair": lambda: written_socket(socket.SOCK_SEQPACKET),
    "a terminal": written_terminal,
}


@pytest.mark.parametrize("what", WORKING)
def test_what_callers_and_ci_use_as_standard_input_works(bench: Bench, what: str) -> None:
    with WORKING[what]() as fd:
        done = bench.sh(bench.plan(), READ, stdin=fd)
    assert (done.stdout, done.returncode) == ("got line\n", 0), done.stderr


@pytest.mark.parametrize("path", [f"/dev/{name}" for name in USUAL])
def test_the_usual_devices_work(bench: Bench, path: str) -> None:
    with opened(path, os.O_RDWR) as fd:
        assert (
            bench.run(
                bench.plan(), "true", stdin=fd, stderr=fd, stdout=subprocess.PIPE, capture_output=False
            ).returncode
            == 0
        )


def test_output_to_a_file_and_to_a_stream_pair_arrives(bench: Bench) -> None:
    with tempfile.TemporaryFile() as file:
        bench.run(bench.plan(), "echo", "out", stdout=file, stderr=subprocess.PIPE, capture_output=False)
        file.seek(0)
        assert file.read() == b"out\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        bench.run(bench.plan(), "echo", "out", stdout=theirs, stderr=subprocess.PIPE, capture_output=False)
        assert ours.recv(16) == b"out\n"


def test_closed_descriptors_are_replaced_by_dev_null(bench: Bench) -> None:
    command = bench.command(bench.plan(), "sh", "-c", "ls -l /proc/self/fd/0 >&2")
    done = bench.run_as(["sh", "-c", '"$@" <&- >&-', "sh", *command], cwd=bench.workspace)
    assert "/dev/null" in done.stderr


@pytest.mark.parametrize("mounts", ["inner", "bwrap"])
def test_a_printed_command_passes_nothing_on_either(bench: Bench, mounts: str) -> None:
    line = bench.run(
        bench.plan(), "ls", "-l", "/proc/self/fd/", options=["--mounts", mounts, "--dry-run"]
    ).stdout
    done = bench.run_as(["sh", "-c", f"exec 3</etc/passwd 9</etc/group; {line}"], cwd=bench.workspace)
    assert done.returncode == 0, done.stderr
    assert "/etc/" not in done.stdout
    assert done.stdout.count("->") == 4, "three, and the directory that is listed"
