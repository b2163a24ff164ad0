"""A link that a workload plants for the next launch leads nowhere: CVE-2026-87766 and its relatives.

Whatever mounts (bubblewrap of any version, or the inner stage), before the checks or right after them.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.faults.leftovers import tree
from tests.faults.tools import REPO
from tests.integration.launcher.conftest import Bench
from tests.support.bwraps import once_asked
from tests.support.plans import Op

PEERS = REPO / "build/peers/node_modules"
BWRAPS = {
    path.resolve()
    for path in (*map(Path, ("/usr/bin/bwrap", "/bin/bwrap")), *sorted(PEERS.rglob("codex-resources/bwrap")))
    if path.exists()
}
SHAPES: dict[str, tuple[str, list[Op]]] = {
    "a protected name": (".codex", [("protect", ".codex")]),
    "git": (".git", [("protect", ".git")]),
    "parts of git": (".git", [("protect-part", ".git", "hooks"), ("protect-part", ".git", "config")]),
    "agents": (".agents", [("protect", ".agents")]),
    "a file below it that is missing": (".codex", [("protect", ".codex/config.toml")]),
    "a deeper component": ("a/b", [("protect", "a/b/c/d")]),
    "the last component": ("a/b/c", [("protect", "a/b/c")]),
    "what a rule denies": ("private", [("rule", "none", "${WORKSPACE}/private/key")]),
    "what a rule makes read-only": ("vendor", [("rule", "read", "${WORKSPACE}/vendor")]),
    "what a rule lets write": ("cache", [("rule", "write", "${WORKSPACE}/cache/deep")]),
}


@pytest.fixture
def victim(bench: Bench) -> Path:
    bench.make("victim/kept", "mine")
    (bench.root / "victim").chmod(0o777)
    return bench.root / "victim"


def tools_and(bench: Bench, bwrap: Path, script: str | None = None) -> dict[str, str]:
    """A PATH with this bwrap, or `script` in its place that may start it, and no other."""
    directory = bench.make("tools")
    for tool in ("sh", "true", "mkdir", "touch", "ln", "mv", "rm"):
        (directory / tool).symlink_to(f"/usr/bin/{tool}")
    program = directory / "bwrap"
    if script is None:
        shutil.copy(bwrap, program)
    else:
        program.write_text(f"#!/bin/sh\n{once_asked(script, str(bwrap))}")
    program.chmod(0o755)
    give_to(program, bench.uid)
    return {"PATH": str(directory)}


@pytest.mark.parametrize("bwrap", sorted(BWRAPS), ids=lambda path: path.parent.name)
@pytest.mark.parametrize("target", ["/oldroot{victim}", "{victim}", "../../victim", "/oldroot/../..{victim}"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_planted_link_is_refused_by_name_and_nothing_is_made_where_it_leads(
    bench: Bench, victim: Path, shape: str, target: str, bwrap: Path
) -> None:
    place, ops = SHAPES[shape]
    link = bench.workspace / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target.format(victim=victim))
    for path in (link, *link.parents):
        if path.is_relative_to(bench.workspace):
            give_to(path, bench.uid)
    before = (tree(bench.workspace), tree(victim))
    done = bench.run(bench.plan(*ops), "sh", "-c", "mkdir x", env=tools_and(bench, bwrap))
    assert done.returncode == 125
    assert f"symlink below a writable directory: {link}" in done.stderr
    assert "  hint: remove the link" in done.stderr
    assert (tree(bench.workspace), tree(victim)) == before


@pytest.mark.parametrize("bwrap", sorted(BWRAPS), ids=lambda path: path.parent.name)
@pytest.mark.parametrize("mounts", ["inner", "bwrap"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_planted_after_the_checks_lets_nothing_run(
    bench: Bench, victim: Path, mounts: str, bwrap: Path, there: bool
) -> None:
    """What a flip between the checks and the mounts comes to, with the moment chosen: a bwrap that flips."""
    if there:
        bench.make("home/ws/.codex/config", "as it was")
    target = f"{bench.workspace}/.codex"
    swap = f"mv {target} {target}.aside; ln -s /oldroot{victim} {target}"
    before = tree(victim)
    env = tools_and(bench, bwrap, swap)
    done = bench.run(
        bench.plan(("protect", ".codex")),
        *("sh", "-c", "echo ran; touch .codex/x; rm .codex; mkdir .codex"),
        options=["--mounts", mounts],
        env=env,
    )
    assert (done.returncode, done.stdout) == (125, ""), done.stderr
    assert tree(victim) == before
    assert os.readlink(target) == f"/oldroot{victim}"
