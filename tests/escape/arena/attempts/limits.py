"""Using up the host, and running what the policy does not list."""

from __future__ import annotations

import os
import time

from tests.escape.arena.attempt import Attempt, Oracle
from tests.escape.arena.oracle import payloads, pids, status
from tests.escape.arena.world import UID, World

LISTED = "process.allowed_binaries"
UNLIMITED = frozenset({"policy:base"})
MANY = 200
LOADER = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}[os.uname().machine]


def _many(world: World) -> bool:
    return len(payloads(world)) > MANY


def _much(world: World) -> bool:
    """More than 400 MiB in all."""
    return sum(int(status(pid, "VmRSS").split()[0]) for pid in payloads(world)) > 400 << 10


def _executed(name: str) -> Oracle:
    """A process of the user runs this file; what a program calls itself does not count."""

    def look(world: World) -> bool:
        return any(_program(pid).endswith(name) for pid in _users())

    return look


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe").replace(" (deleted)", "")
    except OSError:
        return ""


def _runs_unlisted(world: World) -> bool:
    return any(
        _program(pid).endswith(("/sleep", "memfd:unlisted")) or "/ws/#" in _program(pid) for pid in _users()
    )


def _users() -> list[int]:
    return [pid for pid in pids() if os.stat(f"/proc/{pid}").st_uid == UID]


def _outstays(world: World) -> bool:
    """Longer than its second and the five that it has to end by itself; a busy host may be slow to end it."""
    deadline = time.monotonic() + (8 if world.how == "control" else 40)
    while payloads(world) and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(payloads(world))


RUN = """
import shutil
sleep = shutil.which("sleep", path="/usr/bin:/bin")
{before}
child = attempt(lambda: subprocess.Popen({words}, stdin=subprocess.DEVNULL, pass_fds={fds}))
time.sleep(0.1)
meet()
if child: child.kill()
"""


def _run(words: str, before: str = "", fds: str = "()") -> str:
    return RUN.format(words=words, before=before, fds=fds)


ATTEMPTS = (
    Attempt(
        "fork-until-nothing-works",
        "300 processes",
        "process.limits.pids",
        UNLIMITED,
        """
for _ in range(300):
    if attempt(os.fork) == 0:
        time.sleep(15); os._exit(0)
meet()
""",
        during=_many,
        policy="few-processes",
    ),
    Attempt(
        "use-up-the-memory",
        "600 MiB",
        "process.limits.memory",
        UNLIMITED,
        """
populated = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
held = attempt(lambda: mmap.mmap(-1, 600 << 20, flags=populated)); meet()
""",
        during=_much,
        policy="little-memory",
    ),
    Attempt(
        "run-an-unlisted-program",
        "one of the system's that the policy does not list",
        LISTED,
        UNLIMITED,
        _run('[sleep, "15"]'),
        during=_executed("/sleep"),
        policy="python-only",
    ),
    Attempt(
        "run-a-copied-program",
        "a copy of it in the workspace, under the name of a listed one",
        LISTED,
        UNLIMITED,
        _run(
            '[workspace + "/python3", "15"]',
            'attempt(shutil.copy, sleep, workspace + "/python3"); os.chmod(workspace + "/python3", 0o755)',
        ),
        during=_executed("/ws/python3"),
        policy="python-only",
    ),
    Attempt(
        "run-a-program-from-memory",
        "a file that has no name",
        LISTED,
        UNLIMITED,
        _run(
            '[f"/proc/self/fd/{fd}", "15"]',
            'fd = os.memfd_create("unlisted", 0); os.write(fd, open(sleep, "rb").read())',
            "(fd,)",
        ),
        during=_executed("memfd:unlisted"),
        policy="python-only",
    ),
    Attempt(
        "run-a-program-by-descriptor",
        "execveat of an open file, of a file without a name in the workspace, and of a memfd",
        LISTED,
        UNLIMITED,
        """
import shutil
sleep = shutil.which("sleep", path="/usr/bin:/bin")
words = (ctypes.c_char_p * 3)(b"unlisted", b"15", None)

def nameless():
    fd = os.open(workspace, os.O_TMPFILE | os.O_RDWR, 0o755)
    os.write(fd, open(sleep, "rb").read())
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)

def in_memory():
    fd = os.memfd_create("unlisted", 0); os.write(fd, open(sleep, "rb").read())
    return fd

for way in (lambda: os.open(sleep, os.O_PATH), nameless, in_memory):
    fd = attempt(way)
    if fd is not None and os.fork() == 0:
        attempt(call, "execveat", fd, b"", words, None, 0x1000)
        os._exit(0)
time.sleep(0.2)
meet()
""",
        during=_runs_unlisted,
        policy="python-only",
    ),
    Attempt(
        "run-a-script-of-an-unlisted-program",
        "a text in the workspace whose first line names the program",
        LISTED,
        UNLIMITED,
        _run(
            '[workspace + "/script"]',
            'script, tail = workspace + "/script", shutil.which("tail", path="/usr/bin:/bin");'
            'write(script, f"#!{tail} -f\\n"); os.chmod(script, 0o755)',
        ),
        during=_executed("/tail"),
        policy="python-only",
    ),
    Attempt(
        "outstay-the-time",
        "SIGTERM ignored, children stopped and in sessions of their own",
        "process.limits.wall",
        UNLIMITED,
        """
for number in range(1, 32):
    if number not in (9, 19):
        signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
meet()
""",
        during=_outstays,
        policy="little-time",
    ),
    Attempt(
        "run-a-program-through-the-loader",
        "the loader of a listed program, with another one as its argument",
        LISTED,
        UNLIMITED,
        _run(
            '[loader, sleep, "15"]',
            'loader = next(line.split()[-1] for line in open("/proc/self/maps") if "/ld-linux" in line)',
        ),
        during=_executed(LOADER),
        policy="python-only",
        limit="the loader of a listed program can be started as a program itself",
    ),
)
