"""A scene for sandboxes with bubblewrap and without: what a workload tries, and what of the host it meets.

One file for both sides, because only its text is at hand inside. `around HOME CMD` makes the scene as the
workload's own user outside of any sandbox, runs CMD with the scene described in its last argument, and cleans
up. `inside`, which CMD leads to, tries everything once and prints `{attempt: "ok" or an errno}`.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import pty
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
X86_64 = os.uname().machine == "x86_64"
NUMBERS = {
    "fchmodat2": 452, "setxattrat": 463, "file_setattr": 469, "pidfd_send_signal": 424, "openat2": 437,
    "shmget": 29 if X86_64 else 194, "shmat": 30 if X86_64 else 196, "semget": 64 if X86_64 else 190,
    "msgget": 68 if X86_64 else 186, "mq_open": 240 if X86_64 else 180, "ptrace": 101 if X86_64 else 117,
    "process_vm_readv": 310 if X86_64 else 270, "setpriority": 141 if X86_64 else 140,
    "inotify_init1": 294 if X86_64 else 26, "inotify_add_watch": 254 if X86_64 else 27,
    "keyctl": 250 if X86_64 else 219, "rt_sigqueueinfo": 129 if X86_64 else 138,
    "tgkill": 234 if X86_64 else 131,
    "unshare": 272 if X86_64 else 97, "ioprio_set": 251 if X86_64 else 30,
    "fanotify_init": 300 if X86_64 else 262, "renameat2": 316 if X86_64 else 276,
}  # fmt: skip
AT_FDCWD = -100

Scene = dict[str, Any]
ATTEMPTS: dict[str, Callable[[Scene], object]] = {}


def attempt(name: str) -> Callable[[Callable[[Scene], object]], Callable[[Scene], object]]:
    def add(function: Callable[[Scene], object]) -> Callable[[Scene], object]:
        ATTEMPTS[name] = function
        return function

    return add


def call(name: str, *arguments: Any) -> int:
    """A system call by its number. Raises OSError."""
    result: int = LIBC.syscall(NUMBERS[name], *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(64)


def secret(path: str) -> None:
    """A read that counts only if it brought what was written there."""
    if b"secret" not in read(path):
        raise OSError(errno.ENODATA, path)


def slow_down(pid: int) -> None:
    """By nothing: this may run at any priority, and none can be taken back."""
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))


# What a read-only workload lives on.
attempt("read a file of the workspace")(lambda s: read(f"{s['home']}/ws/file"))
attempt("list the workspace")(lambda s: os.listdir(f"{s['home']}/ws"))
attempt("read a file of the system")(lambda _: read("/etc/passwd"))
attempt("run a program")(lambda _: subprocess.run(["/bin/true"], check=True))
attempt("run a pipe")(lambda _: subprocess.run(["/bin/sh", "-c", "echo x | cat >/dev/null"], check=True))
attempt("write to /dev/null")(lambda _: Path("/dev/null").write_text("x"))
attempt("read random bytes")(lambda _: read("/dev/urandom"))
attempt("use memory as a file")(lambda _: os.write(os.memfd_create("x"), b"x"))
attempt("read its own status")(lambda _: read("/proc/self/status"))
attempt("list its own descriptors")(lambda _: os.listdir("/proc/self/fd"))


@attempt("start a thread")
def _(_scene: Scene) -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


@attempt("connect to its own server")
def _(_scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@attempt("signal its own child")
def _(_scene: Scene) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        child.terminate()


@attempt("limit and slow down itself")
def _(_scene: Scene) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    slow_down(0)
    os.sched_setaffinity(0, os.sched_getaffinity(0))


# Reading what is denied, by every name and door.
attempt("read a denied file")(lambda s: secret(f"{s['home']}/denied/key"))
attempt("read a file that is denied by itself")(lambda s: secret(f"{s['home']}/token"))
attempt("read a denied file through a link")(lambda s: secret(f"{s['home']}/ws/link"))
attempt("read a denied file through /proc")(lambda s: secret(f"/proc/self/root{s['home']}/denied/key"))
attempt("read a denied file from above")(lambda s: secret(f"{s['home']}/ws/../denied/key"))
attempt("read in /tmp")(lambda s: secret(s["tmp"]))
attempt("list a denied directory")(lambda s: os.listdir(f"{s['home']}/denied/."))
attempt("list a directory below a denied one")(lambda s: os.listdir(f"{s['home']}/denied/below"))
attempt("execute a denied program")(lambda s: subprocess.run([f"{s['home']}/denied/program"], check=True))
attempt("read attributes of a denied file")(lambda s: os.getxattr(f"{s['home']}/denied/key", "user.x"))


@attempt("open a denied file again through its path")
def _(scene: Scene) -> None:
    fd = os.open(f"{scene['home']}/denied/key", os.O_PATH)
    secret(f"/proc/self/fd/{fd}")


@attempt("map a denied file")
def _(scene: Scene) -> None:
    fd = os.open(f"{scene['home']}/denied/key", os.O_RDONLY)
    if mmap.mmap(fd, 6, prot=mmap.PROT_READ)[:6] != b"secret":
        raise OSError(errno.ENODATA, "mmap")


@attempt("watch a denied directory")
def _(scene: Scene) -> None:
    fd = call("inotify_init1", 0)
    call("inotify_add_watch", fd, f"{scene['home']}/denied/below".encode(), 0x100)


@attempt("watch a directory of the workspace")
def _(scene: Scene) -> None:
    call("inotify_add_watch", call("inotify_init1", 0), f"{scene['home']}/ws".encode(), 0x100)


def may_write(path: str) -> None:
    if not os.access(path, os.W_OK):
        raise OSError(errno.EACCES, path)


attempt("be told that a file may be written")(lambda s: may_write(f"{s['home']}/ws/file"))


@attempt("see the size of a denied file")
def _(scene: Scene) -> None:
    if os.stat(f"{scene['home']}/denied/key").st_size != 7:
        raise OSError(errno.ENODATA, "stat")


# Changing files, which no rule allows anywhere.
def changes(name: str, function: Callable[[str], object]) -> None:
    """The same in the workspace, beside it, and in what is denied."""
    for where in ("ws", "beside", "denied"):

        def change(scene: Scene, where: str = where) -> None:
            function(f"{scene['home']}/{where}/changes/{name.partition(' ')[0]}")

        attempt(f"{name} in {where}")(change)


def with_fd(function: Callable[[int], object]) -> Callable[[str], object]:
    def run(path: str) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            function(fd)
        finally:
            os.close(fd)

    return run


def utimes_of(fd: int) -> None:
    os.utime(fd, (1, 1))


def bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path + ".new")


def tmpfile(path: str) -> None:
    os.close(os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR, 0o600))


def set_flags(fd: int) -> None:
    flags = struct.unpack("l", fcntl.ioctl(fd, 0x80086601, struct.pack("l", 0)))[0]  # FS_IOC_GETFLAGS
    fcntl.ioctl(fd, 0x40086602, struct.pack("l", flags ^ 0x40))  # FS_IOC_SETFLAGS, FS_NODUMP_FL


changes("write", lambda path: Path(path).write_text("x"))
changes("append", lambda path: os.close(os.open(path, os.O_WRONLY | os.O_APPEND)))
changes("create", lambda path: Path(path + ".new").write_text("x"))
changes("truncate", lambda path: os.truncate(path, 0))
changes("unlink", os.unlink)
changes("rename", lambda path: os.rename(path, path + ".new"))
changes("exchange", lambda path: call("renameat2", AT_FDCWD, path.encode(), AT_FDCWD, f"{path}2".encode(), 2))
changes("link", lambda path: os.link(path, path + ".new"))
changes("symlink", lambda path: os.symlink("x", path + ".new"))
changes("mkdir", lambda path: os.mkdir(path + ".new"))
changes("rmdir", lambda path: os.rmdir(path + ".dir"))
changes("mkfifo", lambda path: os.mkfifo(path + ".new"))
changes("mknod", lambda path: os.mknod(path + ".new", stat.S_IFREG | 0o600))
changes("bind", bind)
changes("tmpfile", tmpfile)
changes("chmod", lambda path: os.chmod(path, 0o640))
changes("fchmod by a reading descriptor", with_fd(lambda fd: os.fchmod(fd, 0o640)))
changes("fchmodat2", lambda path: call("fchmodat2", AT_FDCWD, path.encode(), 0o640, 0))
changes("chown", lambda path: os.chown(path, os.getuid(), os.getgid()))
changes("lchown", lambda path: os.lchown(path, os.getuid(), os.getgid()))
changes("fchown by a reading descriptor", with_fd(lambda fd: os.fchown(fd, os.getuid(), os.getgid())))
changes("utime", lambda path: os.utime(path, (1, 1)))
changes("futimens by a reading descriptor", with_fd(utimes_of))
changes("setxattr", lambda path: os.setxattr(path, "user.new", b"x"))
changes("fsetxattr by a reading descriptor", with_fd(lambda fd: os.setxattr(fd, "user.new", b"x")))
changes("removexattr", lambda path: os.removexattr(path, "user.x"))
changes("flags by a reading descriptor", with_fd(set_flags))
attempt("make a file in /tmp")(lambda _: os.close(os.open("/tmp", os.O_TMPFILE | os.O_RDWR)))
attempt("make a file in /dev/shm")(lambda _: os.close(os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)))
attempt("rename itself")(lambda _: Path("/proc/self/comm").write_text("x"))


# Processes of the host.
def of_victim(name: str, function: Callable[[int], object]) -> None:
    attempt(name)(lambda s: function(s["victim"]))


def siginfo() -> bytes:
    return struct.pack("iii", signal.SIGURG, 0, -1).ljust(128, b"\0")


def sigio(pid: int) -> None:
    """Counts as sent only if it arrived: the kernel drops it silently."""
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(reader, fcntl.F_SETOWN, pid)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    if fcntl.fcntl(reader, fcntl.F_GETOWN) != pid:
        raise OSError(errno.ESRCH, "F_SETOWN")
    os.write(writer, b"x")


def vm_read(pid: int) -> None:
    """Of an address that is not mapped: the permission is asked for before the address."""
    piece = struct.pack("QQ", ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    local = ctypes.create_string_buffer(piece)
    try:
        call(
            "process_vm_readv",
            pid,
            local,
            1,
            ctypes.create_string_buffer(struct.pack("QQ", 0, 8)),
            1,
            ctypes.c_long(0),
        )
    except OSError as problem:
        if problem.errno != errno.EFAULT:
            raise


def trace(pid: int) -> None:
    call("ptrace", 0x4206, pid, 0, 0)  # PTRACE_SEIZE
    call("ptrace", 0x4207, pid, 0, 0)  # PTRACE_INTERRUPT
    os.waitpid(pid, 0)
    call("ptrace", 17, pid, 0, 0)  # PTRACE_DETACH


of_victim("see a process", lambda pid: read(f"/proc/{pid}/cmdline"))
of_victim("signal a process", lambda pid: os.kill(pid, signal.SIGURG))
of_victim("signal a process group", lambda pid: os.killpg(pid, signal.SIGURG))
of_victim("signal a thread", lambda pid: call("tgkill", pid, pid, signal.SIGURG))
of_victim("queue a signal", lambda pid: call("rt_sigqueueinfo", pid, signal.SIGURG, siginfo()))
of_victim(
    "signal by a descriptor", lambda pid: call("pidfd_send_signal", os.pidfd_open(pid), signal.SIGURG, 0, 0)
)
of_victim("read a process's memory", vm_read)
of_victim("trace a process", trace)
of_victim("read a process's environment", lambda pid: read(f"/proc/{pid}/environ"))
of_victim("read a process's map", lambda pid: read(f"/proc/{pid}/maps"))
of_victim("open a process's memory", lambda pid: os.open(f"/proc/{pid}/mem", os.O_RDWR))
of_victim("see where a process works", lambda pid: os.readlink(f"/proc/{pid}/cwd"))
of_victim("list through a process's directory", lambda pid: os.listdir(f"/proc/{pid}/cwd/"))
of_victim("open through a process's root", lambda pid: read(f"/proc/{pid}/root/etc/passwd"))
of_victim("open a process's descriptor", lambda pid: os.open(f"/proc/{pid}/fd/0", os.O_RDONLY))
of_victim("list a process's descriptors", lambda pid: os.listdir(f"/proc/{pid}/fd"))
of_victim(
    "make a process the first to be killed", lambda pid: Path(f"/proc/{pid}/oom_score_adj").write_text("999")
)
of_victim("limit a process", lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)))
of_victim("slow a process down", slow_down)
of_victim("bind a process to a core", lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(0)))
of_victim("schedule a process", lambda pid: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)))
of_victim("order a process's reads", lambda pid: call("ioprio_set", 1, pid, 3 << 13))


@attempt("signal a process by what it owns")
def _(scene: Scene) -> None:
    before = Path(scene["counted"]).stat().st_size if os.path.exists(scene["counted"]) else 0
    sigio(scene["victim"])
    deadline = 40
    while Path(scene["counted"]).stat().st_size == before:
        deadline -= 1
        if not deadline:
            raise OSError(errno.ETIMEDOUT, "SIGIO")
        threading.Event().wait(0.025)


# Objects of the host that belong to no file system.
attempt("attach shared memory")(lambda s: call("shmat", call("shmget", s["key"], 0, 0), 0, 0o10000))
attempt("open a semaphore")(lambda s: call("semget", s["key"], 0, 0))
attempt("open a message queue")(lambda s: call("msgget", s["key"], 0))
attempt("open a POSIX queue")(lambda s: call("mq_open", s["name"].encode(), os.O_RDONLY, 0, 0))
attempt("read shared memory of the host")(lambda s: secret(s["shm"]))
attempt("connect to a socket")(lambda s: socket.socket(socket.AF_UNIX).connect(s["socket"]))
attempt("connect to an abstract socket")(lambda s: socket.socket(socket.AF_UNIX).connect("\0" + s["name"]))
attempt("read a terminal")(lambda s: os.open(s["terminal"], os.O_RDONLY | os.O_NOCTTY))
attempt("write to a terminal")(lambda s: os.open(s["terminal"], os.O_WRONLY | os.O_NOCTTY))
attempt("make a terminal")(lambda _: pty.openpty())
attempt("list terminals")(
    lambda s: os.stat(s["terminal"]) and os.listdir("/dev/pts").index(s["terminal"][9:])
)
attempt("read the session's keys")(lambda _: call("keyctl", 0, -3, 0))


def inside(scene: Scene) -> None:
    answers = {}
    for name, function in ATTEMPTS.items():
        try:
            function(scene)
            answers[name] = "ok"
        except OSError as problem:
            answers[name] = errno.errorcode.get(problem.errno or 0, str(problem))
        except (subprocess.CalledProcessError, ValueError) as problem:
            answers[name] = type(problem).__name__
    print(json.dumps(answers))


def make_files(home: Path) -> None:
    for where in ("ws", "beside", "denied"):
        changing = home / where / "changes"
        changing.mkdir(parents=True)
        for name in {name.partition(" ")[0] for name in ATTEMPTS if f" in {where}" in name}:
            (changing / name).write_text("before")
            os.setxattr(changing / name, "user.x", b"x")
        (changing / "exchange2").write_text("other")
        (changing / "rmdir.dir").mkdir()
    (home / "ws" / "file").write_text("file")
    (home / "ws" / "link").symlink_to(home / "denied" / "key")
    (home / "denied" / "below").mkdir()
    (home / "denied" / "key").write_text("secret\n")
    os.setxattr(home / "denied" / "key", "user.x", b"x")
    (home / "token").write_text("secret\n")
    (home / "denied" / "program").write_text("#!/bin/sh\nexit 0\n")
    (home / "denied" / "program").chmod(0o755)


VICTIM = """
import os, signal, sys
os.setpgid(0, 0)
signal.signal(signal.SIGURG, lambda *_: open(sys.argv[1], "a").write("x"))
print("ready", flush=True)
while True: signal.pause()
"""


def around(home: Path, command: list[str]) -> int:
    make_files(home)
    counted = home / "beside" / "counted"
    counted.write_text("")
    scene: Scene = {"home": str(home), "counted": str(counted)}
    for name, folder in (("shm", "/dev/shm"), ("tmp", "/tmp")):
        scene[name] = f"{folder}/fleetbox-alone-{os.getpid()}"
        Path(scene[name]).write_text("secret\n")
    scene["key"], scene["name"] = 0x46000000 | os.getpid(), f"fleetbox-alone-{os.getpid()}"
    memory = call("shmget", scene["key"], 4096, 0o1600)
    semaphore, queue = call("semget", scene["key"], 1, 0o1600), call("msgget", scene["key"], 0o1600)
    call("mq_open", scene["name"].encode(), os.O_RDONLY | os.O_CREAT, 0o600, 0)
    scene["socket"] = str(home / "beside" / "socket")
    listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for listener, name in zip(listeners, (scene["socket"], "\0" + scene["name"]), strict=True):
        listener.bind(name)
        listener.listen(64)
    terminals = [pty.openpty()[1] for _ in range(8)]  # a sandbox counts its own from 0
    scene["terminal"] = os.ttyname(terminals[-1])
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(counted)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=home / "beside",
    )  # fmt: skip
    try:
        assert victim.stdout is not None
        victim.stdout.readline()
        scene["victim"] = victim.pid
        return subprocess.run([*command, json.dumps(scene)], stdin=subprocess.DEVNULL, check=False).returncode
    finally:
        victim.kill()
        victim.wait()
        os.unlink(scene["shm"])
        os.unlink(scene["tmp"])
        LIBC.shmctl(memory, 0, None)
        LIBC.semctl(semaphore, 0, 0)
        LIBC.msgctl(queue, 0, None)
        LIBC.mq_unlink(f"/{scene['name']}".encode())


if __name__ == "__main__":
    if sys.argv[1] == "inside":
        inside(json.loads(sys.argv[2]))
    else:
        sys.exit(around(Path(sys.argv[2]), sys.argv[3:]))
