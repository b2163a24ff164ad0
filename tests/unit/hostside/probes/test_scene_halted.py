"""The user that a scene runs as can halt it. That holds up neither the checks nor what waits for the lock."""

import mmap
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetbox.hostside.probes import scene
from fleetbox.hostside.probes.launch import Account
from fleetbox.hostside.probes.planted import Wanted
from fleetbox.hostside.probes.scene import Refused, Stage

ID = 65533 if os.geteuid() == 0 else os.geteuid()
SOMEBODY = Account("somebody", ID, ID, (), "/nonexistent")


def refused(monkeypatch: pytest.MonkeyPatch, play: Callable[..., int]) -> str:
    monkeypatch.setattr(scene, "_set_and_serve", play)
    with pytest.raises(Refused) as refusal, Stage(SOMEBODY, Wanted()):
        pytest.fail("there is a scene")
    return str(refusal.value)


def test_one_that_is_halted_is_killed_and_the_checks_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = mmap.mmap(-1, 4)  # of all files it keeps none

    def halt(*_: object) -> int:
        shared.write(os.getpid().to_bytes(4, "little"))
        os.kill(os.getpid(), signal.SIGSTOP)
        return 0

    monkeypatch.setattr(scene, "ANSWER_S", 0.2)
    assert "said nothing" in refused(monkeypatch, halt)
    pid = int.from_bytes(shared[:], "little")
    assert pid
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_one_that_talks_without_an_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(_account: Account, _wanted: Wanted, _stop: int, answer: int) -> int:
        while True:
            os.write(answer, bytes(65536))

    assert "said nothing" in refused(monkeypatch, talk)


def test_it_holds_nothing_that_the_program_has_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def tell(_account: Account, _wanted: Wanted, _stop: int, _answer: int) -> int:
        found = [f"/dev/fd/{fd}" for fd in os.listdir("/dev/fd")]
        raise OSError("open: " + " ".join(os.readlink(path) for path in found if os.path.exists(path)))

    with (tmp_path / "lock").open("w"):
        said = refused(monkeypatch, tell)
    assert said.startswith("open: ")
    assert "lock" not in said
