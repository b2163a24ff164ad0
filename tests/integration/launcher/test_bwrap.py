"""Which bubblewrap is used, what happens without one, and what is said when it cannot make a sandbox."""

import os
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.bwraps import if_asked_for, once_asked

OLD_HELP = """usage: bwrap [OPTIONS...] [--] COMMAND [ARGS...]
    --as-pid-1 --new-session  x
    --die-with-parent  x
    --cap-drop CAP  x
    --remount-ro DEST  x
"""


def shim(directory: Path, script: str) -> Path:
    """A bwrap of our own; owned like the account, 0755, as a user's ~/bin would be."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def own(path: Path, uid: int) -> None:
    if os.geteuid() == 0:
        os.chown(path, uid, uid)


def path_with(*directories: Path) -> dict[str, str]:
    return {"PATH": ":".join([*map(str, directories), os.environ["PATH"]])}


def path_without_roots_bwrap(program: Path) -> dict[str, str]:
    """A PATH on which `program` is the only bwrap, beside what the tests' scripts run."""
    for tool in ("cat", "echo", "mkdir", "sh", "touch", "true"):
        (program.parent / tool).symlink_to(f"/usr/bin/{tool}")
    return {"PATH": str(program.parent)}


def test_a_bwrap_in_the_working_directory_is_ignored(bench: Bench) -> None:
    program = shim(bench.workspace / "bin", "echo mine; exit 0")
    own(program, bench.uid)
    plan = bench.plan(workspace="read")  # else the directory is ignored because it is writable
    done = bench.run(plan, "echo", "real", env=path_with(program.parent))
    assert done.stdout == "real\n"


def test_a_bwrap_below_a_writable_root_is_ignored(bench: Bench) -> None:
    program = shim(bench.make("home/tools"), "echo mine; exit 0")
    own(program, bench.uid)
    plan = bench.plan(("rule", "write", "${HOME}/tools"))
    done = bench.run(plan, "echo", "real", env=path_with(program.parent))
    assert done.stdout == "real\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_bwrap_that_others_can_replace_is_ignored(bench: Bench) -> None:
    program = shim(bench.root / "bin", "echo mine; exit 0")
    os.chown(program, 4711, 4711)
    assert bench.run(bench.plan(), "echo", "real", env=path_with(program.parent)).stdout == "real\n"
    own(program, bench.uid)
    program.chmod(0o775)
    assert bench.run(bench.plan(), "echo", "real", env=path_with(program.parent)).stdout == "real\n"


def test_without_any_bwrap_nothing_runs(bench: Bench) -> None:
    done = bench.run(bench.plan(), "/bin/echo", "ran", env={"PATH": "/nowhere"})
    assert (done.returncode, done.stdout) == (125, "")
    assert "no usable bwrap" in done.stderr
    assert "apt-get install bubblewrap" in done.stderr


def test_a_bwrap_that_fails_is_a_refusal_with_a_remedy_and_nothing_runs(bench: Bench) -> None:
    program = shim(bench.root / "bin", 'case "$1" in --help) exec /usr/bin/bwrap --help;; esac; exit 1')
    own(program, bench.uid)
    done = bench.run(bench.plan(("protect", ".git")), "echo", "ran", env=path_without_roots_bwrap(program))
    assert (done.returncode, done.stdout) == (125, "")
    assert "could not make the sandbox" in done.stderr
    assert "  hint: " in done.stderr
    assert list(bench.workspace.iterdir()) == []


def test_a_bwrap_that_is_too_old_names_the_version_that_is_not(bench: Bench) -> None:
    program = shim(bench.root / "bin", "echo '    --new-session  x'")
    own(program, bench.uid)
    done = bench.run(bench.plan(), "true", env=path_without_roots_bwrap(program))
    assert done.returncode == 125
    assert "has no --as-pid-1" in done.stderr
    assert "install bubblewrap 0.2.0 or newer" in done.stderr


def test_an_old_bwrap_is_asked_only_for_what_it_has_and_protects_all_the_same(bench: Bench) -> None:
    newer = r"--\(perms\|size\|disable-userns\|clearenv\|argv0\)$"
    help_text = f'case "$1" in --help) cat <<"E"\n{OLD_HELP}E\nexit;; esac\n'
    program = shim(bench.root / "bin", help_text + once_asked(if_asked_for(newer, "exit 99")))
    own(program, bench.uid)
    bench.make("home/ws/deny/f", "secret")
    bench.make("home/ws/denied-file", "secret")
    plan = bench.plan(
        ("protect", ".git"),
        ("rule", "none", "${WORKSPACE}/deny"),
        ("rule", "none", "${WORKSPACE}/denied-file"),
    )
    script = "cat deny/f denied-file; mkdir .git/x deny/x; echo fine > f; touch /dev/shm/x /tmp/x && cat f"
    done = bench.sh(plan, script, env=path_without_roots_bwrap(program))
    assert done.stdout == "fine\n", done
    assert done.stderr.count("Read-only") == 2
