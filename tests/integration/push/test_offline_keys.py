"""A push whose policy keys are not on the control machine: docs/trust.md by its commands, to a real host."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from fleetbox.trust import Trust
from tests.integration.push.conftest import BIN, REPO
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import provisioned

pytestmark = pytest.mark.host

BASE, OFFLINE = (str(REPO / f"policies/{name}.yml") for name in ("base", "offline"))
HOLDERS = ("alice", "bob", "carol")


@dataclass(frozen=True)
class Holder:
    """A machine without network, fleet or state directory: two keys, and files that are carried there."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def keys(self, kind: str) -> str:
        return str(self.folder / f"{self.name}-{kind}.pem")

    def fleetbox(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "fleetbox.cli", *argv],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def ok(self, *argv: str) -> str:
        done = self.fleetbox(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def sign(self, carried: Path, *kinds: str) -> str:
        """With what the file's own copy here becomes; what was said."""
        return self.ok(
            "trust", "sign", carried.name, "-y", *(f"--key=file2:{self.keys(kind)}" for kind in kinds)
        )

    def given(self, file: Path) -> Path:
        """A file, carried here."""
        return Path(shutil.copy(file, self.folder))


@dataclass(frozen=True)
class Control:
    """The control machine, its one host, and the holders of its policy keys."""

    lab: Lab
    host: Host
    folder: Path
    holders: dict[str, Holder]

    def fleetbox(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        return self.lab.controller(
            [str(BIN / "python"), "-m", "fleetbox.cli", *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={
                "FLEETBOX_INVENTORY": str(self.lab.inventory),
                "FLEETBOX_STATE_DIR": str(self.folder / "state"),
            },
        )

    def ok(self, *argv: str) -> str:
        done = self.fleetbox(*argv)
        assert done.returncode == 0, done.stderr
        return str(done.stdout + done.stderr)

    def push(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        return self.fleetbox("push-policy", *argv, "-y", "--no-verify", "-l", self.host.name)

    def waiting(self) -> list[dict[str, Any]]:
        return list(json.loads(self.fleetbox("trust", "status", "--json").stdout)["pending"])

    def file(self) -> Path:
        """The file of the one change that waits."""
        [one] = self.waiting()
        return Path(one["file"])

    def policy(self) -> str | None:
        answer = json.loads(self.host.exec([paths.HOST_PROGRAM, "status"]).stdout)
        return answer["default_policy"]

    def install_anchors(self) -> None:
        """As role policy does."""
        self.host.put(
            paths.HOST_CONFIG, json.dumps({"workload_user": "dev", "host_id": self.host.name}).encode()
        )
        self.host.exec(["install", "-d", "-m", "0755", paths.ANCHORS])
        for repository, data in Trust(self.folder / "state").published().anchor().items():
            self.host.put(paths.anchor(repository), data)


def keys_made(folder: Path) -> dict[str, Holder]:
    holders = {}
    for name in HOLDERS:
        (folder / name).mkdir()
        holders[name] = Holder(folder / name)
        for kind in ("root", "policy"):
            holders[name].ok("trust", "new-key", holders[name].keys(kind), "--no-passphrase")
    return holders


@pytest.fixture(scope="module")
def control(lab: Lab, launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """Set up 2 of 3, no private half of those on the control machine; the host was told whom to trust."""
    folder = tmp_path_factory.mktemp("offline")
    with provisioned(lab, launcher, HostSpec.of("offline-keys")) as [box]:
        made = Control(lab, box.host, folder, keys_made(folder))
        options = [
            word
            for kind in ("root", "policy")
            for holder in made.holders.values()
            for word in (f"--{kind}-key", f"{holder.keys(kind)}.pub")
        ]
        made.ok("trust", "init", *options, "--root-threshold", "2", "--policy-threshold", "2")
        refuses_to_push_before_trust_is_there(made)
        for name in ("bob", "carol"):
            made.holders[name].given(made.file())
        for name in ("bob", "carol"):
            carried = made.holders[name].folder / made.file().name
            made.holders[name].sign(carried, "root", "policy")
            made.ok("trust", "sign", str(carried))
        made.install_anchors()
        yield made


def refuses_to_push_before_trust_is_there(control: Control) -> None:
    """What shall be signed does not go out unsigned while the keys are on their way."""
    done = control.push(BASE)
    assert done.returncode == 6, done.stderr
    assert "set up trust: waits for signatures" in done.stderr
    assert "2 of alice-root, bob-root, carol-root" in done.stderr
    assert control.fleetbox("rollback", "-y", "-l", control.host.name).returncode == 6
    assert control.policy() is None


def test_a_push_waits_names_the_file_and_its_holders_and_goes_through_when_two_have_signed(
    control: Control,
) -> None:
    done = control.push(BASE)
    assert (done.returncode, done.stdout) == (6, ""), done.stderr
    file = control.file()
    assert f"carry {file} to 2 of alice-policy, bob-policy, carol-policy" in done.stderr
    assert f"fleetbox trust sign {file.name} --key URI" in done.stderr
    assert control.policy() is None, "nobody was contacted"

    alice, bob = (control.holders[name] for name in ("alice", "bob"))
    made_by_alice = alice.ok("policy", "digest", BASE).strip()
    carried = alice.given(file), bob.given(file)
    said = alice.sign(carried[0], "policy")
    assert f"policies/default/1.tar is {made_by_alice}" in said
    assert "still missing" in said
    assert f"carry {file.name} to the control machine" in said
    bob.sign(carried[1], "policy")

    taken = control.ok("trust", "sign", str(carried[0]))
    assert "1 more, by" in taken
    assert "alice" not in taken.split("1 more, by")[1].split("\n")[0]
    assert "bob-policy" in taken
    assert "published: release policies/default/1.tar" in control.ok("trust", "sign", str(carried[1]))
    done = control.push(BASE)
    assert done.returncode == 0, done.stderr
    assert "release policies/default/1.tar, assigned to 1 host(s)" in done.stderr
    assert control.policy() == "base"


def test_asked_again_it_is_the_same_release_that_waits(control: Control) -> None:
    first, second = control.push(OFFLINE), control.push(OFFLINE)
    assert (first.returncode, second.returncode) == (6, 6)
    assert first.stderr == second.stderr
    file = control.file()
    before = control.policy()
    wider = control.folder / "base.yml"
    wider.write_text(
        "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: base}\n"
        "extends: [base]\nenvironment: {pass: [EDITOR]}\n"
    )
    other = control.push(str(wider))
    assert (other.returncode, "waits already" in other.stderr) == (2, True), other.stderr
    assert str(file) in other.stderr
    control.ok("trust", "drop", file.stem, "-y")
    assert (control.waiting(), control.policy()) == ([], before)


def test_one_holder_is_not_two_however_often_it_signs(control: Control) -> None:
    assert control.push(OFFLINE).returncode == 6
    file, alice = control.file(), control.holders["alice"]
    carried = alice.given(file)
    alice.sign(carried, "policy")
    alice.sign(carried, "policy")
    control.ok("trust", "sign", str(carried))
    alice.sign(alice.given(file), "policy")
    control.ok("trust", "sign", str(carried))
    assert [one["missing"][0]["signatures"] for one in control.waiting()] == [1]
    assert control.push(OFFLINE).returncode == 6
    foreign = alice.fleetbox("trust", "sign", carried.name, "-y", f"--key=file2:{alice.keys('root')}")
    assert (foreign.returncode, "signs nothing of this change" in foreign.stderr) == (2, True)
    control.ok("trust", "drop", file.stem, "-y")


def test_the_second_holder_may_sign_what_the_first_has_signed_and_is_told_that_it_is_complete(
    control: Control,
) -> None:
    assert control.push(OFFLINE).returncode == 6
    alice, carol = control.holders["alice"], control.holders["carol"]
    carried = alice.given(control.file())
    alice.sign(carried, "policy")
    onwards = carol.given(carried)
    said = carol.sign(onwards, "policy")
    assert "nothing is missing" in said
    assert "still missing" not in said
    control.ok("trust", "sign", str(onwards))
    assert control.push(OFFLINE).returncode == 0
    assert control.policy() == "offline"
    late = control.fleetbox("trust", "sign", str(carried))
    assert (late.returncode, "was published or dropped before" in late.stderr) == (2, True), late.stderr


def test_going_back_needs_no_offline_key_and_raising_the_floor_does(control: Control) -> None:
    assert control.policy() == "offline"
    assert control.fleetbox("rollback", "-y", "-l", control.host.name).returncode == 0
    assert control.policy() == "base"
    assert control.push(OFFLINE).returncode == 0, "it is signed, so it goes out at once"
    said = control.ok("trust", "min-release", "2", "-y")
    file = control.file()
    assert f"carry {file} to where the keys are" in said
    assert "alice-policy" in said
    for name in ("bob", "alice"):
        holder = control.holders[name]
        assert "min_release 2" in holder.sign(holder.given(control.file()), "policy")
        control.ok("trust", "sign", str(holder.folder / file.name))
    assert control.push(OFFLINE).returncode == 0
    assert control.fleetbox("rollback", "-y", "-l", control.host.name).returncode != 0
    assert control.policy() == "offline"
