"""Denied files that the host makes or replaces while a sandbox runs: a limit, and it is said."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.integration.launcher.conftest import Bench

Eventually = Callable[[Callable[[], bool]], None]
MADE = "which the policy denies, was made: it is open to this sandbox now"
REPLACED = "which the policy denies, was replaced: it is open to this sandbox now"


def replace(bench: Bench, path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text("secret")
    give_to(fresh, bench.uid)
    fresh.rename(path)


def said(bench: Bench, rule: str, act: Callable[[], None]) -> tuple[str, str]:
    """What a workload that waits for `go` then read of ~/RULE, and what the launcher said."""
    script = f"while [ ! -e go ]; do sleep 0.02; done; cat ~/{rule}"
    with bench.start(bench.plan(("rule", "none", f"${{HOME}}/{rule}")), script) as process:
        act()
        (bench.workspace / "go").touch()
        return process.communicate(timeout=30)


@pytest.mark.parametrize("path", [".netrc", ".config/git/credentials", "a/b/c/d/token"])
def test_a_denied_file_that_is_made_later_is_said(bench: Bench, path: str) -> None:
    out, err = said(bench, path, lambda: bench.make(f"home/{path}", "secret") and None)
    assert out == "secret", "if this is closed, take the limit out of docs/threat-model.md"
    assert f"{bench.home}/{path}, {MADE}" in err


def test_a_denied_file_that_is_replaced_is_said(bench: Bench) -> None:
    secret = bench.make("home/.netrc", "secret")
    out, err = said(bench, ".netrc", lambda: replace(bench, secret))
    assert out == "secret", "if this is closed, take the limit out of docs/threat-model.md"
    assert f"{secret}, {REPLACED}" in err


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

    def act() -> None:
        bench.make("home/other", "x")
        secret.write_text("secret again")

    out, err = said(bench, ".netrc", act)
    assert out == ""
    assert "open to this sandbox" not in err


def test_looking_for_them_again_and_again_needs_no_memory(bench: Bench) -> None:
    """Each file that is made in a watched directory is an occasion, and a sandbox may live for weeks."""
    bench.make("home/ws/.env", "secret")
    absent = [("rule", "none", f"${{HOME}}/{'n' * 200}/{'m' * 200}/{i}") for i in range(250)]
    plan = bench.plan(("rule", "none", "${WORKSPACE}/.env"), *absent)
    done = bench.sh(plan, "for i in $(seq 300); do : > f; rm f; sleep 0.01; done")
    assert (done.returncode, done.stderr) == (0, "")
