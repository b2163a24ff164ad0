"""Activation through the front door: what becomes current, what does not, and what is said about it."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from fleetbox.hostside.bundle import digest_of
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.manifest import BUNDLE_LIMIT
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import locked
from tests.integration.hostside.host import Ended, HostTree, members
from tests.support import bundles
from tests.support.bundles import Built

HOLD_THE_LOCK = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""
READ = ("manifest.json", "linux/launch.plan")
DAMAGES = ("extra file", "link", "missing", "writable", "foreign", "not a directory")
ELSEWHERE = ("../store/x", "/etc", "generations/0", "generations/../x", "generations/7")


def give_away(path: Path) -> None:
    try:
        os.chown(path, 12345, 12345)
    except PermissionError:
        pytest.skip("needs root to give a file away")


def refused(ended: Ended, code: int, error: str) -> None:
    assert (ended.code, ended.error) == (code, error), ended.answer


def test_a_bundle_becomes_the_first_generation(host: HostTree, new: Built) -> None:
    done = host.activate(new)
    assert done.answer.pop("audit")["seq"] == 2
    assert done.answer == {
        "schema_version": 1,
        "changed": True,
        "generation": 1,
        "previous": None,
        "digest": new.digest,
        "smoke": [{"check_id": "FBX-SBX-001", "status": "pass", "message": "said pass"}],
        "gpu_map": {"changed": True, "problem": ""},
        "rolled_back": False,
        "repaired": False,
        "watchdog": "nobody",
    }
    assert host.enforces(new)


def test_the_next_bundle_is_a_higher_generation(host: HostTree, old: Built, new: Built) -> None:
    host.activate(old)
    done = host.activate(new)
    assert (done.answer["generation"], done.answer["previous"]) == (2, 1)
    assert host.enforces(new)


def test_what_is_current_already_is_not_activated_again(host: HostTree, new: Built) -> None:
    host.activate(new)
    before = host.current()
    done = host.run("activate", new.digest)
    assert (done.code, done.answer["changed"], done.answer["generation"]) == (0, False, 1)
    assert (host.current(), host.numbers()) == (before, [1])


def test_a_launcher_of_any_user_can_read_what_is_activated(host: HostTree, new: Built) -> None:
    umask = os.umask(0o077)
    try:
        host.activate(new)
    finally:
        os.umask(umask)
    for path in host.state.rglob("*"):
        if path.is_symlink() or path.name == "lock":
            continue
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_staging_activates_nothing(host: HostTree, new: Built) -> None:
    staged = host.run("stage", new.digest, stdin=new.tar)
    assert staged.answer == {"schema_version": 1, "changed": True, "digest": new.digest}
    assert host.enforces(None)
    assert host.run("stage", new.digest, stdin=new.tar).answer["changed"] is False
    assert host.run("activate", new.digest).answer["generation"] == 1


def test_what_was_never_staged_cannot_be_activated(host: HostTree, new: Built) -> None:
    refused(host.run("activate", new.digest), 5, "not_staged")


@pytest.mark.parametrize("status", ["error", "crash"])
def test_a_failed_critical_check_brings_the_old_generation_back(
    host: HostTree, old: Built, new: Built, status: str
) -> None:
    host.activate(old)
    done = host.activate(new, smoke=status)
    refused(done, 5, "smoke_failed")
    assert (host.enforces(old), host.numbers(), host.leftovers()) == (True, [1], [])
    assert host.activate(new).answer["generation"] == 3, "a failed number is not used again"


def test_a_bug_in_a_probe_brings_the_old_generation_back_too(host: HostTree, old: Built, new: Built) -> None:
    host.activate(old)
    done = host.activate(new, smoke="bug")
    refused(done, 1, "internal")
    assert (host.enforces(old), host.numbers(), host.leftovers()) == (True, [1], [])
    assert "Traceback" not in "".join(done.steps)


def test_the_answer_says_what_failed_and_what_holds_now(host: HostTree, old: Built, new: Built) -> None:
    host.activate(old)
    answer = host.activate(new, smoke="fail").answer
    assert (answer["rolled_back"], answer["changed"], answer["generation"]) == (True, False, 1)
    assert answer["digest"] == old.digest
    assert [result["status"] for result in answer["smoke"]] == ["fail"]
    assert "FBX-SBX-001: said fail" in answer["error"]["message"]


def test_a_first_activation_that_fails_leaves_no_current(host: HostTree, new: Built) -> None:
    refused(host.activate(new, smoke="fail"), 5, "smoke_failed")
    assert (host.enforces(None), host.numbers()) == (True, [])


def test_an_inconclusive_check_is_reported_and_undoes_nothing(host: HostTree, new: Built) -> None:
    done = host.activate(new, smoke="inconclusive")
    assert (done.code, done.answer["smoke"][0]["status"]) == (0, "inconclusive")
    assert host.enforces(new)


def test_what_is_current_already_is_checked_again(host: HostTree, new: Built) -> None:
    """What made it fail may have come since; there is nothing to go back from."""
    host.activate(new)
    done = host.activate(new, smoke="fail")
    refused(done, 5, "smoke_failed")
    assert (done.answer["rolled_back"], done.answer["generation"]) == (False, 1)


def test_no_smoke_checks_nothing(host: HostTree, new: Built) -> None:
    done = host.run("activate", new.digest, "--bundle", "-", "--no-smoke", stdin=new.tar, smoke="fail")
    assert (done.code, done.answer["smoke"]) == (0, [])


def test_rolling_back_is_a_new_generation_of_the_old_content(host: HostTree, old: Built, new: Built) -> None:
    host.activate(old)
    host.activate(new)
    done = host.run("rollback")
    assert (done.answer["generation"], done.answer["previous"]) == (3, 2)
    assert host.enforces(old)
    # Number 4 was the strictest baseline's, to which a rollback that failed would have led.
    assert host.run("rollback", "--to", "2").answer["generation"] == 5
    assert host.enforces(new)


def test_every_switch_writes_the_gpu_map_anew(host: HostTree, old: Built, new: Built) -> None:
    gpu_map = host.state / "gpu/map"
    host.activate(old)
    (host.root / "proc/driver/nvidia/gpus/0000:65:00.0").mkdir(parents=True)
    for verb in (("activate", new.digest, "--bundle", "-"), ("rollback",)):
        gpu_map.unlink()
        done = host.run(*verb, stdin=new.tar)
        assert done.answer["gpu_map"] == {"changed": True, "problem": ""}
        assert gpu_map.exists()
        assert (host.state / "gpu/locks/0000:65:00.0").exists()
    assert host.activate(old).answer["gpu_map"] == {"changed": False, "problem": ""}


def test_a_gpu_map_that_cannot_be_written_keeps_nothing_from_being_switched(
    host: HostTree, old: Built, new: Built
) -> None:
    host.activate(old)
    shutil.rmtree(host.state / "gpu")
    (host.state / "gpu").write_text("in the way")
    for verb, built in ((("activate", new.digest, "--bundle", "-"), new), (("rollback",), old)):
        done = host.run(*verb, stdin=new.tar)
        assert (done.code, host.enforces(built)) == (0, True)
        assert done.answer["gpu_map"]["changed"] is False
        assert f"cannot write below {host.state}" in done.answer["gpu_map"]["problem"]


def test_a_failed_activation_says_what_came_of_the_gpu_map(host: HostTree, old: Built, new: Built) -> None:
    host.activate(old)
    assert host.activate(new, smoke="fail").answer["gpu_map"] == {"changed": False, "problem": ""}


def test_rolling_back_to_content_that_fails_changes_nothing(host: HostTree, old: Built, new: Built) -> None:
    host.activate(old)
    host.activate(new)
    refused(host.run("rollback", "--not-narrower-than", new.digest, smoke="fail"), 5, "smoke_failed")
    assert host.enforces(new)


def test_there_must_be_something_to_roll_back_to(host: HostTree, old: Built) -> None:
    refused(host.run("rollback"), 5, "no_such_generation")
    host.activate(old)
    refused(host.run("rollback"), 5, "no_such_generation")
    refused(host.run("rollback", "--to", "9"), 5, "no_such_generation")
    assert host.run("rollback", "--to", "1").answer["changed"] is False


def test_another_bundle_than_announced_is_tampered_with(host: HostTree, old: Built, new: Built) -> None:
    refused(host.run("activate", old.digest, "--bundle", "-", stdin=new.tar), 6, "digest_mismatch")
    assert not host.state.exists()


@pytest.mark.parametrize("tar", [b"", b"x" * (BUNDLE_LIMIT + 1), bundles.pack([]).tar])
def test_what_is_no_bundle_changes_nothing(host: HostTree, old: Built, tar: bytes) -> None:
    host.activate(old)
    built = Built(digest_of(tar), tar)
    refused(host.activate(built), 3, "bundle_invalid")
    assert host.enforces(old)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("linux/../../../../../tmp/out", tarfile.REGTYPE),
        ("/tmp/out", tarfile.REGTYPE),
        ("linux/out", tarfile.SYMTYPE),
        ("linux/out", tarfile.LNKTYPE),
        ("linux/out", tarfile.CHRTYPE),
        ("linux/out", tarfile.BLKTYPE),
        ("linux/out", tarfile.FIFOTYPE),
        ("linux/out", tarfile.DIRTYPE),
    ],
)
def test_a_bundle_of_the_right_digest_that_reaches_out_of_the_store_leaves_nothing(
    host: HostTree, old: Built, new: Built, name: str, kind: bytes
) -> None:
    host.activate(old)
    buffer = io.BytesIO(new.tar)
    with tarfile.open(fileobj=buffer, mode="a", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("x")
        entry.name, entry.type, entry.linkname = name, kind, "/etc/shadow"
        entry.devmajor, entry.devminor = 1, 3
        tar.addfile(entry)
    before = sorted(host.root.rglob("*"))
    bad = Built(digest_of(buffer.getvalue()), buffer.getvalue())
    refused(host.activate(bad), 3, "bundle_invalid")
    assert host.enforces(old)
    assert [path for path in sorted(host.root.rglob("*")) if path not in before] == []
    assert not Path("/tmp/out").exists()


def test_a_bundle_that_this_host_cannot_use_is_refused_before_the_switch(host: HostTree, old: Built) -> None:
    host.activate(old)
    refused(host.activate(bundles.build("x", extra={"linux/launch.plan": b"junk"})), 3, "bundle_invalid")
    assert (host.enforces(old), host.numbers()) == (True, [1])


def test_a_damaged_store_is_noticed_and_replaced(host: HostTree, old: Built, new: Built) -> None:
    host.activate(old)
    host.run("stage", new.digest, stdin=new.tar)
    plan = host.state / "store" / new.hex / "linux/launch.plan"
    plan.write_bytes(plan.read_bytes()[:-1])
    refused(host.run("activate", new.digest), 6, "tampered")
    assert host.enforces(old)
    assert host.activate(new).code == 0
    assert (host.enforces(new), host.leftovers()) == (True, [])


def test_a_current_generation_that_was_changed_is_repaired_and_says_so(host: HostTree, old: Built) -> None:
    assert host.activate(old).answer["repaired"] is False
    assert host.activate(old).answer["repaired"] is False
    plan = host.state / "store" / old.hex / "linux/launch.plan"
    plan.write_bytes(plan.read_bytes()[:-1])
    answer = host.activate(old).answer
    assert (answer["changed"], answer["repaired"]) == (False, True)
    assert host.enforces(old)


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_kind_of_damage_is_noticed(host: HostTree, new: Built, damage: str) -> None:
    host.run("stage", new.digest, stdin=new.tar)
    stored = host.state / "store" / new.hex
    plan = stored / "linux/launch.plan"
    if damage == "extra file":
        (stored / "linux/extra").touch()
    elif damage == "link":
        plan.unlink()
        plan.symlink_to("/etc/hostname")
    elif damage == "missing":
        plan.unlink()
    elif damage == "writable":
        plan.chmod(0o666)
    elif damage == "foreign":
        give_away(plan)
    else:
        stored.rename(stored.parent / "elsewhere")
        stored.write_text("")
    ended = host.run("activate", new.digest)
    assert (ended.code, ended.error) in {(6, "tampered"), (5, "unsafe_state")}
    assert host.enforces(None)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_current_that_points_elsewhere_is_refused(host: HostTree, new: Built, target: str) -> None:
    host.activate(new)
    (host.state / "current").unlink()
    (host.state / "current").symlink_to(target)
    refused(host.run("status"), 5, "unsafe_state")
    refused(host.activate(new), 5, "unsafe_state")


@pytest.mark.parametrize("name", ["", "store", "generations"])
def test_a_state_directory_of_somebody_else_is_refused(host: HostTree, new: Built, name: str) -> None:
    host.activate(new)
    give_away(host.state / name)
    refused(host.activate(new), 5, "unsafe_state")


@pytest.mark.parametrize("name", ["", "store", "generations"])
def test_a_state_directory_that_others_can_write_is_refused(host: HostTree, new: Built, name: str) -> None:
    host.activate(new)
    (host.state / name).chmod(0o775)
    refused(host.activate(new), 5, "unsafe_state")


@pytest.mark.parametrize("name", ["", "store", "generations"])
def test_a_link_in_place_of_a_state_directory_is_refused(host: HostTree, new: Built, name: str) -> None:
    host.activate(new)
    place = host.state / name
    place.rename(host.root / "moved")
    place.symlink_to(host.root / "moved")
    refused(host.activate(new), 5, "unsafe_state")


def test_a_second_run_waits_and_then_names_the_holder(host: HostTree, new: Built) -> None:
    host.activate(new)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(host.state / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdin
        holder.stdout.readline()
        with pytest.raises(HostError) as refusal, locked(Places(str(host.root)), wait_s=0.3):
            pytest.fail("two runs held the lock")
        holder.stdin.close()
    assert refusal.value.code == "busy"
    assert f"pid {holder.pid} holds {host.state}/lock" in refusal.value.message


def test_a_reader_never_sees_less_than_a_whole_generation(host: HostTree, old: Built, new: Built) -> None:
    """Launches take no lock: they open `current` once and read below it."""
    host.activate(old)
    seen: list[dict[str, bytes]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            root = os.open(host.state / "current", os.O_RDONLY | os.O_DIRECTORY)
            place = Path(f"/proc/self/fd/{root}")
            seen.append({name: (place / name).read_bytes() for name in READ})
            os.close(root)

    reader = threading.Thread(target=read)
    reader.start()
    for built in (new, old) * 3:
        assert host.activate(built).code == 0
    done.set()
    reader.join()
    whole = [{name: members(built)[name] for name in READ} for built in (old, new)]
    assert all(found in whole for found in seen)
    assert whole[1] in seen


def test_status_lists_what_is_there(host: HostTree, old: Built, new: Built) -> None:
    assert host.run("status").answer["generation"] is None
    host.activate(old)
    host.activate(new)
    assert host.run("status").answer == {
        "schema_version": 1,
        "generation": 2,
        "digest": new.digest,
        "default_policy": "new",
        "policies": ["new", "second"],
        "generations": [{"n": 1, "digest": old.digest}, {"n": 2, "digest": new.digest}],
        "baseline": False,
        "pending": None,
        "last_reversal": None,
        "quarantine": [],
        "trust": None,
    }


@pytest.mark.parametrize(
    "path", ["etc/fleetbox/trust/policy.root.json", "etc/fleetbox/trust/assignment.root.json", "floor.json"]
)
def test_a_host_that_was_told_whom_to_trust_takes_nothing_unsigned(
    host: HostTree, old: Built, new: Built, path: str
) -> None:
    """One anchor is enough, and that the anchors are gone changes nothing."""
    host.activate(old)
    host.activate(new)
    told = host.state / path if path == "floor.json" else host.root / path
    told.parent.mkdir(parents=True, exist_ok=True)
    told.write_text("")
    for verb in (("activate", old.digest), ("activate", old.digest, "--bundle", "-"), ("rollback",)):
        refused(host.run(*verb, stdin=old.tar), 6, "unsigned")
    assert host.enforces(new)
    (trail,) = (host.root / "var/log/fleetbox/audit").iterdir()
    assert trail.read_text().count('"code":"unsigned"') == 3
