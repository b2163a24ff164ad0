"""Runs one verb of the host program in this process, and stops the process dead where a test asks.

    python -m tests.integration.hostside.driver STOP SMOKE ROOT VERB [ARGS...]

STOP   `step:NAME`  SIGKILL when that step is reached
       `call:N`     SIGKILL before the Nth change of the file system, whatever the program calls it
       `none`       only say on stderr which steps were reached
       `syncs`      only say on stderr which function asked for each fsync
SMOKE  what every critical check answers: a status; or how the probes fail: `crash`, `bug`; or
       `fill:DIR`, which uses up every inode and byte of that disk and then fails

With TIME in the environment, `WALL SECONDS`, it is that time by the clock, so many seconds after the boot.

The doors it uses are Python's own (an attribute of a module, an audit hook): the program has none.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from fleetbox.hostside import clock, signed_time, steps
from fleetbox.hostside.__main__ import main
from fleetbox.hostside.paths import Places
from fleetbox.hostside.steps import Step

CHANGES = {
    "os.mkdir",
    "os.rename",
    "os.symlink",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.chmod",
    "os.truncate",
}


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def stop_at_step(name: str) -> None:
    def reached(step: Step) -> None:
        if step.name == name:
            die()

    steps.reached = reached


def say_steps() -> None:
    def reached(step: Step) -> None:
        sys.stderr.write(f"{step.name}\n")

    steps.reached = reached


def say_syncs() -> None:
    sync = os.fsync

    def fsync(fd: int) -> None:
        code = sys._getframe(1).f_code
        sys.stderr.write(f"fsync {Path(code.co_filename).stem}.{code.co_name}\n")
        sync(fd)

    os.fsync = fsync


def stop_at_call(number: int) -> None:
    left = number

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event in CHANGES or writes:
            left -= 1
            if left == 0:
                die()

    sys.addaudithook(audit)


def killed_at_call(number: int, work: Callable[[], object]) -> int:
    """How a child that does `work` and is killed before its change `number` ended."""
    child = os.fork()
    if child == 0:
        try:
            stop_at_call(number)
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # a child must never return into its parent's code
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fill(directory: str) -> None:
    """Leave neither a byte nor an inode."""
    with suppress(OSError), open(f"{directory}/ballast", "wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    with suppress(OSError):
        for number in count():
            os.mkdir(f"{directory}/ballast{number}")


def answer_smoke(status: str) -> None:
    """Stand in for the probes, which need a provisioned host."""

    def run(request: dict[str, Any]) -> dict[str, Any]:
        if status == "crash":
            raise OSError("the launcher is gone")
        if status == "bug":
            raise RuntimeError("a bug in a probe")
        if status.startswith("fill:"):
            fill(status[len("fill:") :])
        said = {"status": "fail" if ":" in status else status, "message": f"said {status}"}
        return {"results": [{"check_id": check["id"], **said} for check in request["checks"]], "host": {}}

    probes = ModuleType("fleetbox.hostside.probes")
    probes.__dict__["run"] = run
    sys.modules[probes.__name__] = probes


def stop_the_clock(wall: str, since_boot: str) -> None:
    time = signed_time.parse(wall)
    now = clock.now
    clock.now = lambda places: now(places)._replace(since_boot=float(since_boot), wall=wall)
    clock.utc_now = lambda: wall
    signed_time.now = lambda: time


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    stop, status, root, *argv = sys.argv[1:]
    answer_smoke(status)
    if "TIME" in os.environ:
        stop_the_clock(*os.environ["TIME"].split(" "))
    kind, _, where = stop.partition(":")
    if kind == "step":
        stop_at_step(where)
    elif kind == "call":
        stop_at_call(int(where))
    elif kind == "syncs":
        say_syncs()
    else:
        say_steps()
    sys.exit(main(argv, places=Places(root)))
