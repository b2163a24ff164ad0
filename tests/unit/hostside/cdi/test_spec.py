"""Specs are read whole or refused with everything that is wrong, whatever bytes they have."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetbox.hostside.cdi import spec
from fleetbox.hostside.cdi.fields import ITEMS_MAX, SpecInvalid
from fleetbox.hostside.cdi.spec import parse

GOOD = sorted((Path(__file__).parent / "good").iterdir())
NODE = {"deviceNodes": [{"path": "/dev/x"}]}
PLAIN = {"cdiVersion": "1.1.0", "kind": "a.com/b", "devices": [{"name": "x", "containerEdits": NODE}]}


def problems(value: object, name: str = "x.json") -> list[str]:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(SpecInvalid) as refusal:
        parse(data, name)
    return list(map(str, refusal.value.problems))


def with_edits(**edits: object) -> dict[str, Any]:
    return {**PLAIN, "devices": [{"name": "x", "containerEdits": {**NODE, **edits}}]}


def with_node(**fields: object) -> dict[str, Any]:
    return with_edits(deviceNodes=[{"path": "/dev/x", **fields}])


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_a_good_spec_means_the_same_in_json_and_in_yaml(path: Path) -> None:
    found = parse(path.read_bytes(), path.name)
    assert found.devices
    value = yaml.safe_load(path.read_text())
    assert parse(json.dumps(value).encode(), "x.json") == found
    assert parse(yaml.safe_dump(value).encode(), "x.yaml") == found


def test_the_minimal_spec_is_its_device() -> None:
    node = spec.Node("/dev/vendor0", "", "", None, None, "")
    assert parse((GOOD[0].parent / "minimal.yaml").read_bytes(), "a.yaml") == spec.Spec(
        spec.Edits(), (spec.Device("vendor.com/device=one", spec.Edits(nodes=(node,))),)
    )


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ({"major": 195, "minor": 255}, (195, 255)),
        ({"major": 195}, (195, 0)),
        ({"major": 0, "minor": 0}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_the_numbers_of_a_node_are_those_that_generators_mean(
    fields: dict[str, int], numbers: tuple[int | None, int | None]
) -> None:
    [node] = parse(json.dumps(with_node(**fields)).encode(), "x.json").devices[0].edits.nodes
    assert (node.major, node.minor) == numbers


EDITS = "devices[0].containerEdits"
NODE_0 = f"{EDITS}.deviceNodes[0]"
MOUNT_0 = f"{EDITS}.mounts[0]"
HOOK_0 = f"{EDITS}.hooks[0]"
BAD: list[tuple[object, list[str]]] = [
    (b"", ["line 1, column 1: is not JSON: Expecting value"]),
    (b"\xff", ["byte 0: is not UTF-8"]),
    (b'{"a" 1}', ["line 1, column 6: is not JSON: Expecting"]),
    (b"[" * 100_000, ["the spec: is nested too deeply"]),
    (b'{"kind": ' + b"9" * 10_000 + b"}", ["the spec: has a number that is too long"]),
    (
        [],
        [
            "the spec: is not an object: []",
            "cdiVersion: is missing",
            "kind: is missing",
            "devices: has no device",
        ],
    ),
    ({**PLAIN, "extra": 1}, ["extra: is no field that the specification knows; remove it"]),
    ({**PLAIN, "containeredits": {}}, ["containeredits: is no field"]),
    ({**PLAIN, "cdiVersion": "0.9.0"}, ["cdiVersion: is not known: '0.9.0'; 0.1.0 to 1.1.0"]),
    ({**PLAIN, "cdiVersion": "vv1.0.0"}, ["cdiVersion: is not known"]),
    ({**PLAIN, "cdiVersion": 1.1}, ["cdiVersion: is not text: 1.1; quote it"]),
    ({**PLAIN, "cdiVersion": ""}, ["cdiVersion: is empty"]),
    ({**PLAIN, "kind": "gpu"}, ["kind: is not vendor/class: 'gpu'; as in nvidia.com/gpu"]),
    ({**PLAIN, "kind": "1a.com/gpu"}, ["kind: is not vendor/class"]),
    ({**PLAIN, "kind": "a.com-/gpu"}, ["kind: is not vendor/class"]),
    ({**PLAIN, "kind": "a.com/gpu/x"}, ["kind: is not vendor/class"]),
    ({**PLAIN, "kind": "a.com/gpu\n"}, ["kind: has control characters, or is too long: 'a.com/gpu\\n'"]),
    ({**PLAIN, "devices": []}, ["devices: has no device"]),
    ({**PLAIN, "devices": None}, ["devices: is not a list: None", "devices: has no device"]),
    (
        {**PLAIN, "devices": [None]},
        ["devices[0]: is not an object: None", "name: is missing", "containerEdits: is missing"],
    ),
    ({**PLAIN, "devices": [{"containerEdits": NODE}]}, ["devices[0].name: is missing"]),
    ({**PLAIN, "devices": PLAIN["devices"] * 2}, ["devices[1].name: appears twice: 'x'"]),  # type: ignore[operator]
    (
        {**PLAIN, "devices": [{"name": ":x", "containerEdits": NODE}]},
        ["devices[0].name: is not a name: ':x'"],
    ),
    ({**PLAIN, "devices": [{"name": "x=", "containerEdits": NODE}]}, ["devices[0].name: is not a name"]),
    ({**PLAIN, "devices": [{"name": "x"}]}, ["devices[0].containerEdits: is missing"]),
    ({**PLAIN, "devices": [{"name": "x", "containerEdits": {}}]}, [f"{EDITS}: is empty"]),
    ({**PLAIN, "devices": [{"name": "x", "containerEdits": {"env": []}}]}, [f"{EDITS}: is empty"]),
    ({**PLAIN, "annotations": {"a": 1}}, ["annotations.a: is not text: 1"]),
    (with_edits(surprise=[]), [f"{EDITS}.surprise: is no field"]),
    (with_edits(env=["A"]), [f"{EDITS}.env[0]: is not NAME=VALUE: 'A'"]),
    (with_edits(env=["A=b", "=b"]), [f"{EDITS}.env[1]: is not NAME=VALUE: '=b'"]),
    (with_edits(env="A=b"), [f"{EDITS}.env: is not a list: 'A=b'"]),
    (with_edits(env=["A=b\0c"]), [f"{EDITS}.env[0]: has control characters"]),
    (with_edits(env=["A=b\ud800"]), [f"{EDITS}.env[0]: has control characters"]),
    (with_edits(env=["A=" + "b" * 40_000]), [f"{EDITS}.env[0]: has control characters, or is too long"]),
    (with_edits(env=["A=b"] * (ITEMS_MAX + 1)), [f"{EDITS}.env: has 1025 entries; at most 1024 are read"]),
    (with_edits(deviceNodes=[{}]), [f"{NODE_0}.path: is missing"]),
    (with_edits(deviceNodes=[{"path": ""}]), [f"{NODE_0}.path: is empty"]),
    (with_node(type="x"), [f"{NODE_0}.type: is not known: 'x'; one of b, c, u, p"]),
    (with_node(permissions="rx"), [f"{NODE_0}.permissions: is not known: 'rx'"]),
    (with_node(major=-1), [f"{NODE_0}.major: is out of range: -1; from 0 to 1048575"]),
    (with_node(major=True), [f"{NODE_0}.major: is not a number: True"]),
    (with_node(major=195.0), [f"{NODE_0}.major: is not a number: 195.0"]),
    (with_node(minor=3), [f"{NODE_0}.minor: has no major beside it: 3"]),
    (with_node(gid="44"), [f"{NODE_0}.gid: is not a number: '44'"]),
    (with_edits(mounts=[{}]), [f"{MOUNT_0}.hostPath: is missing", f"{MOUNT_0}.containerPath: is missing"]),
    (
        with_edits(mounts=[{"hostPath": "/a", "containerPath": "/a", "options": "ro"}]),
        [f"{MOUNT_0}.options: is not a list"],
    ),
    (
        with_edits(hooks=[{"hookName": "later", "path": ""}]),
        [f"{HOOK_0}.hookName: is not known: 'later'", f"{HOOK_0}.path: is empty"],
    ),
    (
        with_edits(hooks=[{"hookName": "prestart", "path": "/x", "env": ["A"]}]),
        [f"{HOOK_0}.env[0]: is not NAME=VALUE"],
    ),
    (with_edits(netDevices=[{}]), [f"{EDITS}.netDevices[0].hostInterfaceName: is missing"]),
    (with_edits(intelRdt={"closId": "x"}), [f"{EDITS}.intelRdt.closId: is no field"]),
    (with_edits(additionalGids=[-1]), [f"{EDITS}.additionalGids[0]: is out of range: -1"]),
    (with_edits(additionalGIDs=[1]), [f"{EDITS}.additionalGIDs: is no field"]),
    (b'{"kind": "a.com/b", "kind": "c.com/d", "devices": []}', ["kind: appears twice; keep one"]),
    (b'{"cdiVersion": NaN, "kind": "a.com/b", "devices": []}', ["cdiVersion: is not text: nan"]),
]


@pytest.mark.parametrize(("value", "expected"), BAD, ids=range(len(BAD)))
def test_a_broken_spec_is_refused_with_every_field_that_is_wrong(value: object, expected: list[str]) -> None:
    found = problems(value)
    assert [text for text in expected if not any(text in said for said in found)] == [], found
    assert all(said.isprintable() for said in found)


YOUNGER: list[tuple[str, dict[str, Any], str]] = [
    (
        "0.4.0",
        with_edits(mounts=[{"hostPath": "/a", "containerPath": "/a", "type": "bind"}]),
        "mounts[0].type",
    ),
    ("0.5.0", with_node(hostPath="/dev/y"), "deviceNodes[0].hostPath"),
    ("0.5.0", {**PLAIN, "devices": [{"name": "0", "containerEdits": NODE}]}, "devices[0].name"),
    ("0.6.0", {**PLAIN, "annotations": {"a": "b"}}, "annotations"),
    (
        "0.6.0",
        {**PLAIN, "devices": [{"name": "x", "annotations": {"a": "b"}, "containerEdits": NODE}]},
        "devices[0].annotations",
    ),
    ("0.6.0", {**PLAIN, "kind": "a.com/b.c"}, "kind"),
    ("0.7.0", with_edits(additionalGids=[1]), "additionalGids"),
    ("0.7.0", with_edits(intelRdt={"closID": "x"}), "intelRdt"),
    ("1.1.0", with_edits(intelRdt={"schemata": ["x"]}), "intelRdt.schemata"),
    ("1.1.0", with_edits(netDevices=[{"hostInterfaceName": "a", "name": "b"}]), "netDevices"),
]


@pytest.mark.parametrize(("version", "value", "field"), YOUNGER, ids=lambda value: str(value)[:20])
def test_a_field_needs_the_version_that_brought_it(version: str, value: dict[str, Any], field: str) -> None:
    older = spec.VERSIONS[spec.VERSIONS.index(version) - 1]
    [problem] = problems({**value, "cdiVersion": older})
    assert field in problem
    assert f"needs cdiVersion {version}, and the spec says {older}" in problem
    parse(json.dumps({**value, "cdiVersion": f"v{version}"}).encode(), "x.json")


def test_a_type_that_is_said_to_be_nothing_needs_no_version() -> None:
    value = with_edits(mounts=[{"hostPath": "/a", "containerPath": "/a", "type": ""}])
    parse(json.dumps({**value, "cdiVersion": "0.3.0"}).encode(), "x.json")


YAML: list[tuple[bytes, str]] = [
    (b"", "line 1, column 1: nothing is in it"),
    (b"a: &x 1\nb: *x\n", "line 1, column 4: anchors and aliases are not read"),
    (b"- *x", "line 1, column 3: anchors and aliases are not read"),
    (b"&x {}", "line 1, column 1: anchors and aliases are not read"),
    (b"!!python/object/apply:os.system [id]", "line 1, column 1: tags are not read"),
    (b"a: !!str 1", "line 1, column 4: tags are not read"),
    (b"a: 1\n---\nb: 2\n", "line 2, column 1: a second document"),
    (b"kind: a\nkind: b\n", "kind: appears twice"),
    (b"1: a", "line 1, column 1: a key is not text"),
    (b"? [a]\n: b", "line 1, column 3: a key is not text"),
    (b"[" * 30 + b"]" * 30, "is nested too deeply"),
    (b"a: [", "is not YAML: expected the node content"),
    (b"a: b: c", "line 1, column 5: is not YAML: mapping values are not allowed here"),
    (b'a: "\\UFFFFFFFF"', "is not YAML"),
    (b"a: \x01", "is not YAML"),
    (b"\xff", "byte 0: is not UTF-8"),
    (b"kind: 1", "kind: is not text: 1; quote it"),
    (b"kind:", "kind: is not text: None; quote it"),
    (b"kind: yes", "kind: is not vendor/class: 'yes'"),
    (b"kind: 2026-01-01", "kind: is not vendor/class: '2026-01-01'"),
    (b"kind: 1:30", "kind: is not vendor/class: '1:30'"),
    (b"kind: 1.5e3", "kind: is not text: 1500.0"),
    (b"kind: .inf", "kind: is not text: inf"),
    (b"kind: 12345678901234567890", "kind: is not text: 1.2345678901234567e+19"),
    (b"kind: True", "kind: is not text: True"),
    (b"kind: 0x1f", "kind: is not text: 31"),
    (b"kind: 0o17", "kind: is not text: 15"),
    (b"<<: {kind: a.com/b}", "<<: is no field"),
]


@pytest.mark.parametrize(("data", "expected"), YAML)
def test_what_makes_yaml_more_than_json_is_refused(data: bytes, expected: str) -> None:
    found = problems(data, "x.yaml")
    assert any(expected in said for said in found), found


def read_or_refused(data: bytes, name: str) -> list[str]:
    """The reasons of a refusal; there is at least one."""
    try:
        parse(data, name)
    except SpecInvalid as refusal:
        return list(map(str, refusal.problems)) or ["refused without a reason\n"]
    return []


BYTES = st.binary(max_size=300)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["cdiVersion", "kind", "devices", "name", "containerEdits", "env", "path"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(
    data=BYTES | VALUES.map(lambda value: json.dumps(value).encode()),
    name=st.sampled_from(["a.json", "a.yaml"]),
)
def test_whatever_bytes_a_spec_has_it_is_read_or_refused(data: bytes, name: str) -> None:
    said = read_or_refused(data, name)
    assert all(problem.isprintable() for problem in said)


@settings(max_examples=300)
@given(st.data())
def test_a_good_spec_with_a_part_replaced_is_read_or_refused(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(GOOD))
    value = yaml.safe_load(path.read_text())
    at: Any = value
    while isinstance(at, (dict, list)) and at:
        key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else list(range(len(at)))))
        if data.draw(st.booleans()) or not isinstance(at[key], (dict, list)):
            at[key] = data.draw(VALUES)
            break
        at = at[key]
    assert all(problem.isprintable() for problem in read_or_refused(json.dumps(value).encode(), "a.json"))
