"""site.yml tells a host whom to trust, once: the anchors of `fleetbox init`, and the name it goes by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from fleetbox.trust import Trust, ceremony
from tests.integration.roles.playbooks import ANSIBLE_PLAYBOOK, REPO, Run, play
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

pytestmark = pytest.mark.host

REPOSITORIES = ("policy", "assignment")
WITHOUT = {
    "workload_user": "fleetbox-workload",
    "host_id": "untold",
    "teams": ["default"],
    "max_stale_days": None,
}


@dataclass(frozen=True)
class Told:
    """Two hosts: one whose control machine has trust, one whose has none. `checked` came before all."""

    lab: Lab
    host: Host
    untold: Host
    state_dir: Path
    trust: Trust
    anchors: dict[str, bytes]
    checked: Run
    left_by_check: list[str]
    first: Run
    second: Run
    without: Run

    def play(self, playbook: str, *options: str, state_dir: Path | None = None) -> Run:
        return play(self.lab, [self.host], playbook, *options, state_dir=state_dir or self.state_dir)

    def has(self) -> dict[str, bytes]:
        """The anchors on the host."""
        return {name: self.host.get(paths.anchor(name)) for name in REPOSITORIES}


@pytest.fixture(scope="module")
def told(lab: Lab, launcher: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    host, untold = lab.up(
        HostSpec.of("told", variables={"fleetbox_max_stale_days": "30"}), HostSpec.of("untold")
    )
    state_dir = tmp_path_factory.mktemp("trust") / "state"
    trust = Trust(state_dir)
    assert trust.create().published
    checked = play(lab, [host], "site.yml", "--check", "--diff", state_dir=state_dir)
    left = [change.path for change in host.overlay_diff() if "fleetbox" in change.path]
    # The anchors' own role alone: the host must know its name all the same.
    first = play(lab, [host], "site.yml", "--tags", "hostside,policy", state_dir=state_dir)
    assert first.ended_well(host), first.output
    anchors = trust.published().anchor()
    play(lab, [host], "site.yml", state_dir=state_dir)
    second = play(lab, [host], "site.yml", state_dir=state_dir)
    without = play(lab, [untold], "site.yml")
    assert without.ended_well(untold), without.output
    yield Told(lab, host, untold, state_dir, trust, anchors, checked, left, first, second, without)
    lab.down(host, untold)


def test_a_check_run_would_install_the_anchors_and_changes_nothing(told: Told) -> None:
    assert told.checked.ended_well(told.host), told.checked.output
    assert "policy.root.json" in told.checked.output
    assert told.left_by_check == []


def test_with_the_tag_policy_alone_the_host_has_both_anchors_to_the_byte(told: Told) -> None:
    assert told.has() == told.anchors
    places = [paths.ANCHORS, *map(paths.anchor, REPOSITORIES)]
    seen = told.host.exec(["stat", "--format", "%U:%G %a", *places]).stdout.decode().split("\n")
    assert seen == ["root:root 755", "root:root 644", "root:root 644", ""]


def test_it_knows_by_which_name_releases_are_assigned_to_it(told: Told) -> None:
    assert "Tell the host program who this host is" in told.first.output
    said = json.loads(told.host.get(paths.HOST_CONFIG))
    assert said == WITHOUT | {"host_id": "told", "max_stale_days": 30}


def test_the_installed_program_reads_all_of_it(told: Told) -> None:
    program = (
        f"import sys; sys.path.insert(0, {paths.PREFIX!r})\n"
        "from fleetbox.hostside import anchors, config\nfrom fleetbox.hostside.paths import Places\n"
        "sizes = [len(anchors.load(Places(), name)) for name in ('policy', 'assignment')]\n"
        "print(config.load(Places()).host_id, *sizes)"
    )
    seen = told.host.exec([paths.PYTHON, "-I", "-S", "-c", program]).stdout.decode().split()
    assert seen == ["told", *(str(len(told.anchors[name])) for name in REPOSITORIES)]


def test_a_second_run_changes_nothing(told: Told) -> None:
    assert told.second.ended_well(told.host), told.second.output
    assert told.second.recap["told"]["changed"] == 0, told.second.output


def test_without_trust_no_anchor_is_installed_and_all_else_is(told: Told) -> None:
    assert told.without.ended_well(told.untold), told.without.output
    assert told.untold.exec(["ls", paths.ANCHORS], check=False).returncode != 0
    assert json.loads(told.untold.get(paths.HOST_CONFIG)) == WITHOUT


def test_control_machines_without_trust_take_no_anchor_away(told: Told, tmp_path: Path) -> None:
    run = told.play("playbooks/policy.yml", state_dir=tmp_path / "none")
    assert run.recap["told"]["changed"] == 0, run.output
    assert told.has() == told.anchors


def test_an_older_root_of_the_same_chain_stays(told: Told) -> None:
    with told.trust.opened() as authority:
        old = authority.policy.root.signed.roles["root"].keyids[0]
    told.trust.edit("r", lambda draft, a: ceremony.replace(draft, old, a.ring.create("root")))
    assert told.trust.published().anchor() != told.anchors
    run = told.play("playbooks/policy.yml")
    assert run.ended_well(told.host), run.output
    assert run.recap["told"]["changed"] == 0, run.output
    assert told.has() == told.anchors


@pytest.mark.parametrize("which", REPOSITORIES)
def test_an_anchor_of_somebody_else_is_refused_with_what_to_compare_and_kept(told: Told, which: str) -> None:
    other = b'{"signed": "by somebody else"}\n'
    told.host.put(paths.anchor(which), other)
    run = told.play("site.yml")
    assert not run.ended_well(told.host)
    assert run.recap["told"]["changed"] == 0, run.output
    words = run.words(told.host)
    assert f"trusts another {which} repository" in words
    assert "fleetbox trust anchor" in words
    assert "policy_replace_anchor" in words
    assert told.has() == told.anchors | {which: other}
    told.host.put(paths.anchor(which), told.anchors[which])


def test_a_link_in_place_of_an_anchor_is_refused(told: Told) -> None:
    anchor = paths.anchor("policy")
    told.host.exec(["sh", "-euc", f"mv {anchor} /root/kept; ln -s /root/kept {anchor}"])
    run = told.play("playbooks/policy.yml")
    assert "no plain file" in run.words(told.host)
    told.host.exec(["mv", "/root/kept", anchor])


def test_who_says_so_replaces_both_anchors(told: Told, tmp_path: Path) -> None:
    trust = Trust(tmp_path / "state")
    assert trust.create().published
    refused = told.play("playbooks/policy.yml", state_dir=tmp_path / "state")
    assert not refused.ended_well(told.host)
    asked = ("--extra-vars", f"policy_replace_anchor=true policy_state_dir={tmp_path / 'state'}")
    told.host.put(paths.FLOOR, b"what it has seen of the other")
    told.host.exec(["install", "-D", "-m", "0644", paths.FLOOR, paths.TRUST_METADATA])
    assert told.host.exec(["ls", paths.FLOOR, paths.TRUST]).returncode == 0, "a refused run forgets nothing"
    run = told.play("playbooks/policy.yml", *asked)
    assert run.ended_well(told.host), run.output
    assert told.has() == trust.published().anchor()
    for seen in (paths.FLOOR, paths.TRUST):
        assert told.host.exec(["ls", seen], check=False).returncode != 0, seen


def test_a_host_whose_name_no_assignment_can_have_gets_no_anchor(told: Told, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(told.lab.inventory.read_text().replace("untold:", "_untold:"))
    done = told.lab.controller(
        [str(ANSIBLE_PLAYBOOK), "playbooks/policy.yml", "-i", str(inventory), "-l", "_untold"],
        cwd=REPO,
        env={"ANSIBLE_NOCOLOR": "1", "FLEETBOX_STATE_DIR": str(told.state_dir)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "no release can be assigned to a host of this name" in " ".join(done.stdout.split()), done.stdout
    assert told.untold.exec(["ls", paths.ANCHORS], check=False).returncode != 0


def test_trust_that_does_not_verify_is_installed_nowhere(told: Told) -> None:
    root = told.state_dir / "trust/policy/metadata/1.root.json"
    kept = root.read_bytes()
    root.write_bytes(kept.replace(b'"version":1', b'"version":3', 1))
    before = told.has()
    run = told.play("playbooks/policy.yml")
    root.write_bytes(kept)
    assert not run.ended_well(told.host)
    assert told.has() == before


def test_removing_one_role_leaves_what_the_other_wrote(told: Told) -> None:
    before = told.has()
    told.play("playbooks/uninstall.yml", "--tags", "conformance")
    assert told.has() == before, "without its configuration the host takes nothing, instead of anything"
    told.play("playbooks/uninstall.yml", "--tags", "policy")
    told.play("playbooks/uninstall.yml", "--tags", "conformance")
    assert told.host.exec(["ls", "/etc/fleetbox"], check=False).returncode != 0
    run = told.play("playbooks/uninstall.yml", "--tags", "conformance,policy")
    assert run.recap["told"]["changed"] == 0, run.output
