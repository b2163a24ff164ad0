"""The pool: bounded, in order, and one host's trouble stays that host's."""

import subprocess
import sys
import threading
import time
from pathlib import Path

from fleetbox.fleet.inventory import Host
from fleetbox.rollout.execute import each
from fleetbox.transport import Transport

REPO = Path(__file__).resolve().parents[3]


class Quiet:
    def started(self, host: Host) -> None: ...
    def finished(self, host: Host, result: str) -> None: ...


HOSTS = [Host(name=f"h{n}", address="localhost", connection="local") for n in range(6)]


def _failed(host: Host, error: Exception) -> str:
    return f"{host.name} failed: {error}"


def test_results_come_in_the_order_of_the_hosts_and_never_more_than_forks_run_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(host: Host, transport: Transport) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05 if host.name == "h0" else 0.01)
        with lock:
            running -= 1
        return host.name

    done = each(HOSTS, work, failed=_failed, forks=2, progress=Quiet())
    assert [result for _, result in done.results] == [host.name for host in HOSTS]
    assert most == 2
    assert not done.interrupted


def test_what_one_host_raises_becomes_its_result_and_the_others_go_on() -> None:
    def work(host: Host, transport: Transport) -> str:
        if host.name == "h1":
            raise KeyError("bug")
        return "fine"

    done = each(HOSTS, work, failed=_failed, forks=3, progress=Quiet())
    assert [result for _, result in done.results].count("fine") == 5
    assert done.results[1][1] == "h1 failed: 'bug'"


# A process of its own: the signal is for the whole process, and here that would be pytest.
INTERRUPTED = """
import os, signal, time
from tests.unit.rollout.test_execute import HOSTS, Quiet
from fleetbox.rollout.execute import each

def work(host, transport):
    if host.name == "h1":
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)
    return "whole"

done = each(HOSTS, work, failed=str, forks=2, progress=Quiet())
print(done.interrupted, *(result for _, result in done.results))
"""


def test_an_interruption_lets_what_runs_finish_and_begins_nothing_more() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False, cwd=REPO
    )
    assert done.stdout == "True whole whole None None None None\n", done.stderr
