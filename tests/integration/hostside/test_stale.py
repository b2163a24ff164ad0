"""A policy whose signatures were due for too long gives way to the strictest baseline, and comes back."""

import json
import shutil
import signal
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fleetbox.hostside import paths
from tests.integration.hostside.host import Ended, HostTree
from tests.integration.hostside.stale_host import (
    DAYS,
    HOURS,
    MINUTES,
    RAN_OUT,
    TERMS,
    TOO_LATE,
    YEARS_AHEAD,
    StaleHost,
)
from tests.support.signed import NOW, Fleet

KILLED = -signal.SIGKILL


@pytest.fixture
def root() -> Iterator[Path]:
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as path:
        yield Path(path)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def host(root: Path, fleet: Fleet) -> StaleHost:
    return StaleHost(root / "host", fleet)


def did_nothing(ended: Ended) -> bool:
    return (ended.code, ended.answer["changed"], ended.answer["reversal"]) == (0, False, None)


def gone(host: StaleHost) -> Ended:
    """After two looks that were an hour of running apart."""
    assert did_nothing(host.look(TOO_LATE, 0 * HOURS))
    done = host.look(TOO_LATE + timedelta(hours=1), 1 * HOURS)
    assert (done.code, done.answer["changed"]) == (0, True), done
    assert host.is_at_baseline()
    return done


def renewed(fleet: Fleet) -> None:
    """`fleetbox trust refresh`: the same content, signed anew."""
    for repository in (fleet.policy, fleet.assignment):
        for role in ("targets", "snapshot", "timestamp"):
            repository.expire(role, TOO_LATE + 7 * DAYS)
        repository.publish()


def test_signatures_that_are_due_are_no_reason_before_max_stale_days(host: StaleHost) -> None:
    for hour, wall in enumerate((NOW, RAN_OUT, TOO_LATE - timedelta(hours=2), TOO_LATE - timedelta(hours=1))):
        assert did_nothing(host.look(wall, hour * HOURS))
    assert host.tree.enforces(host.policy.built)
    assert "stale_noticed" not in host.events()


def test_after_them_the_host_goes_to_the_baseline_and_says_why(host: StaleHost) -> None:
    done = gone(host)
    told = done.answer["reversal"]
    assert (told["generation"], told["reason"], told["back_to"]) == (1, "stale", 2)
    said: dict[str, Any] = host.status()
    assert (said["baseline"], said["last_reversal"]["reason"], said["pending"]) == (True, "stale", None)
    assert said["trust"]["since"] == "2026-11-29T02:00:00Z"
    [*_, noticed, went] = host.tree.run("audit").answer["entries"]
    assert (noticed["event"], went["event"]) == ("stale_noticed", "went_stale")
    assert (went["generation"], went["digest"]) == (1, host.policy.built.digest)
    assert (went["since"], went["clock"], went["by_clock"]) == (
        "2026-11-29T02:00:00Z",
        "2026-12-02T03:00:00Z",
        True,
    )
    assert host.tree.leftovers() == []
    assert not (host.state / "back").is_symlink()


def test_at_the_baseline_there_is_nothing_left_to_do(host: StaleHost) -> None:
    gone(host)
    before = host.events()
    for hour in (2, 3, 4):
        assert did_nothing(host.look(TOO_LATE + DAYS, hour * HOURS))
    assert host.tree.numbers() == [1, 2]
    assert host.events() == before


def test_the_first_look_names_the_clock_and_what_to_do(host: StaleHost) -> None:
    done = host.look(YEARS_AHEAD)
    assert did_nothing(done)
    assert done.answer["believed_in_s"] == 3600
    assert (host.state / "store" / host.baseline.hex).is_dir(), "at hand, should there be no room later"
    [words] = [line for line in done.steps if line.startswith("fleetbox-host:")]
    assert "clock says 2037-11-04T02:00:00Z" in words
    assert "date -u" in words
    trust: Any = host.status(YEARS_AHEAD)["trust"]
    assert (trust["clock"], trust["noticed"]) == ("2037-11-04T02:00:00Z", "2037-11-04T02:00:00Z")
    assert trust["max_stale_days"] == 3


def test_a_clock_that_is_years_ahead_for_less_than_an_hour_changes_nothing(host: StaleHost) -> None:
    for minute in (0, 5, 59):
        assert did_nothing(host.look(YEARS_AHEAD, minute * MINUTES))
    assert did_nothing(host.look(NOW, 61 * MINUTES)), "by then the clock is right"
    assert did_nothing(host.look(YEARS_AHEAD, 62 * MINUTES)), "and now it is wrong again"
    assert did_nothing(host.look(YEARS_AHEAD, 121 * MINUTES))
    assert host.tree.enforces(host.policy.built)
    assert host.look(YEARS_AHEAD, 122 * MINUTES).answer["changed"] is True


def test_a_reboot_does_not_count_as_time_that_the_host_has_run(host: StaleHost) -> None:
    host.look(YEARS_AHEAD)
    host.tree.boot("second")
    assert did_nothing(host.look(YEARS_AHEAD, 30 * MINUTES - 1000))
    assert host.look(YEARS_AHEAD, 60 * MINUTES - 1000).answer["changed"] is True


def test_a_clock_that_is_set_back_does_not_keep_the_policy(host: StaleHost) -> None:
    """What the host has run since the newest signed time is as good a clock; nobody sets it."""
    for day in range(11):
        assert did_nothing(host.look(NOW, day * 24 * HOURS))
    assert did_nothing(host.look(NOW, 10.5 * 24 * HOURS))
    done = host.look(NOW, 10.5 * 24 * HOURS + HOURS)
    assert (done.answer["changed"], done.answer["trust"]["by_clock"]) == (True, False)
    assert host.is_at_baseline()


def test_with_a_clock_set_back_what_had_run_out_is_not_taken_again(host: StaleHost, fleet: Fleet) -> None:
    had = fleet.delivery(host.policy)
    for ran in (0, 11 * 24 * HOURS, 11 * 24 * HOURS + HOURS):
        host.look(NOW, ran)
    assert host.is_at_baseline()
    refused = host.push(had, ran=12 * 24 * HOURS)
    assert (refused.code, refused.error) == (6, "expired")
    assert host.is_at_baseline()
    newer = host.push(fleet.assign(host.policy, 2), ran=12 * 24 * HOURS)
    assert newer.code == 0, "what is newer is judged by the clock, or a wrong count would last for ever"


def test_the_count_begins_anew_with_new_signatures_though_they_name_no_newer_time(
    host: StaleHost, fleet: Fleet
) -> None:
    """As those of a control machine whose clock was a month ahead once."""
    for week in range(4):
        at = (week + 1) * 7 * 24 * HOURS
        assert did_nothing(host.look(NOW, at))
        assert host.push(fleet.assign(host.policy, week + 2), ran=at).code == 0
    assert host.tree.enforces(host.policy.built)


@pytest.mark.parametrize("again", ["the same assignment", "the same bundle, assigned anew"])
def test_a_push_of_the_very_same_brings_the_policy_back(host: StaleHost, fleet: Fleet, again: str) -> None:
    gone(host)
    old = fleet.delivery(host.policy)
    assert host.push(old, wall=TOO_LATE, ran=2 * HOURS).error == "expired"
    renewed(fleet)
    generation = 1 if again == "the same assignment" else 2
    sent = fleet.assign(host.policy, generation) if generation > 1 else fleet.delivery(host.policy)
    done = host.push(sent, *TERMS, wall=TOO_LATE, ran=2 * HOURS)
    assert (done.code, done.answer["changed"]) == (0, True), done.answer
    assert host.tree.enforces(host.policy.built)
    nonce = done.answer["pending"]["nonce"]
    assert host.tree.run("confirm", str(done.answer["generation"]), nonce).code == 0
    for hour in (3, 4, 5):
        assert did_nothing(host.look(TOO_LATE, hour * HOURS))
    assert host.tree.enforces(host.policy.built)


def test_what_comes_back_is_on_trial_and_falls_back_to_the_baseline(host: StaleHost, fleet: Fleet) -> None:
    gone(host)
    renewed(fleet)
    host.push(fleet.delivery(host.policy), *TERMS, wall=TOO_LATE, ran=2 * HOURS)
    host.tree.boot("second")
    assert host.tree.run("watchdog", "--once").answer["changed"] is True
    assert host.is_at_baseline()


def test_new_signatures_between_two_looks_begin_it_anew(host: StaleHost, fleet: Fleet) -> None:
    host.look(TOO_LATE)
    renewed(fleet)
    assert host.push(fleet.delivery(host.policy), wall=TOO_LATE).code == 0
    assert did_nothing(host.look(YEARS_AHEAD, 2 * HOURS))
    assert host.tree.enforces(host.policy.built)


@pytest.mark.parametrize("first", [False, True], ids=["upgrade", "first"])
def test_a_trial_that_would_last_for_years_is_ended(root: Path, fleet: Fleet, *, first: bool) -> None:
    host = StaleHost(root / "host", fleet)
    if first:
        shutil.rmtree(host.state)
    policy = fleet.release(6)
    sent = fleet.assign(policy, 2, issued="2026-11-22T01:30:00Z")
    assert host.push(sent, "--confirm-within", "999999999").code == 0
    gone(host)
    assert not (host.state / "pending.json").exists()
    assert host.tree.numbers()[-1] == max(host.tree.numbers())


def test_hosts_that_are_to_keep_it_for_ever_do(root: Path, fleet: Fleet) -> None:
    host = StaleHost(root / "host", fleet, max_stale_days=None)
    for hour in range(3):
        done = host.look(YEARS_AHEAD, hour * HOURS)
        assert (did_nothing(done), done.answer["trust"]) == (True, None)
    assert host.tree.enforces(host.policy.built)
    assert not (host.state / "looks.json").exists()


def test_hosts_that_never_verified_anything_have_nothing_that_is_due(host: StaleHost, root: Path) -> None:
    plain = HostTree(root / "plain")
    assert plain.activate(host.policy.built).code == 0
    (plain.root / "etc/fleetbox").mkdir(parents=True)
    (plain.root / paths.HOST_CONFIG.lstrip("/")).write_text('{"max_stale_days": 1}')
    for ran in ("1000.0", "9000.0"):
        assert did_nothing(plain.run("stale", at=f"2037-01-01T00:00:00Z {ran}"))
    assert plain.enforces(host.policy.built)


def test_a_host_whose_signed_files_are_lost_has_nothing_that_vouches_for_its_policy(host: StaleHost) -> None:
    (host.state / "trust/metadata.tar").unlink()
    wall = NOW + 3 * DAYS
    assert did_nothing(host.look(wall - timedelta(hours=2)))
    host.look(wall, 1 * HOURS)
    assert host.look(wall, 2 * HOURS).answer["changed"] is True
    assert host.is_at_baseline()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema_version": 2}', "x" * 1000, '{"schema_version": 1}']
)
def test_damaged_notes_of_looks_only_begin_the_hour_anew(host: StaleHost, text: str) -> None:
    host.look(TOO_LATE)
    (host.state / "looks.json").write_text(text)
    assert did_nothing(host.look(TOO_LATE, 1 * HOURS))
    assert host.look(TOO_LATE, 2 * HOURS).answer["changed"] is True


def test_notes_that_another_can_write_are_refused(host: StaleHost) -> None:
    host.look(TOO_LATE)
    (host.state / "looks.json").chmod(0o666)
    done = host.look(TOO_LATE, 2 * HOURS)
    assert (done.code, done.error) == (5, "unsafe_state")


def test_a_damaged_floor_is_said_and_changes_nothing(host: StaleHost) -> None:
    (host.state / "floor.json").write_text("{")
    assert host.look(TOO_LATE).error == "floor_damaged"
    assert host.tree.enforces(host.policy.built)


def test_what_never_expires_is_never_due(host: StaleHost, fleet: Fleet) -> None:
    for repository in (fleet.policy, fleet.assignment):
        repository.root.signed.expires = NOW.replace(year=9999, month=12, day=31)
        repository.root.signed.version += 1
        repository.sign_root()
        for role in ("targets", "snapshot", "timestamp"):
            repository.expire(role, NOW.replace(year=9999, month=12, day=31))
        repository.publish()
    assert host.push(fleet.delivery(host.policy)).code == 0
    assert did_nothing(host.look(NOW.replace(year=9998), 0))


def test_nothing_of_the_client_is_loaded_and_nothing_else_is_written(host: StaleHost) -> None:
    before = {path: path.read_bytes() for path in host.state.rglob("*") if path.is_file()}
    done = host.tree.run("stale", at="2026-11-23T02:00:00Z 9000.0", under=("env", "PYTHONVERBOSE=1"))
    assert not [line for line in done.steps if "_vendor" in line]
    after = {path: path.read_bytes() for path in host.state.rglob("*") if path.is_file()}
    assert set(after) - set(before) == {host.state / "looks.json"}
    assert {path: after[path] for path in before} == before


def killed_before_each_change(template: StaleHost, copies: Path, *looks: float) -> list[StaleHost]:
    """Copies of a host, each killed one change later in its last look; the last one got through."""
    hosts = []
    for number in count(1):
        shutil.copytree(template.tree.root, copies / str(number), symlinks=True)
        host = StaleHost(copies / str(number))
        host.policy = template.policy
        hosts.append(host)
        if host.look(TOO_LATE, looks[-1], stop=f"call:{number}").code != KILLED:
            return hosts
    raise AssertionError("unreachable")


@pytest.mark.parametrize("trial", [False, True], ids=["confirmed", "on trial"])
def test_killed_before_every_change_it_has_the_policy_or_the_baseline_and_goes_on(
    host: StaleHost, fleet: Fleet, root: Path, *, trial: bool
) -> None:
    legal = [host.policy.built, host.baseline]
    if trial:
        policy = fleet.release(6)
        legal.append(policy.built)
        assert host.push(fleet.assign(policy, 2), "--confirm-within", "999999999").code == 0
    host.look(TOO_LATE)
    hosts = killed_before_each_change(host, root / "copies", 1 * HOURS)
    assert len(hosts) > 8, "so many changes it makes"
    for each in hosts:
        assert any(map(each.tree.enforces, legal)), each.tree.current()
        assert each.tree.enforces(hosts[0].baseline) <= ("went_stale" in each.events()), "no trace"
        done = each.look(TOO_LATE, 2 * HOURS)
        assert done.code == 0, done.answer
        assert each.is_at_baseline()
        assert each.tree.leftovers() == []
        assert not (each.state / "pending.json").exists()
    assert {each.tree.enforces(host.baseline) for each in hosts} == {True}


def test_killed_before_every_change_of_the_first_look_it_keeps_the_policy(
    host: StaleHost, root: Path
) -> None:
    hosts = killed_before_each_change(host, root / "copies", 0.0)
    assert len(hosts) > 8, "the baseline is put into the store by then"
    for each in hosts:
        assert each.tree.enforces(host.policy.built)
        noticed = json.loads((each.state / "looks.json").read_text()) if each is hosts[-1] else None
        assert noticed is None or noticed["due"] == "2026-11-29T02:00:00Z"
        gone_after = [each.look(TOO_LATE, hour * HOURS).answer["changed"] for hour in (1, 2)]
        assert any(gone_after)
        assert each.is_at_baseline()
