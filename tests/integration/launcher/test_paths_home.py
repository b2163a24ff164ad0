"""~ means $HOME, and for what is denied the home of the account as well."""

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

SECRET: Op = ("rule", "none", "${HOME}/.ssh")


def with_account(bench: Bench) -> str:
    """Shell lines that give the workload's account a passwd entry: its home is `bench.home`."""
    bench.make("home/.ssh/id", "secret")
    bench.make("home/.env", "secret")
    passwd = bench.make(
        "passwd", f"root:x:0:0::/root:/bin/sh\nw:x:{bench.uid}:{bench.uid}::{bench.home}:/bin/sh\n"
    )
    return f"mount --bind {passwd} /etc/passwd"


@pytest.mark.parametrize("home", ["", "/", "elsewhere", "not-there", "relative"])
def test_a_denied_place_in_the_accounts_home_stays_denied_whatever_home_says(bench: Bench, home: str) -> None:
    prepare = with_account(bench)
    bench.make("elsewhere/.ssh/id", "decoy")
    env = {"PATH": "/usr/bin:/bin"}
    if home:
        env["HOME"] = home if home == "relative" else str(bench.root / home)
    read = f"cat {bench.home}/.ssh/id {bench.home}/.env"
    plan = bench.plan(SECRET, ("glob", "${HOME}", "*.env"))
    done = bench.sh_after(prepare, plan, read, env=env)
    assert (done.stdout, done.stderr.count("Permission denied")) == ("", 2), done.stderr
    assert bench.sh_after(prepare, bench.plan(), read, env=env).stdout == "secretsecret"


def test_both_homes_are_closed(bench: Bench) -> None:
    prepare = with_account(bench)
    bench.make("elsewhere/.ssh/id", "decoy")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(bench.root / "elsewhere")}
    done = bench.sh_after(
        prepare, bench.plan(SECRET), f"cd {bench.root}; cat home/.ssh/id elsewhere/.ssh/id", env=env
    )
    assert (done.stdout, done.stderr.count("Permission denied")) == ("", 2)


def test_a_held_back_place_in_the_accounts_home_is_not_writable(bench: Bench) -> None:
    prepare = with_account(bench)
    bench.make("home/ws/kept/f", "x")
    bench.make("elsewhere/ws/kept")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(bench.root / "elsewhere")}
    done = bench.sh_after(
        prepare,
        bench.plan(("rule", "read", "${HOME}/ws/kept")),
        "echo > kept/f; echo > g && echo fine",
        env=env,
    )
    assert done.stdout == "fine\n"
    assert "Read-only" in done.stderr


def test_a_write_rule_follows_home_only(bench: Bench) -> None:
    prepare = with_account(bench)
    bench.make("home/cache")
    bench.make("elsewhere/cache")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(bench.root / "elsewhere")}
    script = f"cd {bench.root}; touch elsewhere/cache/f && echo fine; touch home/cache/f"
    done = bench.sh_after(prepare, bench.plan(("rule", "write", "${HOME}/cache")), script, env=env)
    assert done.stdout == "fine\n"
    assert "Read-only" in done.stderr


def test_a_workspace_that_holds_the_accounts_home_is_too_broad(bench: Bench) -> None:
    prepare = with_account(bench)
    bench.make("elsewhere")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(bench.root / "elsewhere")}
    done = bench.sh_after(f"{prepare}\ncd {bench.home}", bench.plan(), "true", env=env)
    assert done.returncode == 125
    assert "too broad" in done.stderr
