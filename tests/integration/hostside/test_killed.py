"""SIGKILL at every step and before every change of the file system: what remains is the old or the new."""

import itertools
import os
import shutil
import signal

import pytest

from fleetbox.hostside.steps import ACTIVATION, REVERSAL, Step
from tests.integration.hostside.host import HostTree, files_below, members
from tests.support import bundles
from tests.support.bundles import Built

KILLED = -signal.SIGKILL


def assert_old_or_new(host: HostTree, old: Built | None, new: Built) -> None:
    assert host.enforces(old) or host.enforces(new), host.current()


def assert_recovers(host: HostTree, new: Built) -> None:
    """The next activation succeeds and nothing of the killed run is left."""
    again = host.activate(new)
    assert again.code == 0, again
    assert host.enforces(new)
    assert host.leftovers() == []
    assert again.answer["generation"] == max(host.numbers())
    assert not (host.state / "pending.json").exists()
    assert not (host.state / "back").is_symlink()


def test_a_normal_activation_passes_every_step_in_order(host: HostTree, old: Built, new: Built) -> None:
    for built in (old, new):
        assert host.activate(built).steps == [step.name for step in ACTIVATION]


def test_a_failed_activation_passes_every_step_back(host: HostTree, old: Built, new: Built) -> None:
    forward = [step.name for step in ACTIVATION if step not in (Step.SMOKE_DONE, Step.CONFIRMED)]
    back = [step.name for step in REVERSAL]
    host.activate(old)
    done = host.activate(new, smoke="fail")
    assert [line for line in done.steps if line in Step.__members__] == forward + back
    assert tuple(Step) == (*ACTIVATION, Step.AWAITING, *REVERSAL)


@pytest.mark.parametrize("step", ACTIVATION, ids=lambda step: step.name)
@pytest.mark.parametrize("first", [True, False], ids=["first", "upgrade"])
def test_killed_at_a_step_of_an_activation(
    host: HostTree, old: Built, new: Built, step: Step, *, first: bool
) -> None:
    if not first:
        assert host.activate(old).code == 0
    assert host.activate(new, stop=f"step:{step.name}").code == KILLED
    assert_old_or_new(host, None if first else old, new)
    assert host.enforces(new) == (step in ACTIVATION[ACTIVATION.index(Step.SWITCHED) :])
    assert_recovers(host, new)


@pytest.mark.parametrize("step", REVERSAL, ids=lambda step: step.name)
@pytest.mark.parametrize("first", [True, False], ids=["first", "upgrade"])
def test_killed_at_a_step_of_the_way_back(
    host: HostTree, old: Built, new: Built, step: Step, *, first: bool
) -> None:
    if not first:
        assert host.activate(old).code == 0
    assert host.activate(new, smoke="fail", stop=f"step:{step.name}").code == KILLED
    assert host.enforces(None if first else old)
    assert_recovers(host, new)


@pytest.mark.parametrize("step", [Step.OPENED, Step.SWITCHED, Step.SMOKE_DONE], ids=lambda step: step.name)
def test_killed_while_rolling_back(host: HostTree, old: Built, new: Built, step: Step) -> None:
    host.activate(old)
    host.activate(new)
    assert host.run("rollback", "--not-narrower-than", new.digest, stop=f"step:{step.name}").code == KILLED
    assert_old_or_new(host, new, old)
    assert_recovers(host, new)


def _killed_before_each_change(host: HostTree, old: Built, new: Built, smoke: str) -> tuple[int, HostTree]:
    """Kill ever later, each time on a copy of the same host, until a run gets through.

    A copy: on a host that was healed, the new bundle would be in the store, and a run would have less to do.
    """
    template = HostTree(host.root / "template")
    assert template.activate(old).code == 0
    for number in itertools.count(1):
        shutil.copytree(template.root, host.root / str(number), symlinks=True)
        copy = HostTree(host.root / str(number))
        if copy.activate(new, stop=f"call:{number}", smoke=smoke).code != KILLED:
            return number - 1, copy
        assert_old_or_new(copy, old, new)
    raise AssertionError("unreachable")


def test_killed_before_every_change_of_the_file_system(host: HostTree, old: Built, new: Built) -> None:
    """Finer than the steps, and independent of them: a change that no step marks is covered as well."""
    changes, last = _killed_before_each_change(host, old, new, "pass")
    assert last.enforces(new)
    assert changes > len(members(new)) + len(("publish", "counter", "number", "generation", "switch"))


def test_killed_before_every_change_of_an_activation_that_fails(
    host: HostTree, old: Built, new: Built
) -> None:
    _, last = _killed_before_each_change(host, old, new, "fail")
    assert last.enforces(old)


def test_killed_before_every_change_of_staging(host: HostTree, new: Built) -> None:
    for killed in itertools.count():
        fresh = HostTree(host.root / str(killed))
        if fresh.run("stage", new.digest, stdin=new.tar, stop=f"call:{killed + 1}").code != KILLED:
            assert killed > len(members(new))
            return
        assert fresh.run("stage", new.digest, stdin=new.tar).code == 0
        assert fresh.leftovers() == []


def test_numbers_of_killed_generations_are_not_used_again(host: HostTree, old: Built, new: Built) -> None:
    host.activate(old)
    for _ in range(3):
        assert host.activate(new, stop="step:GENERATION_SYNCED").code == KILLED
    assert host.activate(new).answer["generation"] == 5
    assert host.numbers() == [1, 5]


@pytest.mark.parametrize("verb", ["confirm", "watchdog", "gc"])
def test_killed_before_every_change_of_the_end_of_a_narrowing(
    host: HostTree, old: Built, new: Built, verb: str
) -> None:
    """The baseline to go back to stays until nobody can go back to it, and no bundle is there by half."""
    template = HostTree(host.root / "template")
    template.boot("first")
    unneeded = bundles.build("unneeded", ("second",))
    assert template.activate(old).code == 0
    assert template.run("stage", unneeded.digest, stdin=unneeded.tar).code == 0
    os.utime(template.state / "store" / unneeded.hex, (0, 0))
    trial = template.activate(new, "--confirm-within", "100000", narrows=True).answer
    if verb == "watchdog":
        template.boot("second")
    confirm = ("confirm", str(trial["generation"]), trial["pending"]["nonce"])
    words = {"confirm": confirm, "watchdog": ("watchdog", "--once"), "gc": ("gc", "--keep", "2")}[verb]
    base = host.fall_back_to()
    whole = {built.hex: members(built) for built in (old, new, base, unneeded)}
    for number in itertools.count(1):
        copy = HostTree(host.root / str(number))
        shutil.copytree(template.root, copy.root, symlinks=True, dirs_exist_ok=True)
        code = copy.run(*words, stop=f"call:{number}").code
        for entry in copy.state.glob("store/[!.]*"):
            assert files_below(entry) == whole[entry.name]
        copy.boot("third")
        assert copy.run("watchdog", "--once").code == 0
        confirmed = verb == "confirm" and not copy.enforces(base)
        assert copy.enforces(new if confirmed else base), copy.current()
        assert not (copy.state / "pending.json").exists()
        if code != KILLED:
            assert (code, confirmed) == (0, verb == "confirm")
            return
