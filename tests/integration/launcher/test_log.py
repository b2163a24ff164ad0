"""The refusal log lies where anybody may make files, and repeats names that an attacker chose."""

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.integration.launcher.conftest import Bench

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount over /var/log")
LIMIT = 1 << 20
OTHER_UID = 54322


@pytest.fixture
def log(bench: Bench) -> Path:
    """The account's log, in a directory as role policy makes it; `refused` starts what sees it."""
    directory = bench.make("log/refusals")
    directory.parent.chmod(0o755)
    os.chown(directory, 0, 0)
    directory.chmod(0o1733)
    (bench.workspace / ".git").symlink_to("/etc")  # what every launch here is refused for
    bench.plan(("protect", ".git")).write(bench.root / "plan", bench.uid)
    return directory / f"{bench.uid}.jsonl"


def refused(bench: Bench, log: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A launch of `words` that is refused, in a mount namespace of its own."""
    bind = "mount --make-rprivate / && mount -t tmpfs none /var/log && mkdir /var/log/fleetbox"
    script = f'{bind} && mount --bind "$0" /var/log/fleetbox && exec "$@"'
    account = ["setpriv", f"--reuid={bench.uid}", f"--regid={bench.uid}", "--clear-groups"]
    command = bench.command(bench.root / "plan/launch.plan", *words)
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(log.parent.parent), *account, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        cwd=bench.workspace,
        env={"PATH": os.environ["PATH"], "HOME": str(bench.home)},
    )


def entries(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_bytes().splitlines()]


def test_a_refusal_is_one_line_of_json_with_its_reason(bench: Bench, log: Path) -> None:
    assert refused(bench, log, "true").returncode == 125
    [entry] = entries(log)
    assert entry["policy"] == "test"
    assert entry["command"] == "true"
    assert f"{bench.workspace}/.git" in str(entry["problem"])
    assert log.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("name", ['"}\n{"a":"', "\x1b]0;x\x07", "\\", "é\udcff", "x" * 3000, '",'])
def test_hostile_names_stay_one_line_of_ascii(bench: Bench, log: Path, name: str) -> None:
    assert refused(bench, log, name).returncode == 125
    text = log.read_bytes()
    assert text.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in text[:-1])
    [entry] = entries(log)
    assert set(entry) == {"schema_version", "time", "uid", "policy", "command", "problem", "hint"}


def test_writers_at_the_same_time_lose_no_line_and_mix_none(bench: Bench, log: Path) -> None:
    def refuse_some() -> None:
        for _ in range(10):
            assert refused(bench, log, "x" * 600).returncode == 125

    threads = [threading.Thread(target=refuse_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(log)) == 40


@pytest.mark.parametrize("planted", ["link", "hard link", "pipe", "directory", "another account's file"])
def test_what_somebody_planted_in_the_place_of_the_log_is_not_written(
    bench: Bench, log: Path, planted: str
) -> None:
    victim = bench.make("victim", "mine\n")
    victim.chmod(0o600)
    if planted == "link":
        log.symlink_to(victim)
    elif planted == "hard link":
        log.hardlink_to(victim)
    elif planted == "pipe":
        os.mkfifo(log, 0o666)
        give_to(log, bench.uid)
    elif planted == "directory":
        log.mkdir()
    else:
        log.write_text("")
        log.chmod(0o666)
        os.chown(log, OTHER_UID, OTHER_UID)
    done = refused(bench, log, "true")
    assert done.returncode == 125
    assert "symlink" in done.stderr, "the refusal itself is said all the same"
    assert victim.read_text() == "mine\n"
    if planted == "another account's file":
        assert log.read_text() == ""


def fill(log: Path, uid: int, size: int) -> None:
    line = json.dumps({"schema_version": 1, "time": 1, "uid": uid, "problem": "old" * 30}) + "\n"
    log.write_text(line * (size // len(line) + 1))
    log.chmod(0o600)
    give_to(log, uid)


def test_a_full_log_drops_its_older_half_and_goes_on(bench: Bench, log: Path) -> None:
    fill(log, bench.uid, LIMIT)
    refused(bench, log, "newest")
    found = entries(log)
    assert found[-1]["command"] == "newest"
    assert LIMIT // 4 < log.stat().st_size < LIMIT
    assert log.stat().st_uid == bench.uid
    assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_where_it_cannot_be_shortened_the_log_ends_at_twice_its_size(bench: Bench, log: Path) -> None:
    squatted = log.with_name(f"{log.name}.new")
    squatted.write_text("")
    os.chown(squatted, OTHER_UID, OTHER_UID)
    fill(log, bench.uid, LIMIT)
    refused(bench, log, "fits")
    assert entries(log)[-1]["command"] == "fits"
    fill(log, bench.uid, 2 * LIMIT)
    size = log.stat().st_size
    assert refused(bench, log, "true").returncode == 125
    assert log.stat().st_size == size


def test_a_link_planted_where_the_log_is_shortened_is_not_followed(bench: Bench, log: Path) -> None:
    victim = bench.make("victim", "mine\n")
    log.with_name(f"{log.name}.new").symlink_to(victim)
    os.chown(log.with_name(f"{log.name}.new"), OTHER_UID, OTHER_UID, follow_symlinks=False)
    fill(log, bench.uid, LIMIT)
    refused(bench, log, "newest")
    assert victim.read_text() == "mine\n"
