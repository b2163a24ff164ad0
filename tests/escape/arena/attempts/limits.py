"""Using up the host, and running what the policy does not list."""

from __future__ import annotations

import os

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
        return any(_program(pid).endswith(name) for pid in pids() if os.stat(f"/proc/{pid}").st_uid == UID)

    return look


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe").replace(" (deleted)", "")
    except OSError:
        return ""


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
