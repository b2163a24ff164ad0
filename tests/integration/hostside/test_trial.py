"""A generation on trial: who confirms it, what ends it, and where the host goes back to."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.hostside.host import REPO, Ended, HostTree
from tests.support import bundles
from tests.support.bundles import Built

KILLED = -signal.SIGKILL
FOREVER = "100000"
OTHER_NONCE = "0" * 32


@pytest.fixture
def host(host: HostTree, old: Built) -> HostTree:
    """On its first boot, with an old generation."""
    host.boot("first")
    assert host.activate(old).code == 0
    return host


def on_trial(
    host: HostTree, built: Built, *, within: str = FOREVER, narrows: bool = False
) -> tuple[str, str]:
    """Activate; the number and the nonce that confirm it."""
    done = host.activate(built, "--confirm-within", within, narrows=narrows)
    assert done.code == 0, done.answer
    assert host.enforces(built)
    return str(done.answer["generation"]), done.answer["pending"]["nonce"]


def refused(ended: Ended, error: str) -> None:
    assert (ended.code, ended.error) == (5, error), ended.answer


def pending(host: HostTree) -> bool:
    return (host.state / "pending.json").exists()


def settled(host: HostTree) -> bool:
    """Nothing of a trial is left."""
    return not pending(host) and not (host.state / "back").is_symlink() and host.leftovers() == []


def age(host: HostTree) -> None:
    """The time of the trial is over."""
    path = host.state / "pending.json"
    fields = json.loads(path.read_bytes())
    path.write_text(json.dumps({**fields, "since": 0.0, "until": 0.001}))


def test_what_is_confirmed_stays(host: HostTree, new: Built) -> None:
    number, nonce = on_trial(host, new)
    done = host.run("confirm", number, nonce)
    assert (done.code, done.answer["changed"], done.answer["digest"]) == (0, True, new.digest)
    assert settled(host)
    host.boot("second")
    assert host.run("watchdog", "--once").answer["changed"] is False
    assert host.enforces(new)


def test_confirming_again_is_no_error_because_the_answer_may_have_been_lost(
    host: HostTree, new: Built
) -> None:
    number, nonce = on_trial(host, new)
    host.run("confirm", number, nonce)
    again = host.run("confirm", number, nonce)
    assert (again.code, again.answer["changed"]) == (0, False)


def test_before_its_time_is_over_the_watchdog_lets_it_be(host: HostTree, new: Built) -> None:
    on_trial(host, new)
    assert host.run("watchdog", "--once").answer == {"schema_version": 1, "changed": False, "reversal": None}
    assert host.enforces(new)


@pytest.mark.parametrize("who", ["watchdog", "confirm", "stage", "gc", "activate"])
def test_whoever_comes_after_its_time_goes_back(host: HostTree, old: Built, new: Built, who: str) -> None:
    number, nonce = on_trial(host, new)
    age(host)
    match who:
        case "watchdog":
            assert host.run("watchdog").answer["reversal"]["reason"] == "unconfirmed"
        case "confirm":
            refused(host.run("confirm", number, nonce), "too_late")
        case "stage":
            assert host.run("stage", new.digest, stdin=new.tar).code == 0
        case "gc":
            assert host.run("gc").code == 0
        case _:
            assert host.activate(old).answer["changed"] is False
    assert host.enforces(old)
    assert settled(host)
    assert host.numbers() == [1]


def test_a_lost_confirmation_says_nothing_of_the_bundle_which_may_be_tried_again(
    host: HostTree, old: Built, new: Built
) -> None:
    on_trial(host, new)
    age(host)
    host.run("watchdog")
    number, nonce = on_trial(host, new)
    assert host.run("confirm", number, nonce).code == 0
    assert host.enforces(new)


def watching(host: HostTree) -> subprocess.Popen[bytes]:
    """Verb `watchdog`, which waits."""
    argv = [sys.executable, "-m", "tests.integration.hostside.driver", "none", "pass", str(host.root)]
    pipe = subprocess.PIPE
    return subprocess.Popen([*argv, "watchdog"], stdout=pipe, stderr=pipe, cwd=REPO)


def test_the_watchdog_waits_and_goes_back_by_itself(host: HostTree, old: Built, new: Built) -> None:
    on_trial(host, new)
    with watching(host) as watchdog:
        with pytest.raises(subprocess.TimeoutExpired):
            watchdog.wait(timeout=3)
        age(host)
        out, _ = watchdog.communicate(timeout=60)
    assert json.loads(out)["reversal"]["reason"] == "unconfirmed"
    assert host.enforces(old)


def test_the_watchdog_ends_when_the_generation_is_confirmed(host: HostTree, new: Built) -> None:
    number, nonce = on_trial(host, new)
    with watching(host) as watchdog:
        assert host.run("confirm", number, nonce).code == 0
        out, _ = watchdog.communicate(timeout=60)
    assert json.loads(out) == {"schema_version": 1, "changed": False, "reversal": None}
    assert host.enforces(new)


def test_a_watchdog_that_cannot_go_back_tries_again(host: HostTree, old: Built, new: Built) -> None:
    on_trial(host, new)
    age(host)
    host.state.chmod(0o777)
    with watching(host) as watchdog:
        assert watchdog.stderr
        assert b"cannot go back yet" in watchdog.stderr.readline()
        host.state.chmod(0o755)
        out, _ = watchdog.communicate(timeout=60)
    assert json.loads(out)["reversal"]["reason"] == "unconfirmed"
    assert host.enforces(old)


def test_while_another_run_is_at_work_the_watchdog_leaves_the_end_to_it(host: HostTree, new: Built) -> None:
    on_trial(host, new)
    age(host)
    with (host.state / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = host.run("watchdog", "--once")
    assert (done.code, done.answer["changed"]) == (0, False)
    assert pending(host)


def test_the_time_to_confirm_begins_when_the_checks_have_passed(host: HostTree, new: Built) -> None:
    on_trial(host, new, within="60")
    said = json.loads((host.state / "pending.json").read_bytes())
    assert said["until"] > said["since"] + 60


@pytest.mark.parametrize("who", ["watchdog", "confirm", "activate"])
def test_after_a_reboot_nobody_confirms(host: HostTree, old: Built, new: Built, who: str) -> None:
    number, nonce = on_trial(host, new)
    host.boot("second")
    if who == "watchdog":
        assert host.run("watchdog").answer["reversal"]["reason"] == "rebooted"
    elif who == "confirm":
        refused(host.run("confirm", number, nonce), "too_late")
    else:
        host.activate(old)
    assert host.enforces(old)
    assert settled(host)


def test_where_nothing_tells_boots_apart_a_younger_system_is_another_boot(
    host: HostTree, old: Built, new: Built
) -> None:
    (host.root / "proc/sys/kernel/random/boot_id").unlink()
    on_trial(host, new)
    path = host.state / "pending.json"
    fields = json.loads(path.read_bytes())
    later = time.clock_gettime(time.CLOCK_BOOTTIME) + 5000
    path.write_text(json.dumps({**fields, "since": later, "until": later + 60}))
    host.run("watchdog")
    assert host.enforces(old)


def test_a_wall_clock_that_is_years_off_changes_nothing(host: HostTree, new: Built) -> None:
    on_trial(host, new)
    path = host.state / "pending.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "until_wall": "1999-01-01T00:00:00Z"}))
    assert host.run("watchdog", "--once").answer["changed"] is False
    assert host.enforces(new)


def test_the_wrong_nonce_or_number_confirms_nothing(host: HostTree, old: Built, new: Built) -> None:
    number, nonce = on_trial(host, new)
    refused(host.run("confirm", number, OTHER_NONCE), "wrong_nonce")
    refused(host.run("confirm", "1", nonce), "not_on_trial")
    refused(host.run("confirm", "99", nonce), "not_on_trial")
    assert pending(host)
    assert host.run("confirm", number, "x").code == 2
    age(host)
    host.run("watchdog")
    assert host.enforces(old)


def test_a_second_controller_takes_over_and_the_first_is_told(host: HostTree, old: Built, new: Built) -> None:
    """Its generation goes back to the confirmed one, never to one that nobody confirmed."""
    number, nonce = on_trial(host, new)
    second = host.fall_back_to()
    other, other_nonce = on_trial(host, second)
    refused(host.run("confirm", number, nonce), "wrong_nonce" if number == other else "superseded")
    assert host.run("confirm", other, other_nonce).code == 0
    assert host.enforces(second)
    assert int(number) not in host.numbers()
    done = host.run("rollback")
    assert (done.code, host.enforces(old)) == (0, True), "what nobody confirmed is not gone back to"


def test_a_second_controller_that_is_killed_on_the_way_leaves_nothing_to_confirm(
    host: HostTree, old: Built, new: Built
) -> None:
    number, nonce = on_trial(host, new)
    assert host.activate(host.fall_back_to(), stop="step:SWITCHED_BACK").code == KILLED
    assert host.enforces(old)
    assert pending(host)
    refused(host.run("confirm", number, nonce), "superseded")
    assert settled(host)
    assert host.enforces(old)


def test_the_nonce_is_for_root_alone(host: HostTree, new: Built) -> None:
    _, nonce = on_trial(host, new)
    assert (host.state / "pending.json").stat().st_mode & 0o777 == 0o600
    assert nonce not in json.dumps(host.run("status").answer)


def test_status_says_what_is_on_trial_and_what_did_not_stay(host: HostTree, old: Built, new: Built) -> None:
    number, _ = on_trial(host, new)
    answer = host.run("status").answer
    assert answer["pending"]["generation"] == int(number)
    assert answer["pending"]["back_to"] == 1
    assert 0 < answer["pending"]["left_s"] <= int(FOREVER)
    host.boot("second")
    assert host.run("status").answer["pending"]["over"] is True
    host.run("watchdog")
    answer = host.run("status").answer
    assert answer["pending"] is None
    told = answer["last_reversal"]
    assert (told["generation"], told["digest"], told["reason"], told["back_to"]) == (
        int(number), new.digest, "rebooted", 1,
    )  # fmt: skip
    assert answer["quarantine"] == []


@pytest.mark.parametrize("smoke", ["fail", "error", "crash", "bug"])
def test_where_access_is_taken_away_failing_leads_to_the_strictest_baseline(
    host: HostTree, new: Built, smoke: str
) -> None:
    done = host.activate(new, smoke=smoke, narrows=True)
    assert done.code in (1, 5)
    assert host.enforces(host.fall_back_to())
    assert host.run("status").answer["baseline"] is True
    assert settled(host)
    assert host.numbers() == [1, 3], "what failed could be rolled back to"


def test_a_narrowing_that_nobody_confirms_leads_to_the_strictest_baseline_too(
    host: HostTree, new: Built
) -> None:
    """Keeping the confirmation away must not buy back what was taken."""
    on_trial(host, new, narrows=True)
    host.boot("second")
    host.run("watchdog")
    assert host.enforces(host.fall_back_to())
    assert settled(host)


def test_a_narrowing_that_is_killed_before_its_checks_leads_there_too(host: HostTree, new: Built) -> None:
    assert host.activate(new, stop="step:SWITCHED", narrows=True).code == KILLED
    assert host.enforces(new)
    assert host.run("watchdog").answer["reversal"]["reason"] == "interrupted"
    assert host.enforces(host.fall_back_to())


@pytest.mark.parametrize("step", ["SWITCHED", "SMOKE_DONE"])
def test_killed_before_its_checks_have_passed_it_is_not_waited_for(
    host: HostTree, old: Built, new: Built, step: str
) -> None:
    """However long a confirmation may take: nobody has been told the nonce."""
    assert host.activate(new, "--confirm-within", FOREVER, stop=f"step:{step}").code == KILLED
    assert host.enforces(new)
    assert host.run("watchdog", "--once").answer["reversal"]["reason"] == "interrupted"
    assert host.enforces(old)
    assert settled(host)


def test_what_is_refused_takes_nobodys_trial_away(host: HostTree, old: Built, new: Built) -> None:
    other = bundles.build("other")
    host.activate(other, smoke="fail")
    number, nonce = on_trial(host, new)
    refused(host.activate(other), "quarantined")
    refused(host.run("activate", "sha256:" + "0" * 64), "not_staged")
    assert host.enforces(new)
    assert host.run("confirm", number, nonce).code == 0


def test_killed_before_the_switch_nothing_was_tried_and_nothing_is_taken_away(
    host: HostTree, old: Built, new: Built
) -> None:
    assert host.activate(new, stop="step:ARMED", narrows=True).code == KILLED
    host.run("watchdog")
    assert host.enforces(old)
    assert settled(host)
    host.run("gc")
    host.activate(old)
    assert host.numbers() == [1]


def test_a_narrowing_that_holds_leaves_no_baseline_behind(host: HostTree, old: Built, new: Built) -> None:
    number, nonce = on_trial(host, new, narrows=True)
    assert host.run("confirm", number, nonce).code == 0
    assert host.numbers() == [1, int(number)]
    assert host.run("rollback").code == 0
    assert host.enforces(old)


def test_from_the_baseline_every_push_leads_out_again(host: HostTree, old: Built, new: Built) -> None:
    host.activate(new, smoke="error", narrows=True)
    assert host.enforces(host.fall_back_to())
    assert host.activate(new, narrows=True).code == 0
    assert host.enforces(new)


def test_a_bundle_whose_checks_failed_is_not_tried_again_until_somebody_says_so(
    host: HostTree, old: Built, new: Built
) -> None:
    done = host.activate(new, smoke="fail")
    assert (done.answer["quarantined"], done.answer["rolled_back"]) == (True, True)
    assert host.run("status").answer["quarantine"] == [new.digest]
    refused(host.activate(new), "quarantined")
    assert host.enforces(old)
    assert host.activate(new, "--clear-quarantine").code == 0
    assert host.enforces(new)
    assert host.run("status").answer["quarantine"] == []


@pytest.mark.parametrize("smoke", ["error", "crash", "bug"])
def test_checks_that_could_not_run_say_nothing_of_the_bundle(host: HostTree, new: Built, smoke: str) -> None:
    host.activate(new, smoke=smoke)
    assert host.run("status").answer["quarantine"] == []
    assert host.activate(new).code == 0


def test_a_pending_file_that_is_not_ours_is_refused(host: HostTree, new: Built) -> None:
    for text in ("", "{}", "[]", '{"schema_version": 2}', "x" * 70_000):
        path = host.state / "pending.json"
        path.write_text(text)
        for verb in (("status",), ("watchdog", "--once"), ("gc",), ("activate", new.digest)):
            refused(host.run(*verb), "unsafe_state")
        path.unlink()


def test_a_link_in_place_of_the_pending_file_is_refused(host: HostTree, new: Built, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("{}")
    (host.state / "pending.json").symlink_to(target)
    assert host.run("activate", new.digest).code != 0
    assert target.read_text() == "{}"


def test_garbage_goes_but_not_what_somebody_may_go_back_to(host: HostTree, old: Built, new: Built) -> None:
    for _ in range(6):
        host.activate(new)
        host.activate(old)
    number, nonce = on_trial(host, new)
    kept = host.run("gc", "--keep", "2").answer
    assert kept["changed"] is True
    assert int(number) in host.numbers()
    host.boot("second")
    host.run("watchdog")
    assert host.enforces(old)
    assert host.run("confirm", number, nonce).code == 5


@pytest.mark.parametrize("keep", ["1", "2"])
def test_garbage_is_collected_while_a_narrowing_is_on_trial(
    host: HostTree, old: Built, new: Built, keep: str
) -> None:
    """The baseline to go back to is no generation that somebody could roll back to: it counts for none."""
    for built in (new, old, new, old):
        host.activate(built)
    number, nonce = on_trial(host, new, narrows=True)
    assert host.run("gc", "--keep", keep).answer["generations"] == [1, 2, 3, 4]
    saved = HostTree(host.root / "copy")
    shutil.copytree(host.state, saved.state, symlinks=True)
    saved.boot("second")
    saved.run("watchdog")
    assert saved.enforces(host.fall_back_to())
    assert host.run("confirm", number, nonce).code == 0
    assert host.run("rollback", "--not-narrower-than", new.digest).code == 0
    assert host.enforces(old)


def test_garbage_of_a_killed_activation_is_not_kept_instead_of_the_generation_before(
    host: HostTree, old: Built, new: Built
) -> None:
    host.activate(new)
    assert host.activate(old, stop="step:BACK_LAID", narrows=True).code == KILLED
    assert host.numbers() == [1, 2, 3, 4]
    assert host.run("gc", "--keep", "2").code == 0
    assert host.numbers() == [1, 2]
    assert host.enforces(new)
    assert host.run("rollback", "--not-narrower-than", new.digest).code == 0
    assert host.enforces(old)


def test_bundles_that_no_generation_has_go_after_a_day(host: HostTree, old: Built, new: Built) -> None:
    host.run("stage", new.digest, stdin=new.tar)
    assert host.run("gc").answer["bundles"] == []
    stored = host.state / "store" / new.hex
    yesterday = time.time() - 25 * 3600
    os.utime(stored, (yesterday, yesterday))
    assert host.run("gc").answer["bundles"] == [new.digest]
    assert not stored.exists()
    assert host.enforces(old)


def test_rolling_back_from_a_narrowing_on_trial_leads_to_the_generation_before(
    host: HostTree, old: Built, new: Built
) -> None:
    """Not to the baseline, which is newer: it was made for the way back of this trial."""
    on_trial(host, new, narrows=True)
    assert host.run("rollback").code == 0
    assert host.enforces(old)
    assert settled(host)
