"""What is not enforced is refused, and the data about it is complete."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from fleetbox.policy import ResolvedPolicy, load_policy
from fleetbox.policy.model import Body
from fleetbox.targets import TARGETS, UnsupportedByTarget, parity_reference, unenforced
from fleetbox.targets.parity import PARITY, Platform, State
from fleetbox.targets.unenforced import refuse_unenforced

REPO = Path(__file__).parents[3]

NOT_BUILT = {
    "devices.gpu.vendors": ("devices: {gpu: {vendors: [nvidia, apple]}}", "apple"),
    "network.mode": ("network: {mode: proxy}", "proxy"),
    "network.outbound": (
        "network: {mode: proxy, outbound: [{host: api.example.com, ports: [443]}]}",
        '{"host":"api.example.com","ports":[443]}',
    ),
}


def policy(directory: Path, body: str = "") -> ResolvedPolicy:
    file = directory / "policy.yml"
    file.write_text(f"apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {{name: tried}}\n{body}\n")
    return load_policy(file)


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner, path = field.annotation, prefix + (field.alias or name)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{path}.")
        else:
            yield path


def test_every_field_of_the_schema_has_a_row_and_no_row_is_about_nothing() -> None:
    assert {row.field for row in PARITY} == set(leaves(Body))


def test_every_value_that_a_default_policy_has_is_covered() -> None:
    for field in leaves(Body):
        for value in unenforced.values(Body(), field):
            assert unenforced.row_of(field, value).field == field


def test_no_row_is_written_twice_and_every_row_has_a_note() -> None:
    assert len({(row.field, row.value) for row in PARITY}) == len(PARITY)
    assert all(row.note for row in PARITY)


@pytest.mark.parametrize("field", NOT_BUILT)
def test_a_field_that_is_not_enforced_is_refused_with_its_value_and_place(field: str, tmp_path: Path) -> None:
    body, value = NOT_BUILT[field]
    with pytest.raises(UnsupportedByTarget) as caught:
        TARGETS["bubblewrap"].compile(policy(tmp_path, body))
    refused = {refusal.field: refusal for refusal in caught.value.refusals}[field]
    assert refused.value == value
    assert refused.origin.endswith("policy.yml:4")
    assert f"{field}: {value}" in caught.value.message


def test_every_row_that_is_not_built_on_linux_is_tried_above() -> None:
    refused = {row.field for row in PARITY if row.linux in (State.NOT_BUILT, State.IMPOSSIBLE)}
    assert refused == set(NOT_BUILT)


def test_all_refusals_come_at_once(tmp_path: Path) -> None:
    body = "network: {mode: proxy}\ndevices: {gpu: {vendors: [apple]}}"
    with pytest.raises(UnsupportedByTarget) as caught:
        TARGETS["bubblewrap"].compile(policy(tmp_path, body))
    assert sorted(refusal.value for refusal in caught.value.refusals) == ["apple", "proxy"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("landlock: required\nprocess: {nested_sandboxes: true}", "process.nested_sandboxes"),
        ("process: {nested_sandboxes: true, allowed_binaries: [git]}", "process.nested_sandboxes"),
        ("landlock: off\nprocess: {allowed_binaries: [git]}", "landlock"),
    ],
)
def test_what_landlock_cannot_do_together_is_refused(body: str, field: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedByTarget) as caught:
        TARGETS["bubblewrap"].compile(policy(tmp_path, body))
    assert field in {refusal.field for refusal in caught.value.refusals}


def test_an_unwritten_value_other_than_the_default_is_refused_too(tmp_path: Path) -> None:
    """`explicit` is bookkeeping; a policy that lost it must not lose its limits in silence."""
    lost = policy(tmp_path, "network: {mode: proxy}").model_copy(update={"explicit": frozenset()})
    with pytest.raises(UnsupportedByTarget):
        TARGETS["bubblewrap"].compile(lost)


def test_the_default_policy_and_the_presets_use_only_what_is_enforced(tmp_path: Path) -> None:
    TARGETS["bubblewrap"].compile(policy(tmp_path))
    for preset in sorted((REPO / "policies").glob("*.yml")):
        TARGETS["bubblewrap"].compile(load_policy(preset))


def test_macos_enforces_nothing_yet_and_says_so(tmp_path: Path) -> None:
    assert {row.macos for row in PARITY} == {State.NOT_BUILT}
    with pytest.raises(UnsupportedByTarget):
        refuse_unenforced(policy(tmp_path, "mode: workspace-write"), Platform.MACOS, "seatbelt")


def test_the_document_is_what_the_data_says() -> None:
    assert (REPO / "docs" / "parity.md").read_text() == parity_reference.markdown(), "run: make generate"
