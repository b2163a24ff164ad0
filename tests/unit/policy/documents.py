"""Policies for tests: a short way to write one down, and hypothesis strategies for valid ones."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from fleetbox.policy import PolicyInvalid, ResolvedPolicy, Violation, load_policy
from fleetbox.policy.merge import overlay, written
from fleetbox.policy.positions import Node, Position, Source
from fleetbox.policy.resolve import resolve
from fleetbox.policy.validate import validate

HEAD = "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: test}\n"
HEAD_LINES = HEAD.count("\n")


def policy_file(folder: Path, body: str, name: str = "policy.yml", head: str = HEAD) -> Path:
    path = folder / name
    path.write_text(head + body)
    return path


def load(folder: Path, body: str) -> ResolvedPolicy:
    return load_policy(policy_file(folder, body))


def violations(folder: Path, body: str, head: str = HEAD) -> tuple[Violation, ...]:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(policy_file(folder, body, head=head))
    return caught.value.violations


def rule(path: str, access: str, **filesystem: str) -> str:
    """A body with one rule, and further fields beside it."""
    more = "".join(f", {key}: {value}" for key, value in filesystem.items())
    return f'filesystem: {{rules: [{{path: "{path}", access: {access}}}]{more}}}'


def outbound(text: str) -> str:
    """A body with one destination."""
    return f"network: {{mode: proxy, outbound: [{{{text}}}]}}"


def only(folder: Path, body: str) -> Violation:
    """The one violation of a body."""
    found = violations(folder, body + "\n")
    assert len(found) == 1, found
    assert found[0].hint
    assert found[0].line > HEAD_LINES
    return found[0]


def resolved(document: dict[str, Any]) -> ResolvedPolicy:
    """The policy that plain data means, without a file: for properties, which need many."""
    head = {"apiVersion": "fleetbox/v1", "kind": "SandboxPolicy", "metadata": {"name": "test"}}
    found, problems = validate(_node(head | document))
    assert found is not None
    assert problems == []
    metadata = found.policy.metadata
    return resolve(overlay([written(found)]), name=metadata.name, description=metadata.description)


def _node(value: Any) -> Node:
    place = Position(Source("made", ()), 1, 1)
    if isinstance(value, dict):
        return Node(place, {key: _node(item) for key, item in value.items()}, dict.fromkeys(value, place))
    if isinstance(value, list):
        return Node(place, tuple(_node(item) for item in value))
    return Node(place, value)


# Few names, so that rules meet: the same path, above, below, under another spelling.
_names = st.sampled_from(["a", "b", "home", "me", "work", ".git", "hooks", ".ssh"])
_bases = st.sampled_from(["", "~", "$WORKSPACE", "$TMPDIR", "${HOME}", "/home/me", "/home/me/work"])
_tails = st.lists(_names, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
paths = st.builds(lambda base, tail: base + tail, _bases, _tails)
globs = st.builds(
    lambda base, pattern: base + pattern,
    _bases.filter(bool),
    st.sampled_from(["/*", "/**/a", "/?/b", "/**/.git", "/a/**/*", "/.*"]),
)
none_rules = st.builds(lambda path: {"path": path, "access": "none"}, paths | globs)
rules = none_rules | st.builds(
    lambda path, access: {"path": path, "access": access, "allow_home": True},
    paths,
    st.sampled_from(["read", "write"]),
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """The sections of a policy, any of them missing, none contradicting another."""
    network = draw(st.sampled_from(["none", "proxy", "host"]))
    outbound = [{"host": "*.Example.com", "ports": [443, 80, 80]}, {"host": "10.0.0.1", "ports": [1]}]
    sections: dict[str, Any] = {
        "filesystem": {
            "root": draw(st.sampled_from(["host", "minimal"])),
            "workspace": draw(st.sampled_from(["write", "read"])),
            "rules": draw(st.lists(rules, max_size=6)),
            "protect": draw(st.lists(st.sampled_from([".git", "b", "a/b/", "./work"]), max_size=3)),
            "unprotect": draw(st.lists(st.sampled_from([".git", ".codex"]), max_size=2)),
        },
        "network": {"mode": network, **({"outbound": outbound} if network == "proxy" else {})},
        "process": {
            "limits": draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "memory": st.sampled_from(["16384MiB", "16GiB", "1KiB", "1025KiB"]),
                        "wall": st.sampled_from(["90m", "1h30m", "24h", "1s"]),
                        "pids": st.integers(1, 4_194_304),
                    },
                )
            ),
            "unix_sockets": draw(st.sampled_from(["auto", "none", "private"])),
        },
        "devices": {
            "gpu": {
                "mode": draw(st.sampled_from(["none", "auto", "required"])),
                "select": draw(
                    st.sampled_from(["all", 0, [1, 0], "GPU-" + "0" * 8 + "-0000" * 3 + "-" + "0" * 12])
                ),
            },
            "allow": draw(
                st.lists(st.sampled_from(["/dev/kvm", "/dev//fuse", "/dev/dri/card0"]), max_size=2)
            ),
        },
        "environment": {
            "pass": draw(st.lists(st.sampled_from(["PATH", "LC_*", "HOME"]), max_size=3)),
            "set": draw(
                st.dictionaries(st.sampled_from(["A", "B"]), st.text("x\n\té", max_size=3), max_size=2)
            ),
        },
        "landlock": draw(st.sampled_from(["off", "best-effort", "required"])),
    }
    kept = draw(st.sets(st.sampled_from(sorted(sections))))
    return {name: section for name, section in sections.items() if name in kept}
