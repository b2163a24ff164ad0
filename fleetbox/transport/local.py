"""This machine as a host: a subprocess, under the same limits as one over ssh.

The command gets a process group of its own, so that ^C stops queueing here and lets it finish, and so
that everything it started can be ended when it takes too long.
"""

import os
import selectors
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, cast

from fleetbox.errors import ApplyFailed
from fleetbox.transport.bounded import CHUNK, Deadline, Output
from fleetbox.transport.interface import Completed


class LocalTransport:
    """See `Transport`."""

    is_root = os.geteuid() == 0
    local_address: str | None = None

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Completed:
        """See `Transport.run`; a program that is not there ends with 127, as a shell would say."""
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            return Completed(127, b"", f"{argv[0]}: {error.strerror}".encode())
        try:
            return _converse(process, stdin, Deadline(timeout))
        except ApplyFailed:
            _end(process)
            raise
        finally:
            for pipe in (process.stdin, process.stdout, process.stderr):
                cast("IO[bytes]", pipe).close()

    def close(self) -> None:
        """Nothing is held open between commands."""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill everything it started. What sudo made root is not ours to kill, and not waited for either."""
    with suppress(PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _converse(process: "subprocess.Popen[bytes]", stdin: bytes, deadline: Deadline) -> Completed:
    output, waiting = Output(), memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        for pipe, take in ((process.stdout, output.take_stdout), (process.stderr, output.take_stderr)):
            selector.register(cast("IO[bytes]", pipe), selectors.EVENT_READ, take)
        sink = cast("IO[bytes]", process.stdin)
        os.set_blocking(sink.fileno(), False)
        selector.register(sink, selectors.EVENT_WRITE)
        while selector.get_map():
            for key, _ in selector.select(deadline.left()):
                if key.fileobj is sink:
                    waiting = _write_some(key.fd, waiting)
                    if not waiting:
                        selector.unregister(sink)
                        sink.close()
                elif data := os.read(key.fd, CHUNK):
                    key.data(data)
                else:
                    selector.unregister(key.fileobj)
    rc = _wait(process, deadline)
    return Completed(rc if rc >= 0 else 128 - rc, bytes(output.stdout), bytes(output.stderr))


def _write_some(fd: int, waiting: memoryview) -> memoryview:
    """What is still to be written; nothing when the command does not read on."""
    try:
        return waiting[os.write(fd, waiting[:CHUNK]) :]
    except BlockingIOError:
        return waiting
    except BrokenPipeError:
        return waiting[:0]


def _wait(process: "subprocess.Popen[bytes]", deadline: Deadline) -> int:
    try:
        return process.wait(deadline.left())
    except subprocess.TimeoutExpired:
        deadline.left()  # raises: the time is over
        raise
