"""`fleetbox init` and `fleetbox trust` as typed: exit codes, words, JSON, and no effect when refused."""

import getpass
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleetbox.cli.endings import opened_desk
from fleetbox.errors import ExitCode, UsageError
from fleetbox.hostside.bundle import digest_of
from fleetbox.trust import Trust, Unsigned

REPO = Path(__file__).resolve().parents[3]


class Machine:
    """One machine with a state directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.state = home, home / "state"
        home.mkdir(exist_ok=True)
        self.trust = Trust(self.state)

    def run(self, *argv: str | Path, secret: str | None = None) -> "subprocess.CompletedProcess[str]":
        extra: dict[str, object] = {}
        if secret is not None:
            read, write = os.pipe()
            os.write(write, secret.encode())
            os.close(write)
            argv, extra = (*argv, "--passphrase-fd", str(read)), {"pass_fds": (read,)}
        done = subprocess.run(
            [sys.executable, "-m", "fleetbox.cli", *argv],
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": str(REPO), "FLEETBOX_STATE_DIR": str(self.state)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **extra,  # type: ignore[call-overload]
        )
        if secret is not None:
            os.close(read)
        return done

    def ok(self, *argv: str | Path, secret: str | None = None) -> str:
        done = self.run(*argv, secret=secret)
        assert done.returncode == 0, done.stderr
        return done.stderr + done.stdout

    def json(self, *argv: str | Path) -> dict:
        done = self.run(*argv, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["schema_version"] == 1
        return found

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.state.rglob("*") if path.is_file()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "control")


@pytest.fixture
def ready(machine: Machine) -> Machine:
    machine.trust.create()
    return machine


def test_init_makes_trust_once_and_says_where_its_keys_lie(machine) -> None:
    said = machine.ok("init")
    assert f"they lie beside what they sign, in {machine.state}/trust/keys" in said
    before = machine.files()
    assert machine.json("init")["changed"] is False
    assert machine.files() == before


def test_status_shows_every_role_with_its_keys(ready) -> None:
    found = ready.json("trust", "status")
    roles = {(role["repository"], role["role"]) for role in found["roles"]}
    top = ("root", "targets", "snapshot", "timestamp")
    both = {(repository, role) for repository in ("policy", "assignment") for role in top}
    assert roles == {*both, ("policy", "team-default")}
    assert found["beside"] == ["root", "policy"]
    assert {len(key["keyid"]) for role in found["roles"] for key in role["keys"]} == {64}
    words = ready.ok("trust", "status")
    assert "warning: beside what they sign, on this machine: root, policy" in words


@pytest.mark.parametrize(
    "argv",
    [
        ["trust", "status"],
        ["trust", "refresh"],
        ["trust", "catch-up", "-y"],
        ["trust", "min-release", "1", "-y"],
        ["trust", "rotate", "root", "-y"],
        ["trust", "revoke", "root", "-y"],
        ["trust", "drop", "0123456789ab", "-y"],
    ],
)
def test_without_trust_every_verb_ends_with_2_and_makes_nothing(machine, argv) -> None:
    done = machine.run(*argv)
    assert done.returncode == ExitCode.USAGE
    assert "hint: fleetbox init" in done.stderr
    assert not machine.state.exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["trust", "rotate", "root"],
        ["trust", "revoke", "root"],
        ["trust", "min-release", "1"],
        ["trust", "catch-up"],
        ["trust", "rotate", "nobody", "-y"],
        ["trust", "revoke", "root", "-y"],
        ["trust", "min-release", "7", "-y"],
        ["trust", "rotate", "root", "missing.pub", "-y"],
        ["trust", "add-key", "missing.pub", "--role", "root", "-y"],
        ["trust", "delegate", "Research!", "--key", "k.pem.pub", "-y"],
        ["trust", "delegate", "research", "--key", "k.pem.pub", "--threshold", "2", "-y"],
        ["trust", "add-key", "k.pem.pub", "--role", "nobody", "-y"],
        ["trust", "sign", "missing.json", "-y"],
        ["trust", "drop", "0123456789ab", "-y"],
        ["trust", "init"],
    ],
    ids=" ".join,
)
def test_what_is_refused_has_no_effect(ready, argv) -> None:
    ready.ok("trust", "new-key", "k.pem", "--no-passphrase")
    before = ready.files()
    done = ready.run(*argv)
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert done.stdout == ""
    assert "hint:" in done.stderr or "cannot be read" in done.stderr
    assert ready.files() == before


def test_a_replaced_key_leaves_the_machine(ready) -> None:
    old = ready.json("trust", "status")["roles"][0]["keys"][0]["keyid"]
    assert ready.json("trust", "rotate", "root", "-y")["published"] is True
    assert ready.json("trust", "status")["roles"][0]["keys"][0]["keyid"] != old
    assert not (ready.state / "trust" / "keys" / f"{old}.pem").exists()


def test_a_key_can_be_named_by_the_beginning_of_its_id(ready) -> None:
    old = ready.json("trust", "status")["roles"][0]["keys"][0]["keyid"]
    assert ready.run("trust", "rotate", old[:5], "-y").returncode == ExitCode.USAGE
    ready.ok("trust", "rotate", old[:8], "-y")


def test_two_of_three_holders_set_trust_up_and_sign_a_release(tmp_path, machine) -> None:
    """Ceremony "two of three" of docs/trust.md, by the commands that it shows, on four machines."""
    holders = {name: Machine(tmp_path / name) for name in ("alice", "bob", "carol")}
    for name, holder in holders.items():
        for kind in ("root", "policy"):
            holder.ok("trust", "new-key", f"{name}-{kind}.pem", secret=f"{name} says")
    options = [
        word
        for kind in ("root", "policy")
        for name in holders
        for word in (f"--{kind}-key", str(tmp_path / name / f"{name}-{kind}.pem.pub"))
    ]
    made = machine.json("trust", "init", *options, "--root-threshold", "2", "--policy-threshold", "2")
    assert made["published"] is False
    assert {one["role"]: one["signatures"] for one in made["missing"]} == {"root": 2, "targets": 2}
    assert machine.run("trust", "status").returncode == 0

    file = Path(made["file"])
    for name in ("alice", "carol"):
        carried = tmp_path / name / file.name
        carried.write_bytes(file.read_bytes())
        keys = [f"--key=file2:{tmp_path / name / f'{name}-{kind}.pem'}" for kind in ("root", "policy")]
        said = holders[name].ok("trust", "sign", carried, *keys, "-y", secret=f"{name} says")
        assert "policy root version 1" in said
        assert "targets is signed by 2 of" in said
        assert not holders[name].state.exists()
        machine.ok("trust", "sign", carried)
    status = machine.json("trust", "status")
    assert (status["beside"], status["pending"]) == ([], [])

    with pytest.raises(Unsigned) as waits:
        machine.trust.add_release(b"b", digest=digest_of(b"b"))
    for name in ("bob", "carol"):
        key = f"file2:{tmp_path / name / f'{name}-policy.pem'}"
        said = machine.ok(
            "trust", "sign", waits.value.proposal.file, "--key", key, "-y", secret=f"{name} says"
        )
        assert f"policies/default/1.tar is {digest_of(b'b')}" in said
    assert machine.trust.find_release(digest_of(b"b")) is not None


def test_while_setting_trust_up_waits_for_signatures_nothing_is_pushed_unsigned(machine) -> None:
    machine.ok("trust", "new-key", "root.pem", "--no-passphrase")
    machine.ok("trust", "init", "--root-key", "root.pem.pub")
    (machine.home / "hosts.yml").write_text("all: {hosts: {web1: {ansible_host: 192.0.2.9}}}\n")
    base = str(REPO / "policies/base.yml")
    for argv in (["push-policy", base, "-y"], ["push-policy", base, "--check"], ["rollback", "-y"]):
        done = machine.run(*argv, "-i", "hosts.yml")
        assert (done.returncode, done.stdout) == (ExitCode.TRUST_REFUSED, ""), done.stderr
        assert "set up trust: waits for signatures" in done.stderr
        assert "to 1 of root; there fleetbox trust sign" in done.stderr
    (one,) = machine.json("trust", "status")["pending"]
    machine.ok("trust", "sign", one["file"], "--key", "file2:root.pem", "-y")
    assert machine.trust.is_set_up()


def test_a_release_that_waits_is_not_made_again_and_waits_for_the_same(ready) -> None:
    ready.ok("trust", "new-key", "team.pem", "--no-passphrase")
    ready.ok("trust", "delegate", "research", "--key", "team.pem.pub", "-y")
    waits = []
    for _ in range(2):
        with pytest.raises(Unsigned) as caught:
            ready.trust.add_release(b"b", digest=digest_of(b"b"), team="research")
        waits.append(caught.value)
    assert waits[0].proposal.file == waits[1].proposal.file
    assert (waits[0].message, waits[0].hint) == (waits[1].message, waits[1].hint)
    assert f"carry {waits[0].proposal.file} to 1 of team; there" in waits[0].hint
    with pytest.raises(UsageError, match="waits already"):
        ready.trust.add_release(b"c", digest=digest_of(b"c"), team="research")


def test_a_key_that_signs_nothing_of_a_change_is_refused(ready) -> None:
    ready.ok("trust", "new-key", "other.pem", "--no-passphrase")
    ready.ok("trust", "new-key", "team.pem", "--no-passphrase")
    ready.ok("trust", "delegate", "research", "--key", "team.pem.pub", "-y")
    with pytest.raises(Unsigned) as waits:
        ready.trust.add_release(b"b", digest=digest_of(b"b"), team="research")
    before = ready.files()
    done = ready.run("trust", "sign", waits.value.proposal.file, "--key", "file2:other.pem", "-y")
    assert done.returncode == ExitCode.USAGE
    assert "signs nothing of this change" in done.stderr
    assert ready.files() == before


def test_a_file_of_a_change_that_was_tampered_with_ends_with_6(ready, tmp_path) -> None:
    ready.ok("trust", "new-key", "team.pem", "--no-passphrase")
    ready.ok("trust", "delegate", "research", "--key", "team.pem.pub", "-y")
    with pytest.raises(Unsigned) as waits:
        ready.trust.add_release(b"b", digest=digest_of(b"b"), team="research")
    forged = tmp_path / "forged.json"
    forged.write_bytes(waits.value.proposal.file.read_bytes().replace(b"research/1.tar", b"research/2.tar"))
    done = ready.run("trust", "sign", forged, "--key", "file2:team.pem", "-y")
    assert done.returncode == ExitCode.TRUST_REFUSED
    assert "is no change that can be signed" in done.stderr


def test_a_waiting_change_is_shown_and_can_be_given_up(ready) -> None:
    ready.ok("trust", "new-key", "root2.pem", "--no-passphrase")
    assert ready.json("trust", "add-key", "root2.pem.pub", "--role", "root", "--threshold", "2", "-y")
    (one,) = ready.json("trust", "status")["pending"]
    assert [(m["role"], m["signatures"]) for m in one["missing"]] == [("root", 1), ("root", 1)]
    assert f"change {one['id']} waits" in ready.ok("trust", "status")
    ready.ok("trust", "drop", one["id"], "-y")
    assert ready.json("trust", "status")["pending"] == []


def pushed_by_a_clock(machine: Machine, **ahead: float) -> None:
    then = Trust(machine.state, now=lambda: datetime.now(UTC) + timedelta(**ahead))
    then.assign({"web1": (then.add_release(b"b", digest=digest_of(b"b")), digest_of(b"b"))})


def test_a_clock_that_is_behind_what_was_signed_is_told_by_status_and_by_pushes(ready, capsys) -> None:
    pushed_by_a_clock(ready, days=30.1)
    for said in (ready.ok("trust", "status"), ready.json("trust", "status")["clock"]):
        assert "the clock is 30 day(s) behind now, or was ahead then" in said
        assert "docs/trust.md, Wrong clock" in said
    opened_desk(ready.state)
    assert "warning: this machine's clock says" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", [0, -3600, 200])
def test_a_clock_that_is_about_right_is_not_spoken_of(ready, capsys, seconds) -> None:
    pushed_by_a_clock(ready, seconds=seconds)
    assert ready.json("trust", "status")["clock"] == ""
    opened_desk(ready.state)
    assert "warning: this machine" not in ready.ok("trust", "status") + capsys.readouterr().err


def test_catching_up_says_what_is_published_and_what_waits(ready) -> None:
    ready.ok("trust", "new-key", "team.pem", "--no-passphrase")
    ready.ok("trust", "delegate", "research", "--key", "team.pem.pub", "-y")
    changes = ready.json("trust", "catch-up", "-y")["changes"]
    assert [(one["published"], len(one["documents"]) > 0) for one in changes] == [
        (True, True),
        (True, True),
        (False, True),
    ]
    assert "policy team-research version 10000" in changes[2]["documents"][0]
    done = ready.run("trust", "catch-up", "-y")
    assert done.returncode == ExitCode.USAGE
    assert f"change {changes[2]['id']} to team-research waits already" in done.stderr
    ready.ok("trust", "drop", changes[2]["id"], "-y")
    assert "kept, waits for signatures" in ready.ok("trust", "catch-up", "-y")


def test_the_audit_trail_shows_who_changed_trust_and_how(machine) -> None:
    machine.ok("init")
    old = machine.json("trust", "status")["roles"][0]["keys"][0]["keyid"]
    machine.ok("trust", "rotate", "root", "-y")
    new = machine.json("trust", "status")["roles"][0]["keys"][0]["keyid"]
    machine.ok("trust", "catch-up", "-y")
    set_up, rotated, *more = machine.ok("audit", "list", "--event", "trust").splitlines()
    assert "trust published" in set_up
    assert f"{getpass.getuser()} at " in set_up
    assert "set up trust  assignment root 1, policy root 1, policy targets 1" in set_up
    assert "replace key root by a new one, made here" in rotated
    assert f"policy root is signed by 1 of {new[:12]} (was 1 of {old[:12]})" in rotated
    assert f"signed by {', '.join(sorted(key[:12] for key in (old, new)))}" in rotated
    assert "trust caught up" in more[0]
    assert "10000 versions on  policy snapshot" in more[0]
    assert "(not ended" not in " ".join([set_up, rotated, *more])


def test_what_cannot_be_recorded_changes_nothing(ready) -> None:
    (ready.state / "audit").write_text("no directory")
    before = ready.files()
    for argv in (["rotate", "root"], ["catch-up"]):
        done = ready.run("trust", *argv, "-y")
        assert done.returncode == ExitCode.USAGE
        assert "the audit trail" in done.stderr
    changed = {path for path, data in ready.files().items() if before.get(path) != data}
    assert not [path for path in changed if "/metadata/" in path or "/pending/" in path]


def test_damage_ends_with_6(ready) -> None:
    (ready.state / "trust/policy/metadata/1.targets.json").write_text("{}")
    done = ready.run("trust", "status")
    assert done.returncode == ExitCode.TRUST_REFUSED
    assert "was damaged" in done.stderr


def test_a_new_key_needs_a_passphrase_or_that_none_is_meant(machine) -> None:
    assert machine.run("trust", "new-key", "k.pem").returncode == ExitCode.USAGE
    assert machine.run("trust", "new-key", "k.pem", secret="").returncode == ExitCode.USAGE
    assert list(machine.home.iterdir()) == []


def test_no_secret_is_taken_from_the_command_line() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "fleetbox.cli", "trust", "sign", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "--passphrase-fd" in said
    assert "--passphrase " not in said
