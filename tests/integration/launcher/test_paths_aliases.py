"""One file under two names: bind mounts of the host, hard links, moves between mounts."""

import os
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

SECRET: Op = ("rule", "none", "${HOME}/.ssh")
GIT: Op = ("protect", ".git")


def bind(bench: Bench, source: str, place: str) -> str:
    bench.make(place)
    return f"mount --bind {bench.root}/{source} {bench.root}/{place}"


@pytest.mark.parametrize(
    ("source", "seen"),
    [("home/.ssh", "id"), ("home", ".ssh/id"), ("home/.ssh/deep", "id"), ("", "home/.ssh/id")],
)
@pytest.mark.parametrize("place", ["elsewhere", "home/ws/alias"])
def test_what_is_denied_is_denied_at_every_place_that_shows_it(
    bench: Bench, source: str, seen: str, place: str
) -> None:
    bench.make("home/.ssh/id", "secret")
    bench.make("home/.ssh/deep/id", "secret")
    prepare = bind(bench, source, place)
    script = f"cat {bench.root}/{place}/{seen} {bench.home}/.ssh/id"
    assert "secret" in bench.sh_after(prepare, bench.plan(), script).stdout
    done = bench.sh_after(prepare, bench.plan(SECRET), script)
    assert (done.stdout, done.stderr.count("Permission denied")) == ("", 2), done.stderr


def test_a_denied_file_is_denied_where_it_is_bound_over_another(bench: Bench) -> None:
    bench.make("home/.netrc", "secret")
    bench.make("home/ws/copy", "")
    prepare = f"mount --bind {bench.home}/.netrc {bench.workspace}/copy"
    done = bench.sh_after(prepare, bench.plan(("rule", "none", "${HOME}/.netrc")), "cat copy; echo x > copy")
    assert done.stdout == ""
    assert ("Permission denied" in done.stderr, "Read-only" in done.stderr) == (True, True), done.stderr


def test_a_protected_name_is_protected_where_a_writable_root_shows_it_again(bench: Bench) -> None:
    bench.make("home/ws/.git/config", "x")
    prepare = bind(bench, "home/ws/.git", "home/ws/deep/er/than/the/search/reads/alias")
    alias = "deep/er/than/the/search/reads/alias/config"
    assert bench.sh_after(prepare, bench.plan(), f"echo evil >> {alias}").stderr == ""
    done = bench.sh_after(prepare, bench.plan(GIT), f"echo evil > {alias}; touch deep/fine && echo fine")
    assert done.stdout == "fine\n"
    assert "Read-only" in done.stderr


def test_one_root_under_two_names_keeps_what_either_rule_closes(bench: Bench) -> None:
    bench.make("data/kept/f", "x")
    prepare = bind(bench, "data", "mirror")
    plan = bench.plan(
        ("rule", "write", f"{bench.root}/data"),
        ("rule", "write", f"{bench.root}/mirror"),
        ("rule", "read", f"{bench.root}/mirror/kept"),
    )
    done = bench.sh_after(
        prepare, plan, f"cd {bench.root}; echo evil > data/kept/f; touch data/g mirror/h && echo fine"
    )
    assert done.stdout == "fine\n", done.stderr
    assert (bench.root / "data/kept/f").read_text() == "x"


def test_a_place_that_a_rule_opens_by_name_stays_open(bench: Bench) -> None:
    bench.make("data/f", "text")
    prepare = bind(bench, "data", "given")
    plan = bench.plan(("rule", "none", f"{bench.root}/data"), ("rule", "read", f"{bench.root}/given"))
    plan_write = bench.plan(("rule", "none", f"{bench.root}/data"), ("rule", "write", f"{bench.root}/given"))
    assert bench.sh_after(prepare, plan, f"cat {bench.root}/given/f").stdout == "text"
    assert bench.sh_after(prepare, plan_write, f"touch {bench.root}/given/g && echo fine").stdout == "fine\n"


def hard_link(bench: Bench, source: Path, name: str) -> Path:
    link = bench.workspace / name
    link.parent.mkdir(parents=True, exist_ok=True)
    give_to(link.parent, bench.uid)
    os.link(source, link)
    return link


@pytest.mark.parametrize("name", ["key", "a/b/c/d/e/f/key"])
def test_another_name_of_a_denied_file_is_denied(bench: Bench, name: str) -> None:
    link = hard_link(bench, bench.make("home/.netrc", "secret"), name)
    assert bench.sh(bench.plan(), f"cat {name}").stdout == "secret"
    script = f"cat {name}; chmod 644 {name}; echo x > {name}; rm -f {name}"
    done = bench.sh(bench.plan(("rule", "none", "${HOME}/.netrc")), script)
    assert done.stdout == ""
    assert link.read_text() == "secret"


@pytest.mark.parametrize("protected", [".git/hooks/pre-commit", ".git/config", "Makefile"])
def test_another_name_of_a_protected_file_cannot_be_written(bench: Bench, protected: str) -> None:
    link = hard_link(bench, bench.make(f"home/ws/{protected}", "x"), "deep/er/alias")
    plan = bench.plan(GIT, ("protect", "Makefile"))
    done = bench.sh(
        plan,
        "cat deep/er/alias; echo evil > deep/er/alias; mv deep/er/alias x; touch deep/er/fine && echo fine",
    )
    assert done.stdout == "xfine\n"
    assert link.read_text() == "x"


def test_names_cannot_be_searched_for_in_a_closed_directory(bench: Bench) -> None:
    link = hard_link(bench, bench.make("home/.netrc", "secret"), "shut/key")
    link.parent.chmod(0)
    done = bench.sh(bench.plan(("rule", "none", "${HOME}/.netrc")), "chmod 755 shut; cat shut/key")
    link.parent.chmod(0o755)
    assert (done.returncode, done.stdout) == (125, "")
    assert "chmod u+rwx" in done.stderr


def test_what_is_closed_gets_no_new_name(bench: Bench) -> None:
    bench.make("home/ws/.git/config", "x")
    bench.make("home/ws/token", "secret")
    plan = bench.plan(GIT, ("rule", "none", "${WORKSPACE}/token"))
    script = """
    ln .git/config one; ln token two; ln -P .git/config .git/three
    /usr/bin/python3 -c 'import os; os.link("/proc/self/cwd/.git/config", "five", follow_symlinks=True)'
    ls -A
    """
    done = bench.sh(plan, script)
    assert done.stdout.split() == [".git", "token"], done.stdout
    assert done.stderr.count("Invalid cross-device link") == 3, done.stderr
    assert done.stderr.count("Read-only") == 1


def test_a_protected_parent_cannot_be_renamed_or_exchanged(bench: Bench) -> None:
    bench.make("home/ws/.vscode/settings.json", "{}")
    plan = bench.plan(("protect", ".vscode/settings.json"))
    exchange = "import ctypes; print(ctypes.CDLL(None).renameat2(-100, b'.vscode', -100, b'x', 2))"
    done = bench.sh(
        plan, f'mkdir x; mv .vscode y; mv -T x .vscode; /usr/bin/python3 -c "{exchange}"; rm -rf .vscode'
    )
    assert done.stdout == "-1\n"
    assert [path.name for path in (bench.workspace / ".vscode").iterdir()] == ["settings.json"]


def test_files_of_one_number_on_two_file_systems_are_both_found_by_their_other_names(bench: Bench) -> None:
    places = [bench.make(f"home/ws/{name}") for name in ("one", "two")]
    prepare = "\n".join(
        f"mount -t tmpfs -o mode=777 none {place}; echo secret > {place}/key; ln {place}/key {place}/other"
        for place in places
    )
    same = f"test $(stat -c %i {places[0]}/key) = $(stat -c %i {places[1]}/key)"
    plan = bench.plan(*(("rule", "none", f"${{WORKSPACE}}/{place.name}/key") for place in places))
    done = bench.sh_after(f"{prepare}\n{same}", plan, "cat one/key one/other two/key two/other")
    assert done.stdout == ""
    assert done.stderr.count("Permission denied") == 4, done
