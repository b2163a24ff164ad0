"""`process.limits` on this machine, where no cgroup is delegated: each process's limits, and the clock."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.plans import Plan


def plan(bench: Bench, **limits: int) -> Plan:
    return Plan(bench.ops(*(("limit", name, str(amount)) for name, amount in limits.items())))


EAT = "python3 -c 'b = bytearray(%d << 20); print(len(b) >> 20)'"


def test_a_process_gets_no_more_memory_than_the_policy_says_and_the_weaker_way_is_said(bench: Bench) -> None:
    limited = plan(bench, memory=200 << 20)
    done = bench.sh(limited, EAT % 300)
    assert "MemoryError" in done.stderr
    assert done.stderr.count("process.limits.memory holds for each process, not for all together") == 1
    assert bench.sh(limited, EAT % 100).stdout == "100\n"
    assert bench.sh(bench.plan(), EAT % 300).stdout == "300\n"


def test_address_space_that_is_only_reserved_does_not_count(bench: Bench) -> None:
    """CUDA reserves far more than there is memory."""
    private, noreserve = "mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS", 0x4000
    reserve = f"import mmap; mmap.mmap(-1, 1 << 36, {private} | {noreserve}, 0); print('reserved')"
    done = bench.run(plan(bench, memory=200 << 20), "/usr/bin/python3", "-c", reserve)
    assert done.stdout == "reserved\n", done.stderr


FORK = """
import os, time
made = 0
try:
    while made < 60:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except BlockingIOError:
    pass
print(made, flush=True)
os.kill(0, 9)
"""


def test_no_more_processes_than_the_policy_says(bench: Bench) -> None:
    limited = bench.run(plan(bench, pids=20), "/usr/bin/python3", "-c", FORK)
    assert limited.stdout == "19\n", limited.stderr  # and the one that forks
    assert bench.run(bench.plan(), "/usr/bin/python3", "-c", FORK).stdout == "60\n"


def test_processes_of_another_sandbox_do_not_count(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with bench.start(bench.plan(), "for i in $(seq 25); do sleep 300 & done; wait") as other:
        done = bench.run(plan(bench, pids=20), "/usr/bin/python3", "-c", FORK)
        other.kill()
    assert done.stdout == "19\n", done.stderr


def test_the_time_over_ends_the_workload_with_124_and_says_why(bench: Bench) -> None:
    done = bench.sh(plan(bench, wall=1), "sleep 60")
    assert done.returncode == 124
    assert "process.limits.wall" in done.stderr


def test_a_workload_that_ends_in_time_is_left_alone(bench: Bench) -> None:
    done = bench.sh(plan(bench, wall=60), "exit 7")
    assert (done.returncode, done.stderr) == (7, "")


def test_first_the_workload_is_asked(bench: Bench) -> None:
    script = "trap 'echo asked; exit 3' TERM; while :; do sleep 0.1; done"
    done = bench.sh(plan(bench, wall=1), script)
    assert (done.returncode, done.stdout) == (124, "asked\n")


@pytest.mark.parametrize("stubborn", ["trap '' TERM; while :; do sleep 1; done", "kill -STOP $$"])
def test_a_workload_that_does_not_listen_is_ended(bench: Bench, stubborn: str) -> None:
    done = bench.sh(plan(bench, wall=1), f"(trap '' TERM; sleep 300) & {stubborn}")
    assert done.returncode == 124


def only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_the_time_ends_even_where_the_inner_stage_cannot_keep_it(bench: Bench) -> None:
    """Somebody outside stops it; the launcher's own clock goes a little later."""
    with bench.start(plan(bench, wall=2), "sleep 300") as process:
        os.kill(only_child(only_child(process.pid)), signal.SIGSTOP)
        assert process.wait(timeout=60) == 124


def test_explain_says_how_each_limit_holds(bench: Bench) -> None:
    said = bench.run(plan(bench, memory=1 << 30, pids=9, wall=60), options=["--explain"]).stdout
    assert "limit     bytes of memory 1073741824  (of each process" in said
    assert "limit     processes and threads 9  (of this user in the sandbox)" in said
    assert "limit     seconds 60  (" in said


@pytest.mark.parametrize(
    "limit", [("memory", "0"), ("memory", "x"), ("pids", "-1"), ("wall", "1" * 19), ("cpu", "1")]
)
def test_a_limit_that_makes_no_sense_is_refused(bench: Bench, limit: tuple[str, str]) -> None:
    done = bench.run(Plan(bench.ops(("limit", *limit))), "true")
    assert done.returncode == 125
    assert 'bad value in "limit"' in done.stderr


def test_a_printed_command_keeps_the_limits(bench: Bench) -> None:
    """No parent is there: the inner stage alone ends what does not listen."""
    script = "(trap '' TERM; sleep 300) & trap '' TERM; while :; do sleep 1; done"
    line = bench.sh(plan(bench, pids=20, wall=1), script, options=["--dry-run"]).stdout
    done = bench.run_as(["sh", "-c", line], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert done.returncode == 124
