"""The few system calls that Python 3.11 does not offer, with the kernel's error kept.

Nothing here knows what a host is. One surprise: the id maps of a new user namespace must be written before
the process in it execs anything, or it loses the capabilities that the mounts need.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

NEWNS = 0x00020000
NEWCGROUP = 0x02000000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000
ALL = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2

ID_BASE = 100_000
"""Real uid and gid of root inside a host."""
ID_COUNT = 65_536

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2

_libc = ctypes.CDLL(None, use_errno=True)
_Result = TypeVar("_Result")


def _checked(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags), f"unshare {flags:#x}")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _checked(result, f"mount {kind or 'bind'} {source} on {target} ({data or flags})")


def make_private() -> None:
    """Keep every later mount of this namespace away from the machine's own."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def bind(source: str, target: str) -> None:
    mount(source, target, flags=MS_BIND)


def pivot_into_cwd() -> None:
    """Make the current directory, a mount, the root; a chroot would refuse every later user namespace."""
    # Both arguments may be the same: the old root then lies on top of the new one (pivot_root(2)), and
    # no directory is needed that would show up as a change of the host's files.
    _checked(_libc.pivot_root(b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def write_id_maps(pid: int) -> None:
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 {ID_BASE} {ID_COUNT}\n")


def become_root_inside() -> None:
    become(0)


def become(user: int) -> None:
    """Take on this uid and gid, and no other group."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def fork_bound(work: Callable[[int], NoReturn]) -> int:
    """Fork a child that can bind its life to ours: it runs `work(lifeline)`; return its pid."""
    lifeline, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        work(lifeline)
    os.close(lifeline)
    return pid  # `ours` stays open as long as we live: its end tells a child that asked too late


def run_as_child(work: Callable[[], int]) -> NoReturn:
    """Run `work` in a forked child, which never returns into its parent's code."""
    try:
        status = work()
    except BaseException:  # noqa: BLE001 - whatever it was goes to the log; the fork must end here
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)


def die_with_parent(lifeline: int) -> None:
    """Be killed when the parent dies; call again after a change of user, where the kernel forgets it."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")
    poll = select.poll()
    poll.register(lifeline, select.POLLHUP)
    if poll.poll(0):
        raise SystemExit("the parent died before its child was bound to it")


def enter_network(netns: str) -> None:
    """Move the calling thread into a network namespace."""
    handle = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(handle, NEWNET), f"setns {netns}")
    finally:
        os.close(handle)


def restore_signals() -> None:
    """Python ignores these two, and what is ignored stays so across exec."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def in_network(netns: str, call: Callable[[], _Result]) -> _Result:
    """Run `call` in a thread of its own inside a network namespace; sockets it makes stay there."""

    def work() -> _Result:
        enter_network(netns)
        return call()

    # setns moves one thread only, so the caller's own sockets keep going out where they did.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(work).result()


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install_filter(instructions: list[tuple[int, int, int, int]]) -> None:
    """Set a seccomp filter without no_new_privs, so that sudo goes on working below it."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in instructions))
    program = _Program(len(instructions), ctypes.addressof(code))
    result = _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    _checked(result, "seccomp filter")
