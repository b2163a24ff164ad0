"""Run by test_seccomp_enforced: `under_filter.py FILTER|- LISTENER` tries calls and prints what happened.

With a filter it first binds itself to it as the inner stage does. It calls by number with arguments that
no kernel accepts, so that nothing happens to the machine even where a call is allowed.
"""

import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

from fleetbox.targets.bubblewrap import syscalls
from fleetbox.targets.bubblewrap.syscalls import Arch

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def load(path: str) -> None:
    with open(path, "rb") as file:
        data = file.read()
    program = Program(len(data) // 8, data)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, os.strerror(ctypes.get_errno())


def call(number: int, *arguments: int) -> str:
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "ok"


def outcome(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def in_thread() -> None:
    done = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    assert done


def datagram_pair_to(path: str) -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.sendto(b"leak", path)


def attempts(listener: str) -> dict[str, Callable[[], object]]:
    def named(path: str) -> Callable[[], object]:
        return lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"leak", path)

    return {
        "thread": in_thread,
        "subprocess": lambda: subprocess.run(["/bin/true"], check=True),
        "shell pipe": lambda: subprocess.run(["/bin/sh", "-c", "echo x | cat"], check=True, stdout=-3),
        "inet": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
        "inet6 or none": lambda: socket.has_ipv6 and socket.socket(socket.AF_INET6).close(),
        "stream pair": lambda: [end.close() for end in socket.socketpair()],
        "netlink route": lambda: socket.socket(16, socket.SOCK_RAW, 0).close(),
        "netlink audit": lambda: socket.socket(16, socket.SOCK_RAW, 9).close(),
        "vsock": lambda: socket.socket(40, socket.SOCK_STREAM).close(),
        "packet": lambda: socket.socket(17, socket.SOCK_RAW).close(),
        "unix datagram": named(listener),
        "datagram pair": lambda: datagram_pair_to(listener),
    }


def main() -> None:
    program, listener = sys.argv[1:]
    arch = Arch(os.uname().machine)
    if program != "-":
        load(program)
    tried = {name: outcome(action) for name, action in attempts(listener).items()}
    for group in syscalls.ALWAYS + syscalls.UNLESS_NESTED:
        for name, numbers in group.calls.items():
            if (number := numbers.on(arch)) is not None:
                tried[name] = call(number, -1, -1, -1, -1, -1, -1)
    tried["clone3"] = call(syscalls.CLONE3.on(arch) or 0, -1, -1)
    tried["clone namespaces"] = call(syscalls.CLONE.on(arch) or 0, 0x10020011 | 0x200, 0, 0, 0, 0)
    tried["TIOCSTI"] = call(syscalls.IOCTL.on(arch) or 0, 0, 0x5412 | 1 << 32, 0)
    print(json.dumps(tried))


main()
