"""This machine as a host: the same promises as over ssh."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from fleetbox.errors import ApplyFailed, UsageError
from fleetbox.transport import connect
from tests.conftest import RunAs
from tests.support.sshd import Endpoint

LOCAL = Endpoint(None, (), connection="local")


def test_a_command_gets_its_input_and_its_streams_stay_apart() -> None:
    data = os.urandom(3 * 1024 * 1024)
    done = connect(LOCAL).run(["sh", "-c", "cat; echo why >&2; exit 3"], stdin=data, timeout=20)
    assert (done.rc, done.stdout, done.words) == (3, data, "why")


def test_a_program_that_is_not_there_ends_with_127() -> None:
    assert connect(LOCAL).run(["/no/such/program"], timeout=5).rc == 127


def test_a_command_killed_by_a_signal_ends_with_128_and_the_signal() -> None:
    assert connect(LOCAL).run(["sh", "-c", "kill -9 $$"], timeout=5).rc == 137


def test_a_command_that_takes_too_long_is_ended_with_everything_it_started(tmp_path) -> None:
    late = tmp_path / "late"
    with pytest.raises(ApplyFailed, match="not known"):
        connect(LOCAL).run(["sh", "-c", f"(sleep 2; touch {late}) & wait"], timeout=0.3)
    time.sleep(2.2)
    assert not late.exists()


def test_a_command_that_became_root_and_takes_too_long_holds_nobody_up(
    open_dir: Path, run_as: RunAs, workload_user: int
) -> None:
    """As under sudo: who started it may not kill it."""
    if workload_user == os.geteuid():
        pytest.skip("not root")
    python = open_dir / "python"
    shutil.copy("/usr/bin/python3", python)
    os.chown(python, 0, workload_user)
    python.chmod(0o4750)
    as_root = "import os, time; os.setresuid(0, 0, 0); time.sleep(20)"
    caller = (
        "from fleetbox.errors import ApplyFailed\nfrom fleetbox.transport.local import LocalTransport\n"
        f"try:\n LocalTransport().run([{str(python)!r}, '-I', '-S', '-c', {as_root!r}], timeout=0.5)\n"
        "except ApplyFailed as error:\n print(error)\n"
    )
    begun = time.monotonic()
    done = run_as([sys.executable, "-c", caller])
    assert "not known" in done.stdout, done.stderr
    assert time.monotonic() - begun < 15


def test_endless_output_is_cut_off() -> None:
    with pytest.raises(ApplyFailed, match="KiB"):
        connect(LOCAL).run(["yes"], timeout=30)


def test_another_connection_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'docker'"):
        connect(Endpoint(None, (), connection="docker"))
