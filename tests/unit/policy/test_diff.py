"""Changes between policies: each found, none said to narrow that widens, the other way round mirrored."""

from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import assume, given

from fleetbox.policy import load_preset
from fleetbox.policy.diff import Effect, diff
from fleetbox.policy.explain import explain
from fleetbox.policy.words import STRENGTH, Mutability
from tests.unit.policy.documents import bodies, resolved
from tests.unit.policy.test_explain import asked


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str | None, str | None, str]]:
    return [(c.field, c.before, c.after, c.effect) for c in diff(resolved(before), resolved(after))]


def _files(**fields: Any) -> dict[str, Any]:
    return {"filesystem": fields}


def _rules(*rules: tuple[str, str]) -> dict[str, Any]:
    return _files(rules=[{"path": path, "access": access} for path, access in rules])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"mode": "workspace-write"}, []),
        (_files(root="minimal"), _files(root="host"), [("filesystem.root", "minimal", "host", "widens")]),
        (
            _files(workspace="write"),
            _files(workspace="read"),
            [("filesystem.workspace", "write", "read", "narrows")],
        ),
        ({}, {"network": {"mode": "host"}}, [("network.mode", "none", "host", "widens")]),
        ({}, {"landlock": "required"}, [("landlock", "best-effort", "required", "narrows")]),
        (
            {},
            {"devices": {"gpu": {"mode": "required"}}},
            [("devices.gpu.mode", "auto", "required", "neutral")],
        ),
        ({}, {"devices": {"gpu": {"select": 1}}}, [("devices.gpu.select", "everything", "1", "narrows")]),
        ({}, {"devices": {"allow": ["/dev/kvm"]}}, [("devices.allow[/dev/kvm]", None, "/dev/kvm", "widens")]),
        ({}, _files(protect=["x"]), [("filesystem.protect[x]", None, "x", "narrows")]),
        (
            {},
            _files(unprotect=[".git"]),
            [
                ("filesystem.protect[.git]", ".git", None, "widens"),
                ("filesystem.unprotect[.git]", None, ".git", "widens"),
            ],
        ),
        (
            {},
            {"process": {"allowed_binaries": ["git"]}},
            [("process.allowed_binaries", "everything", "git", "narrows")],
        ),
        (
            {},
            {"process": {"nested_sandboxes": True}},
            [("process.nested_sandboxes", "false", "true", "widens")],
        ),
        (
            {},
            {"process": {"limits": {"memory": "1GiB"}}},
            [("process.limits.memory", "unlimited", "1GiB", "narrows")],
        ),
        (
            {"process": {"limits": {"wall": "2h"}}},
            {"process": {"limits": {"wall": "3h"}}},
            [("process.limits.wall", "2h", "3h", "widens")],
        ),
        ({"process": {"limits": {"memory": "1024MiB"}}}, {"process": {"limits": {"memory": "1GiB"}}}, []),
        (
            {"environment": {"pass": ["A"]}},
            {"environment": {"pass": ["B"]}},
            [("environment.pass[A]", "A", None, "narrows"), ("environment.pass[B]", None, "B", "widens")],
        ),
        (
            {"environment": {"set": {"A": "x"}}},
            {"environment": {"set": {"A": "y"}}},
            [("environment.set[A]", "x", "y", "widens")],
        ),
        (_rules(), _rules(("/a", "none")), [("filesystem.rules[/a]", None, "none", "narrows")]),
        (_rules(), _rules(("/a", "write")), [("filesystem.rules[/a]", None, "write", "widens")]),
        (_rules(), _rules(("/a", "read")), [("filesystem.rules[/a]", None, "read", "neutral")]),
        (
            _rules(),
            _rules(("$WORKSPACE/a", "read")),
            [("filesystem.rules[${WORKSPACE}/a]", None, "read", "narrows")],
        ),
        (
            _rules(("/a", "none")),
            _rules(("/a", "none"), ("/a/b", "read")),
            [("filesystem.rules[/a/b]", None, "read", "widens")],
        ),
        (
            _rules(("/a", "none")),
            _rules(("/a", "read")),
            [
                ("filesystem.rules[/a]", "none", None, "widens"),
                ("filesystem.rules[/a]", None, "read", "widens"),
            ],
        ),
        (
            _rules(("/a", "write"), ("/a/b", "write")),
            _rules(("/a", "write")),
            [("filesystem.rules[/a/b]", "write", None, "widens")],
        ),
        (
            _rules(),
            _rules(("~/*.pem", "none")),
            [("filesystem.rules[${HOME}/*.pem]", None, "none", "narrows")],
        ),
    ],
)
def test_a_change_is_named_and_judged(
    before: dict[str, Any], after: dict[str, Any], expected: list[Any]
) -> None:
    assert changes(before, after) == expected


def test_only_destinations_of_the_proxy_take_effect_at_once() -> None:
    outbound = {"mode": "proxy", "outbound": [{"host": "a.b", "ports": [443]}]}
    found = diff(resolved({"network": {"mode": "proxy"}}), resolved({"network": outbound, "landlock": "off"}))
    assert [(c.section, c.mutability) for c in found] == [
        ("landlock", Mutability.STATIC),
        ("network", Mutability.LIVE),
    ]
    assert diff(resolved({}), resolved({"network": {"mode": "host"}}))[0].mutability is Mutability.STATIC


def test_presets_differ_as_their_comments_say() -> None:
    widened = [c for c in diff(load_preset("base"), load_preset("offline")) if c.effect is Effect.WIDENS]
    assert widened == []


@given(bodies(), bodies())
def test_the_other_way_round_is_mirrored(a: dict[str, Any], b: dict[str, Any]) -> None:
    one, two = resolved(a), resolved(b)
    there = {(c.field, c.before, c.after): c.effect for c in diff(one, two)}
    back = {(c.field, c.after, c.before): c.effect for c in diff(two, one)}
    assert there.keys() == back.keys()
    for key, effect in there.items():
        pair = {effect, back[key]}
        # What is not sure widens both ways; nothing narrows both ways.
        assert pair in ({Effect.WIDENS, Effect.NARROWS}, {Effect.NEUTRAL}, {Effect.WIDENS})


@given(bodies(), bodies())
def test_policies_without_a_change_are_the_same_policy(a: dict[str, Any], b: dict[str, Any]) -> None:
    one, two = resolved(a), resolved(b)
    assert (diff(one, two) == []) == (one.digest == two.digest)


@given(bodies(), bodies(), asked)
def test_without_a_widening_change_no_path_is_opened(a: dict[str, Any], b: dict[str, Any], path: str) -> None:
    one, two = resolved(a), resolved(b)
    assume(all(change.effect is not Effect.WIDENS for change in diff(one, two)))
    # Apart from everything that rules name, as diff assumes and docs/policy.md says.
    places = {"workspace": PurePath("/Z/w"), "home": PurePath("/Z/h"), "tmpdir": PurePath("/Z/t")}
    for anchored in (path, path.replace("/home/me", "$WORKSPACE"), path.replace("/home/me", "~")):
        spelled = anchored.replace("$WORKSPACE", "/Z/w")
        before, after = explain(one, spelled, **places), explain(two, spelled, **places)
        assert STRENGTH[after.access] <= STRENGTH[before.access]
