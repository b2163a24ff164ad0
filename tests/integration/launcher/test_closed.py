"""What a workload closes with chmod in one sandbox must not count as absent in the next."""

import os
import shlex

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

SECRET = ("rule", "none", "${WORKSPACE}/private/key")
GLOB = ("glob", "${WORKSPACE}", "**/.env")
CACHE = ("rule", "write", "${HOME}/cache")
PART = ("protect-part", ".git", "hooks")
NAME = ("protect", ".codex")


@pytest.mark.parametrize(
    ("ops", "closed", "mode"),
    [
        ((SECRET,), "private", "000"),
        ((GLOB,), "a", "000"),
        ((GLOB,), "a", "400"),
        ((CACHE, NAME), "../cache", "000"),
        ((PART,), ".git", "000"),
    ],
)
def test_a_directory_the_workload_closed_is_a_refusal(
    bench: Bench, ops: tuple[Op, ...], closed: str, mode: str
) -> None:
    for path in ("ws/private/key", "ws/a/.env", "ws/.git/HEAD", "cache/f"):
        bench.make(f"home/{path}", "secret")
    plan = bench.plan(*ops)
    assert bench.run(plan, "chmod", mode, closed).returncode == 0
    done = bench.sh(plan, f"chmod 755 {closed}; cat private/key a/.env; echo evil > {closed}/x")
    assert done.returncode == 125, done.stdout
    assert "chmod u+rwx" in done.stderr
    (bench.workspace / closed).chmod(0o755)
    assert bench.run(plan, "true").returncode == 0


def test_a_workspace_closed_to_its_owner_gets_no_sandbox_without_protected_names(bench: Bench) -> None:
    bench.workspace.chmod(0o555)
    done = bench.sh(bench.plan(NAME), "chmod 755 .; mkdir .codex; echo evil > .codex/hooks")
    assert done.returncode == 125
    assert "chmod u+w" in done.stderr
    assert list(bench.workspace.iterdir()) == []


def test_mountpoints_that_cannot_be_removed_now_go_with_a_later_launch(bench: Bench) -> None:
    plan = bench.plan(NAME)
    assert bench.run(plan, "chmod", "555", ".").returncode == 0
    assert [path.name for path in bench.workspace.iterdir()] == [".codex"]
    bench.workspace.chmod(0o755)
    assert bench.run(plan, "true").returncode == 0
    assert list(bench.workspace.iterdir()) == []


def test_a_bwrap_of_roots_comes_before_one_that_lies_earlier_on_the_path(bench: Bench) -> None:
    bench.make("elsewhere/bwrap", "#!/bin/sh\necho planted\n").chmod(0o755)
    path = {"PATH": f"{bench.root}/elsewhere:/usr/bin:/bin"}
    done = bench.run(bench.plan(), "echo", "real", env=path)
    assert (done.returncode, done.stdout) == (0, "real\n")


@pytest.mark.parametrize("place", ["/dev", "/dev/shm", "/proc"])
def test_a_virtual_file_system_is_no_workspace(bench: Bench, place: str) -> None:
    done = bench.run(bench.plan(), "true", options=["--workspace", place])
    assert done.returncode == 125
    assert "cannot be a workspace" in done.stderr


def test_a_directory_as_standard_input_is_refused(bench: Bench) -> None:
    script = f"{shlex.join(bench.command(bench.plan(), 'cat', '/proc/self/fd/0/secret'))} < {bench.home}"
    bench.make("home/secret", "secret")
    done = bench.run_as(["sh", "-c", script], cwd=bench.workspace)
    assert (done.returncode, done.stdout) == (125, "")
    assert "descriptor 0 is a directory" in done.stderr


@pytest.mark.parametrize("wanted", ["a match", "another name"])
def test_a_search_that_runs_out_of_descriptors_is_a_refusal(bench: Bench, wanted: str) -> None:
    """A workload made the tree; the match lies where it is not looked for without a limit this low."""
    deep = "/".join("d" * 40)
    if wanted == "a match":
        secret = bench.make(f"home/tree/{deep}/id_key", "secret")
        plan = bench.plan(("glob", "${HOME}/tree", "**/id_key"))
    else:
        secret = bench.make(f"home/ws/{deep}/other", "secret")
        os.link(secret, bench.workspace / "key")
        plan = bench.plan(("rule", "none", "${WORKSPACE}/key"))
    command = bench.command(plan, "cat", str(secret))
    for limit, code in ((1024, 1), (36, 125)):
        done = bench.run_as(
            ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *command], cwd=bench.workspace
        )
        assert (done.returncode, done.stdout) == (code, ""), limit
    assert "cannot search" in done.stderr
    assert "ulimit -n" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory to another account")
@pytest.mark.parametrize("ops", [(GLOB,), (("rule", "none", "${WORKSPACE}/key"),)])
def test_a_directory_that_another_account_has_closed_keeps_nobody_from_working(
    bench: Bench, ops: tuple[Op, ...]
) -> None:
    """As a database in a container leaves one in a workspace, and every account does in a shared /tmp."""
    bench.make("home/ws/data/.env", "secret")
    os.link(bench.make("home/ws/key", "secret"), bench.workspace / "other")
    os.chown(bench.workspace / "data", 4711, 4711)
    (bench.workspace / "data").chmod(0o700)
    done = bench.sh(bench.plan(*ops), "chmod 755 data; cat data/.env; echo fine")
    assert (done.returncode, done.stdout) == (0, "fine\n")
