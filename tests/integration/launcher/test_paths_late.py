"""Denied names that the host makes or replaces while a sandbox runs.

Where the inner stage mounts they stay unseen: the directory is shown as it was at launch. Where bubblewrap
does they can be read, which is said: there the tests show that each of these attempts would succeed.
"""

import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

Eventually = Callable[[Callable[[], bool]], None]
Act = Callable[[Bench], object]
MADE = "which the policy denies, was made: it is open to this sandbox now"
REPLACED = "which the policy denies, was replaced: it is open to this sandbox now"
RENAME_EXCHANGE = 2


def hides(bench: Bench) -> bool:
    return "inner" in bench.mounts


def replace(bench: Bench, path: Path, text: str = "secret") -> None:
    """As editors save: a new file, renamed over the old one."""
    fresh = bench.make("fresh", text)
    fresh.rename(path)


def exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def read_while(bench: Bench, ops: list[Op], path: str, act: Act) -> tuple[str, str]:
    """What a workload read of ~/PATH that tried without a pause before, while and after the host did ACT."""
    script = f"while [ ! -e go ]; do cat ~/{path}; done 2>&-; cat ~/{path} 2>&-"
    with bench.start(bench.plan(*ops), script) as process:
        act(bench)
        (bench.workspace / "go").touch()
        return process.communicate(timeout=30)


def check(bench: Bench, out: str, err: str, said: str) -> None:
    if hides(bench):
        assert out == ""
        assert "open to this sandbox" not in err
    else:
        assert "secret" in out, "if this is closed, take the limit out of docs/threat-model.md"
        assert said in err


DENIED = [".netrc", ".config/git/credentials", "a/b/c/d/token"]


@pytest.mark.parametrize("path", DENIED)
def test_a_denied_file_that_is_made_later(bench: Bench, path: str) -> None:
    rule: Op = ("rule", "none", f"${{HOME}}/{path}")
    out, err = read_while(bench, [rule], path, lambda bench: bench.make(f"home/{path}", "secret"))
    check(bench, out, err, f"{bench.home}/{path}, {MADE}")


@pytest.mark.parametrize("path", DENIED)
def test_a_denied_file_that_is_replaced(bench: Bench, path: str) -> None:
    secret = bench.make(f"home/{path}", "before")
    rule: Op = ("rule", "none", f"${{HOME}}/{path}")
    out, err = read_while(bench, [rule], path, lambda bench: replace(bench, secret))
    check(bench, out, err, f"{secret}, {REPLACED}")


@pytest.mark.parametrize("path", DENIED)
def test_a_denied_file_that_is_exchanged(bench: Bench, path: str) -> None:
    secret = bench.make(f"home/{path}", "before")
    other = bench.make("other", "secret")
    rule: Op = ("rule", "none", f"${{HOME}}/{path}")
    out, err = read_while(bench, [rule], path, lambda _: exchange(secret, other))
    check(bench, out, err, f"{secret}, {REPLACED}")


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_directory_on_the_way_that_is_moved_away_and_made_anew(bench: Bench, depth: int) -> None:
    path = "a/b/c/token"
    secret = bench.make(f"home/{path}", "before")
    moved = bench.home / Path(*Path(path).parts[:depth])

    def move(bench: Bench) -> None:
        moved.rename(bench.root / "away")
        bench.make(f"home/{path}", "secret")

    out, err = read_while(bench, [("rule", "none", f"${{HOME}}/{path}")], path, move)
    check(bench, out, err, f"{secret}, {REPLACED}")


@pytest.mark.parametrize("existed", [True, False])
def test_a_denied_directory_that_is_made_or_made_anew(bench: Bench, existed: bool) -> None:
    if existed:
        bench.make("home/.ssh/id", "before")

    def make(bench: Bench) -> None:
        if existed:
            (bench.home / ".ssh").rename(bench.root / "away")
        bench.make("home/.ssh/id", "secret")

    out, err = read_while(bench, [("rule", "none", "${HOME}/.ssh")], ".ssh/id", make)
    check(bench, out, err, f"{bench.home}/.ssh, {REPLACED if existed else MADE}")


def test_a_denied_link_that_becomes_a_directory(bench: Bench) -> None:
    target = bench.make("elsewhere/aws")
    link = bench.home / ".aws"
    link.symlink_to(target)

    def make(bench: Bench) -> None:
        link.unlink()
        bench.make("home/.aws/credentials", "secret")

    out, _ = read_while(bench, [("rule", "none", "${HOME}/.aws")], ".aws/credentials", make)
    assert ("secret" in out) != hides(bench)


def test_a_later_match_of_a_pattern(bench: Bench) -> None:
    bench.make("home/.bash_history", "before")
    ops: list[Op] = [("glob", "${HOME}", ".*_history")]

    def write(bench: Bench) -> None:
        bench.make("home/.psql_history", "secret")
        replace(bench, bench.home / ".bash_history")

    out, _ = read_while(bench, ops, ".*_history", write)
    assert ("secret" in out) != hides(bench)


def test_a_directory_that_the_host_shows_twice(bench: Bench) -> None:
    """The home is bound to another place, where the same names come later."""
    twice = bench.make("twice")
    script = (
        f"(read x < go; umask 077; echo secret > {bench.home}/.npmrc; echo done > came) >/dev/null 2>&1 &\n"
        f"mount --bind {bench.home} {twice}"
    )
    os.mkfifo(bench.workspace / "go")
    give_to(bench.workspace / "go", bench.uid)
    wait = f"echo > go; while [ ! -e came ]; do :; done; cat {twice}/.npmrc {bench.home}/.npmrc"
    done = bench.sh_after(script, bench.plan(("rule", "none", "${HOME}/.npmrc")), wait)
    assert done.stdout == "", done
    assert done.stderr.count("No such file" if hides(bench) else "Permission denied") == 2


def test_a_file_that_is_replaced_can_be_read_as_it_was(bench: Bench) -> None:
    settings = bench.make("home/.gitconfig", "before ")

    def save(bench: Bench) -> None:
        replace(bench, settings, "after ")
        bench.make("home/new", "new ")

    with bench.start(
        bench.plan(("rule", "none", "${HOME}/.netrc")),
        "while [ ! -e go ]; do cat ~/.gitconfig || exit; done > seen; cat ~/.gitconfig ~/new",
    ) as process:
        save(bench)
        (bench.workspace / "go").touch()
        out, err = process.communicate(timeout=30)
    assert out == ("before " if hides(bench) else "after new "), err
    if hides(bench):
        assert set((bench.workspace / "seen").read_text().split()) <= {"before"}


def test_a_denied_file_that_is_replaced_without_a_pause(bench: Bench) -> None:
    """Each launch refuses, or hides it."""
    secret = bench.make("home/.netrc", "secret")
    loop = (
        "import os, sys\n"
        "while True:\n"
        "    open(sys.argv[1], 'w').write('secret'); os.rename(sys.argv[1], sys.argv[2])"
    )
    settings = {"user": bench.uid, "group": bench.uid, "extra_groups": []} if os.geteuid() == 0 else {}
    words = ["/usr/bin/python3", "-c", loop, str(bench.make("loop") / "fresh"), str(secret)]
    plan = bench.plan(("rule", "none", "${HOME}/.netrc"))
    with subprocess.Popen(words, **settings) as writer:
        try:
            done = [bench.sh(plan, "for i in 1 2 3 4 5; do cat ~/.netrc; done; echo ran") for _ in range(20)]
        finally:
            writer.kill()
    if hides(bench):
        assert {run.stdout for run in done} <= {"", "ran\n"}
    assert all(run.returncode == 125 for run in done if not run.stdout), [run.stderr for run in done]


def test_a_denied_directory_covers_what_is_made_and_replaced_in_it(bench: Bench) -> None:
    secret = bench.make("home/.ssh/id", "secret")
    with bench.start(
        bench.plan(("rule", "none", "${HOME}/.ssh")), "read x < go; cat ~/.ssh/*", before="mkfifo go"
    ) as process:
        replace(bench, secret)
        os.close(os.open(bench.workspace / "go", os.O_WRONLY))
        out, err = process.communicate(timeout=30)
    assert out == ""
    assert "open to this sandbox" not in err


def test_other_files_of_the_directory_are_nobodys_business(bench: Bench) -> None:
    secret = bench.make("home/.netrc", "secret")

    def act(bench: Bench) -> None:
        bench.make("home/other", "x")
        secret.write_text("secret again")

    out, err = read_while(bench, [("rule", "none", "${HOME}/.netrc")], ".netrc", act)
    assert out == ""
    assert "open to this sandbox" not in err


def test_looking_for_them_again_and_again_needs_no_memory(bench: Bench) -> None:
    """Each file that is made in a watched directory is an occasion, and a sandbox may live for weeks."""
    bench.make("home/ws/.env", "secret")
    absent = [("rule", "none", f"${{HOME}}/{'n' * 200}/{'m' * 200}/{i}") for i in range(250)]
    plan = bench.plan(("rule", "none", "${WORKSPACE}/.env"), *absent)
    done = bench.sh(plan, "for i in $(seq 400); do : > f; rm f; sleep 0.01; done")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_stays_open_is_said_while_the_sandbox_runs(bench: Bench, eventually: Eventually) -> None:
    """In a writable root no directory is shown as it was."""
    said = bench.root / "said"
    ops: list[Op] = [
        ("rule", "write", str(bench.make("shared"))),
        ("rule", "none", f"{bench.root}/shared/key"),
    ]
    secret = bench.make("shared/key", "before")
    words = bench.command(
        bench.plan(*ops), "sh", "-c", "echo > ready; while [ ! -e go ]; do sleep 0.05; done"
    )
    settings = {"user": bench.uid, "group": bench.uid, "extra_groups": []} if os.geteuid() == 0 else {}
    env = {"PATH": os.environ["PATH"], "HOME": str(bench.home)}
    with (
        said.open("w") as log,
        subprocess.Popen(
            words, cwd=bench.workspace, stdin=subprocess.DEVNULL, stderr=log, env=env, **settings
        ) as process,
    ):
        try:
            eventually((bench.workspace / "ready").exists)
            replace(bench, secret)
            eventually(lambda: f"{secret}, {REPLACED}" in said.read_text())
        finally:
            (bench.workspace / "go").touch()
        assert process.wait(30) == 0
