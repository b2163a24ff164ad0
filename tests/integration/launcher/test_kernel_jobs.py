"""Job control: the launcher is to its shell what the workload is to the terminal."""

import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.integration.launcher.test_terminal import Terminal, on_terminal, terminal
from tests.support.plans import Plan

Typed = Callable[[str], None]


def launch(bench: Bench, script: str) -> str:
    return shlex.join(on_terminal(bench, script))


@pytest.fixture
def shell(bench: Bench) -> Iterator[Terminal]:
    """An interactive shell that does not echo what is typed."""
    with terminal(bench, ["/bin/bash", "--norc", "--noediting", "-i"]) as person:
        person.expect("$ ")
        person.type("stty -echo\n")
        person.expect("$ ")
        yield person


def test_a_workload_that_signals_its_group_reaches_nothing_outside(bench: Bench) -> None:
    def script(workload: str) -> list[str]:
        return ["/bin/sh", "-c", f"trap 'echo reached' TERM; {workload}; echo code=$?."]

    kill = "sh -c 'kill -TERM 0'"
    with terminal(bench, script(launch(bench, "kill -TERM 0"))) as person:
        assert "reached" not in person.expect("code=143.")
    with terminal(bench, script(kill)) as person:
        assert "reached" in person.expect("code=143."), "or the attempt proves nothing"


def test_a_shell_inside_has_job_control_of_its_own(bench: Bench) -> None:
    inside = bench.command(bench.plan(), "/bin/bash", "--norc", "--noediting", "-i")
    with terminal(bench, inside) as person:
        assert "no job control" not in person.expect("$ ")
        person.type("sh -c 'echo begin=$((40 + 2)); read a; echo got=$a'\n")
        person.expect("begin=42")
        person.type("\x1a")
        person.expect("Stopped")
        person.type("echo still=$((40 + 2)); fg\n")
        person.expect("still=42")
        person.type("word\n")
        person.expect("got=word")
        person.type("exit 3\n")
        assert person.end() == 3


def test_it_stops_goes_on_in_the_background_and_comes_back(bench: Bench, shell: Terminal) -> None:
    shell.type(
        launch(bench, "echo begin; read a; echo got=$a; read b; echo got=$b; exit 5") + "; echo code=$?\n"
    )
    shell.expect("begin")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.type("bg; echo shell=$((40 + 2))\n")
    shell.expect("shell=42")
    shell.type("wait; jobs; echo done\n")  # reading in the background stops it again
    shell.expect("Stopped")
    shell.expect("done")
    shell.type("fg\n")
    shell.type("one\n")
    shell.expect("got=one")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.type("fg\n")
    shell.type("two\n")
    shell.expect("got=two")
    shell.type("echo code=$?\n")
    shell.expect("code=5")


def test_started_in_the_background_it_stops_when_it_reads(bench: Bench, shell: Terminal) -> None:
    shell.type(launch(bench, "echo begin; read a; echo got=$a") + " &\n")
    shell.expect("begin")
    shell.type("wait; jobs; echo done\n")
    shell.expect("Stopped")
    shell.expect("done")
    shell.type("fg\n")
    shell.type("word\n")
    shell.expect("got=word")


def test_a_program_that_stops_its_group_stops_the_whole_job(bench: Bench, shell: Terminal) -> None:
    """As editors do for Ctrl-Z; and a pipeline stops as a whole."""
    shell.type(launch(bench, "echo begin >&2; kill -TSTP 0; echo after") + " | cat\n")
    shell.expect("begin")
    shell.expect("Stopped")
    shell.type("fg\n")
    shell.expect("after")
    shell.type("echo status=${PIPESTATUS[0]}.\n")
    shell.expect("status=0.")


def test_in_a_pipeline_the_pager_keeps_the_terminal(bench: Bench, shell: Terminal) -> None:
    pager = "sh -c 'read key </dev/tty; echo key=$key; cat'"
    shell.type(f"{launch(bench, 'echo page')} | {pager}\n")
    shell.type("q\n")
    shell.expect("key=q")
    shell.expect("page")


def test_in_a_pipeline_a_workload_that_reads_gets_the_terminal(bench: Bench, shell: Terminal) -> None:
    shell.type(launch(bench, "echo begin >&2; read a; echo got=$a") + " | cat\n")
    shell.expect("begin")
    shell.type("word\n")
    shell.expect("got=word")


def test_ctrl_c_ends_a_workload_in_a_pipeline(bench: Bench, shell: Terminal) -> None:
    shell.type(launch(bench, "echo begin >&2; exec sleep 60") + " | cat\n")
    shell.expect("begin")
    shell.type("\x03")
    shell.expect("$ ")
    shell.type("echo back=$((40 + 2))\n")
    shell.expect("back=42")


def test_output_of_a_workload_is_not_stopped_by_tostop(bench: Bench, shell: Terminal) -> None:
    shell.type("stty tostop\n")
    shell.expect("$ ")
    shell.type(launch(bench, "echo err >&2; echo out") + " | cat; echo status=${PIPESTATUS[0]}.\n")
    said = shell.expect("status=0.")
    assert "err" in said
    assert "out" in said
    shell.type(launch(bench, "echo alone; sh -c 'exit 6'") + "; echo code=$?.\n")
    assert "alone" in shell.expect("code=6.")


def test_the_windows_size_reaches_a_workload_in_a_pipeline(bench: Bench, shell: Terminal) -> None:
    script = "trap 'echo size=$(stty size <&2)' WINCH; echo begin >&2; while :; do sleep 0.05; done"
    shell.type(launch(bench, script) + " | cat\n")
    shell.expect("begin")
    shell.resize(33, 101)
    shell.expect("size=33 101")
    shell.type("\x03")


def test_ctrl_c_ends_a_script_with_its_workload(bench: Bench) -> None:
    once = launch(bench, "echo begin; exec sleep 60")
    script = f"for i in 1 2 3; do {once}; done; echo unreachable"
    with terminal(bench, ["/bin/sh", "-c", script]) as person:
        person.expect("begin")
        person.type("\x03")
        assert person.end() == -signal.SIGINT


def test_a_script_has_the_terminal_again_afterwards(bench: Bench) -> None:
    script = f"{launch(bench, 'read a; echo got=$a')}; read b; echo script=$b"
    with terminal(bench, ["/bin/sh", "-c", script]) as person:
        person.type("one\n")
        person.expect("got=one")
        person.type("two\n")
        person.expect("script=two")


@pytest.mark.parametrize("script", ["no-such-program", "/etc/passwd"])
def test_after_a_command_that_cannot_run_the_terminal_is_back_too(bench: Bench, script: str) -> None:
    command = shlex.join(bench.command(bench.plan(), script))
    with terminal(bench, ["/bin/sh", "-c", f"{command}; read b; echo script=$b"]) as person:
        person.type("two\n")
        person.expect("script=two")


def test_with_nobody_to_continue_it_a_stop_is_ignored(bench: Bench) -> None:
    """The launcher leads the session, as in `ssh -t HOST fleetbox-run` or a window of tmux."""
    with terminal(bench, on_terminal(bench, "kill -TSTP 0; echo went on; read a; echo got=$a")) as person:
        person.expect("went on")
        person.type("\x1a")
        person.type("word\n")
        person.expect("got=word")
        assert person.end() == 0


def test_a_closed_terminal_ends_the_workload(
    bench: Bench, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    beat = bench.make("home/ws/beat", "")
    with terminal(
        bench, on_terminal(bench, "echo begin; while echo x >> beat; do sleep 0.02; done")
    ) as person:
        person.expect("begin")
        eventually(lambda: beat.stat().st_size > 0)
    assert person.end() == 128 + signal.SIGHUP
    size = beat.stat().st_size
    assert not grows(beat, size, eventually)


def grows(path: Path, size: int, eventually: Callable[[Callable[[], bool]], None]) -> bool:
    """Whether it grows within the five seconds that `eventually` waits."""
    try:
        eventually(lambda: path.stat().st_size > size)
    except AssertionError:
        return False
    return True


def test_the_time_goes_on_while_the_launcher_is_stopped_and_told_of_stops(bench: Bench) -> None:
    """On a terminal the workload can bring both about: the launcher stops with it."""
    proceed, beat = "( while :; do kill -CONT $$; done ) &", "while :; do echo >> beats; sleep 0.1; done &"
    script = f"trap '' TERM; {beat} {proceed} echo begin; while :; do kill -TSTP $$; done"
    limited = Plan(bench.ops(("limit", "wall", "1")))
    beats = bench.workspace / "beats"
    with terminal(bench, bench.command(limited, "sh", "-c", script)) as person:
        person.expect("begin")
        os.kill(person.pid, signal.SIGSTOP)
        time.sleep(9)  # the limit, the workload's grace, and as much as a slow machine may need
        before = beats.stat().st_size
        time.sleep(1)
        after = beats.stat().st_size
        os.kill(person.pid, signal.SIGCONT)
        assert person.end() == 124
    assert before == after
