"""A push through the push account, whole, on a host that site.yml made ready; and what its key cannot do.

The host was told whom to trust, as docs/push-account.md has it: `fleetbox init`, then site.yml.
"""

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleetbox import bundle
from fleetbox.bundle import Bundle
from fleetbox.conformance import expect
from fleetbox.hostside import delivery, paths
from fleetbox.policy import load_policy
from fleetbox.trust import Trust
from tests.integration.push.attacks import refusal
from tests.integration.push.conftest import REPO
from tests.integration.push.guarded import PROGRAM, PUSH, Guarded, new_key
from tests.integration.push.thief import ACTIVATE, Said, Thief
from tests.integration.roles.playbooks import play
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import Provisioned

pytestmark = pytest.mark.host

Steal = Callable[[], Thief]
BASE, OFFLINE, READ_ONLY = (str(REPO / f"policies/{name}.yml") for name in ("base", "offline", "read-only"))


@dataclass(frozen=True)
class Told:
    """The host, and the control machine that it trusts."""

    host: Guarded
    folder: Path

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def trust(self) -> Trust:
        return Trust(self.state_dir)

    def fleetbox(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        return self.host.fleetbox(self.folder, *argv)

    def outcome(self, *argv: str) -> tuple[str, int | None]:
        """What became of the host, and its generation then."""
        done = self.fleetbox(*argv, "--json")
        assert done.stdout, done.stderr
        [answer] = json.loads(done.stdout)["hosts"]
        return answer["outcome"], answer["generation"]

    def pushed(self, policy: str) -> None:
        assert self.outcome("push-policy", policy, "-y", "--no-verify")[0] in ("activated", "unchanged")

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.host.host.exec([PROGRAM, "status"]).stdout))

    def recorded(self) -> list[dict[str, Any]]:
        """The host's own audit trail."""
        return list(json.loads(self.host.host.exec([PROGRAM, "audit"]).stdout)["entries"])

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """What is enforced, what could be gone back to and what is held against replays stay as they are."""
        before = self.status()
        yield
        after = self.status()
        kept = ("generation", "digest", "generations", "pending", "default_policy", "baseline")
        assert [after[name] for name in kept] == [before[name] for name in kept]
        assert after["trust"]["floor"]["generation"] == before["trust"]["floor"]["generation"]


@pytest.fixture(scope="module")
def told(lab: Lab, launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("control")
    [host] = lab.up(HostSpec.of("told-by-push"))
    made = Told(Guarded(lab, Provisioned(host), new_key(folder)), folder)
    done = made.fleetbox("init")
    assert done.returncode == 0, done.stderr
    (folder / "vars.json").write_text(
        json.dumps({"hostside_push_account": PUSH, "hostside_push_keys": [made.host.public]})
    )
    run = play(lab, [host], "site.yml", "-e", f"@{folder / 'vars.json'}", state_dir=made.state_dir)
    assert run.ended_well(host), run.output
    yield made
    lab.down(host)


@pytest.fixture
def steal(told: Told, tmp_path: Path) -> Iterator[Callable[[], Thief]]:
    """Each time a copy of what lies on the control machine then.

    At the end the stolen key is replaced, which is also the way back for the control machine: a thief who has
    signed newer assignments than it has leaves hosts that refuse its own.
    """
    count = itertools.count(1)
    yield lambda: Thief(told.host, told.state_dir, tmp_path / f"thief-{next(count)}")
    done = told.fleetbox("trust", "rotate", "assignment-online", "-y")
    assert done.returncode == 0, done.stderr


def compiled(policy: str) -> Bundle:
    resolved = load_policy(Path(policy))
    return bundle.build([resolved], {resolved.name: expect.checks_for(resolved)})


def open_policy(folder: Path) -> Bundle:
    """What a thief would have hosts run."""
    path = folder / "open.yml"
    path.write_text(
        "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: open}\nmode: full-access\n"
    )
    return compiled(str(path))


# -- what it is for -------------------------------------------------------------------------------------


def test_push_check_verify_rollback_audit_and_doctor_work_with_it(told: Told) -> None:
    assert told.outcome("push-policy", BASE, "--check") == ("would_activate", None)
    done = told.fleetbox("push-policy", BASE, "-y", "--json")
    answer = json.loads(done.stdout)
    assert [(one["outcome"], one["generation"]) for one in answer["hosts"]] == [("activated", 1)], answer
    assert answer["signed"] is True
    [seen] = answer["conformance"]["hosts"]
    statuses = {result["check_id"]: result["status"] for result in seen["results"]}
    assert (statuses["FBX-SBX-001"], statuses["FBX-POL-001"]) == ("pass", "pass")
    assert "fail" not in statuses.values()
    assert told.outcome("push-policy", OFFLINE, "-y", "--no-verify") == ("activated", 2)
    assert told.outcome("push-policy", OFFLINE, "--check") == ("unchanged", 2)
    rolled_back, generation = told.outcome("rollback", "-y")
    assert (rolled_back, (generation or 0) > 2) == ("activated", True)
    assert told.status()["default_policy"] == "base"
    verified = json.loads(told.fleetbox("verify", "--policy", BASE, "--json").stdout)
    assert [one["state"] for one in verified["hosts"]] == ["answered"]
    doctor = told.fleetbox("doctor", told.host.name)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "none: this machine can sandbox" in doctor.stdout
    assert f"generation {generation}" in doctor.stdout
    audited = told.fleetbox("audit", "verify", "-l", told.host.name, "--json")
    assert audited.returncode == 0, audited.stderr
    assert [one["state"] for one in json.loads(audited.stdout)["hosts"]] == ["whole"]


def test_the_host_knows_who_it_was_and_that_each_was_confirmed(told: Told) -> None:
    told.pushed(BASE)
    told.pushed(OFFLINE)
    events = told.recorded()
    begun = [one for one in events if one["event"] == "activation_begun"]
    confirmed = [one["generation"] for one in events if one["event"] == "confirmed"]
    assert {one["by"] for one in begun} == {PUSH}
    assert [one["release"] for one in begun][:2] == ["policies/default/1.tar", "policies/default/2.tar"]
    assert len(confirmed) == len(begun)
    assert told.status()["pending"] is None


def test_what_does_not_work_with_it_says_so(told: Told) -> None:
    for words in ((), ("--", "id")):
        done = told.fleetbox("why", told.host.name, *words)
        assert (done.returncode, done.stdout) == (5, "")
        assert "the push account may not run" in done.stderr
        assert "it shows what other accounts ran" in done.stderr
        assert "docs/push-account.md" in done.stderr


def test_a_host_without_the_program_is_told_apart(told: Told) -> None:
    told.host.sh(f"mv {PROGRAM} {PROGRAM}.away")
    try:
        done = told.fleetbox("push-policy", BASE, "-y", "--json")
        doctor = told.fleetbox("doctor", told.host.name)
    finally:
        told.host.sh(f"mv {PROGRAM}.away {PROGRAM}")
    [answer] = json.loads(done.stdout)["hosts"]
    assert (done.returncode, answer["reason"]) == (5, "not_provisioned")
    assert "site.yml" in answer["hint"]
    assert "fleetbox-host is not installed" in doctor.stdout


# -- what a stolen key, and a stolen control machine, cannot do -------------------------------------------


def test_nothing_unsigned_is_taken_and_the_host_remembers_who_tried(told: Told, tmp_path: Path) -> None:
    told.pushed(BASE)
    told.pushed(OFFLINE)
    wanted = open_policy(tmp_path)
    kept = told.status()["generations"][0]
    with told.unchanged():
        for words in (
            f"activate {wanted.digest} --bundle -",
            f"activate {wanted.digest} --bundle - --no-smoke",
            f"activate {kept['digest']}",
            f"rollback --to {kept['n']}",
            "rollback",
        ):
            done = told.host.ssh(PUSH, f"{PROGRAM} {words}", data=wanted.tar)
            assert (done.returncode, refusal(done)) == (6, "unsigned"), words
            last = told.recorded()[-1]
            assert (last["event"], last["code"], last["by"]) == ("refused", "unsigned", PUSH)
        done = told.host.ssh(PUSH, f"{PROGRAM} stage {wanted.digest}", data=wanted.tar)
        assert (done.returncode, refusal(done)) == (2, "not_allowed")
    assert not told.host.box.run("ls", f"{paths.STORE}/{wanted.digest[7:]}").stdout


def test_that_holds_also_for_a_host_that_was_told_nothing(told: Told, tmp_path: Path) -> None:
    """Not the host's anchors but the account's own table refuses."""
    wanted = compiled(READ_ONLY)
    told.host.sh(
        f"mv {paths.ANCHORS} /root/anchors; mv {paths.TRUST} /root/trust; mv {paths.FLOOR} /root/floor"
    )
    try:
        taken = told.host.host.exec([PROGRAM, "stage", wanted.digest], data=wanted.tar, check=False)
        assert taken.returncode == 0, "as root it is a host that takes what is unsigned"
        done = told.host.ssh(PUSH, f"{PROGRAM} activate {wanted.digest}")
        assert (done.returncode, refusal(done)) == (6, "unsigned")
        sent = told.trust.published().delivery_for(told.host.name, bundle=None)
        done = told.host.ssh(PUSH, ACTIVATE, data=delivery.write(sent))
        assert (done.returncode, refusal(done)) == (6, "no_anchor")
    finally:
        told.host.sh(
            f"mv /root/anchors {paths.ANCHORS}; mv /root/trust {paths.TRUST}; mv /root/floor {paths.FLOOR}"
        )


def test_what_the_policy_keys_did_not_sign_is_refused(told: Told, steal: Steal, tmp_path: Path) -> None:
    told.pushed(BASE)
    thief = steal()
    wanted = open_policy(tmp_path)
    base = compiled(BASE)
    known = told.trust.find_release(base.digest)
    assert known is not None
    own = Trust(tmp_path / "own")
    own.create()
    name = own.add_release(wanted.tar, digest=wanted.digest)
    own.assign({told.host.name: (name, wanted.digest)})
    forged = own.published().delivery_for(told.host.name, bundle=wanted.tar)
    with told.unchanged():
        assert thief.sends(forged) == Said(6, "wrong_key")
        nobody_signed = thief.assigned("policies/default/77.tar", wanted)
        assert thief.sends(nobody_signed) == Said(6, "unknown_release")
        # The same path in policies that the thief signs, and an assignment that the stolen key signs.
        mixed = thief.assigned("policies/default/1.tar", wanted)._replace(policy=forged.policy)
        assert thief.sends(mixed) == Said(6, "wrong_key")
        renamed = thief.assigned(f"policies/default/{known.name.number}.tar", wanted)
        assert thief.sends(renamed) == Said(6, "digest_mismatch")
        swapped = thief.assigned(f"policies/default/{known.name.number}.tar", base)
        assert thief.sends(swapped._replace(bundle=wanted.tar)) == Said(6, "digest_mismatch")
    refused = [one["code"] for one in told.recorded() if one["event"] == "refused"]
    assert refused[-5:] == ["wrong_key", "unknown_release", "wrong_key", "digest_mismatch", "digest_mismatch"]


def test_the_control_machines_own_command_waits_for_the_keys_it_has_not(told: Told, steal: Steal) -> None:
    told.pushed(BASE)
    thief = steal()
    with told.unchanged():
        done = told.fleetbox("push-policy", READ_ONLY, "-y", "--state-dir", str(thief.state))
        assert (done.returncode, "waits for signatures" in done.stderr) == (6, True), done.stderr


def test_nothing_that_was_sent_before_is_taken_again(told: Told, steal: Steal) -> None:
    told.pushed(BASE)
    base = compiled(BASE)
    recorded = delivery.write(told.trust.published().delivery_for(told.host.name, bundle=base.tar))
    generation = told.trust.published().generation
    thief = steal()
    with told.unchanged():
        assert thief.sends(recorded) == Said(0, ""), "while it is what is in force it changes nothing"
    told.pushed(OFFLINE)
    later = steal()
    release = told.trust.find_release(base.digest)
    assert release is not None
    with told.unchanged():
        assert thief.sends(recorded) == Said(6, "rolled_back_metadata")
        lower = later.assigned(f"policies/default/{release.name.number}.tar", base, generation=generation)
        assert later.sends(lower) == Said(6, "replayed")
        assert thief.asks(f"{PROGRAM} confirm 1 {'0' * 32}").exit_code != 0


def test_nothing_below_the_floor_comes_back(told: Told, steal: Steal) -> None:
    told.pushed(BASE)
    told.pushed(OFFLINE)
    base, offline = compiled(BASE), compiled(OFFLINE)
    before = steal()
    old, new = (told.trust.find_release(one.digest) for one in (base, offline))
    assert old is not None
    assert new is not None
    assert old.name.number < new.name.number
    done = told.fleetbox("trust", "min-release", str(new.name.number), "-y")
    assert done.returncode == 0, done.stderr
    told.pushed(OFFLINE)
    after = steal()
    path = f"policies/default/{old.name.number}.tar"
    with told.unchanged():
        assert after.sends(after.assigned(path, base)) == Said(6, "below_min_release")
        assert before.sends(before.assigned(path, base)) == Said(6, "rolled_back_metadata")
        assert told.fleetbox("rollback", "-y").returncode != 0


def test_a_thief_can_choose_among_good_releases_and_outrun_the_control_machine_until_its_key_is_replaced(
    told: Told, steal: Steal
) -> None:
    """As docs/push-account.md says."""
    told.pushed(OFFLINE)
    offline = compiled(OFFLINE)
    known = told.trust.find_release(offline.digest)
    assert known is not None
    thief = steal()
    for _ in range(2):
        sent = thief.assigned(f"policies/default/{known.name.number}.tar", offline)
    assert thief.sends(sent) == Said(0, "")
    done = told.fleetbox("push-policy", READ_ONLY, "-y", "--no-verify", "--json")
    [answer] = json.loads(done.stdout)["hosts"]
    assert (done.returncode, answer["reason"]) == (6, "rolled_back_metadata")
    assert told.fleetbox("trust", "rotate", "assignment-online", "-y").returncode == 0
    told.pushed(READ_ONLY)
    with told.unchanged():
        assert thief.sends(sent).exit_code == 6
