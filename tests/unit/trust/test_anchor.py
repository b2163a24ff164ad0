"""`fleetbox trust anchor`: what provisioning reads, and what people compare it with."""

import hashlib
import json

import pytest

import fleetbox.cli as frame
from fleetbox.errors import ExitCode
from fleetbox.trust import Trust, ceremony
from tests.unit.trust.conftest import key_named, three_keys


@pytest.fixture
def answer(tmp_path, capsys):
    """What the command prints with these options about the state directory of the test."""

    def ask(*options: str, code: ExitCode = ExitCode.OK) -> str:
        assert frame.invoke(["trust", "anchor", "--state-dir", str(tmp_path / "state"), *options]) == code
        return capsys.readouterr().out

    return ask


def rotate_root(trust: Trust) -> None:
    old = key_named(trust, "root")
    assert trust.edit("r", lambda draft, a: ceremony.replace(draft, old, a.ring.create("root"))).published


def test_the_anchor_is_the_newest_root_and_the_chain_names_every_one(trust, answer) -> None:
    before = trust.published().anchor()
    rotate_root(trust)
    said = json.loads(answer("--json"))
    assert (said["schema_version"], said["set_up"]) == (1, True)
    after = trust.published().anchor()
    assert before != after
    assert {name: text.encode() for name, text in said["anchors"].items()} == after
    assert said["chain"] == {
        name: [hashlib.sha256(root[name]).hexdigest() for root in (before, after)] for name in after
    }


def test_people_see_where_it_is_installed_and_what_sha256sum_says_there(trust, answer) -> None:
    rotate_root(trust)
    words = answer()
    for name, root in trust.published().anchor().items():
        assert f"/etc/fleetbox/trust/{name}.root.json" in words
        assert f"version 2  sha256 {hashlib.sha256(root).hexdigest()}  the newest" in words
    assert words.count("version 1") == 2


def test_where_nothing_was_set_up_programs_get_an_answer_and_people_an_error(answer) -> None:
    nothing = {"schema_version": 1, "set_up": False, "anchors": {}, "chain": {}}
    assert json.loads(answer("--json")) == nothing
    assert answer(code=ExitCode.USAGE) == ""


def test_trust_that_waits_for_its_first_signatures_has_no_anchor_yet(empty, answer) -> None:
    assert not empty.create(three_keys().who).published
    assert json.loads(answer("--json"))["set_up"] is False


def test_a_root_that_does_not_verify_is_refused_and_not_installed(trust, tmp_path, answer) -> None:
    root = tmp_path / "state/trust/policy/metadata/1.root.json"
    root.write_bytes(root.read_bytes().replace(b'"threshold":1', b'"threshold":2', 1))
    assert answer("--json", code=ExitCode.TRUST_REFUSED) == ""
