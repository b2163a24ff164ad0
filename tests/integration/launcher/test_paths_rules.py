"""The longest matching path decides, to any depth: directories, files, devices, roots inside roots."""

import os
import stat

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

WS = "${WORKSPACE}"
CYCLE = ("none", "write", "read", "write", "none", "read")


def chain(depth: int) -> list[str]:
    """a, a/b, ... as deep as asked for."""
    return ["/".join(f"d{i}" for i in range(level + 1)) for level in range(depth)]


@pytest.mark.parametrize("start", range(len(CYCLE)))
def test_access_alternates_to_any_depth(bench: Bench, start: int) -> None:
    places = chain(18)
    accesses = [CYCLE[(start + level) % len(CYCLE)] for level in range(len(places))]
    bench.make(f"home/ws/{places[-1]}")
    for place in places:
        bench.make(f"home/ws/{place}/f", "text")
    plan = bench.plan(
        *(("rule", access, f"{WS}/{place}") for access, place in zip(accesses, places, strict=True))
    )
    script = (
        "for p in "
        + " ".join(places)
        + """; do
        r=-; w=-; l=-
        [ "$(cat $p/f 2>/dev/null)" = text ] && r=r
        { echo text > $p/f; } 2>/dev/null && w=w
        ls $p >/dev/null 2>&1 && l=l
        echo "$r$w"
    done"""
    )
    done = bench.sh(plan, script)
    wanted = {"none": "--", "read": "r-", "write": "rw"}
    assert done.stdout.split() == [wanted[access] for access in accesses], done.stderr


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_denied_place_is_opened_for_one_thing_and_for_nothing_beside_it(bench: Bench, kind: str) -> None:
    for name in ("open", "openly", "ope", "shut"):
        bench.make(f"home/ws/no/{name}" + ("/f" if kind == "directory" else ""), name)
    plan = bench.plan(("rule", "none", f"{WS}/no"), ("rule", "read", f"{WS}/no/open"))
    suffix = "/f" if kind == "directory" else ""
    done = bench.sh(
        plan,
        f"cd no; ls; for n in open openly ope shut; do cat $n{suffix}; done; echo x > open{suffix}; ls -A ..",
    )
    assert done.stdout == "openno\n"
    assert "Read-only" in done.stderr


def test_a_denied_ancestor_of_a_writable_root_stays_denied(bench: Bench) -> None:
    bench.make("home/secret", "secret")
    bench.make("home/proj/other/f", "secret")
    bench.make("home/proj/mine/f", "text")
    plan = bench.plan(("rule", "none", "${HOME}"), ("rule", "write", "${HOME}/proj/mine"))
    script = """
    cat ~/secret ~/proj/other/f ~/proj/mine/f
    echo x > ~/proj/mine/g; echo fine > f; touch ~/new ~/proj/new; pwd
    """
    done = bench.sh(plan, script)
    assert done.stdout == f"text{bench.workspace}\n"
    assert (bench.home / "proj/mine/g").read_text() == "x\n"
    assert (bench.workspace / "f").read_text() == "fine\n"
    assert not (bench.home / "new").exists()


def test_roots_inside_roots_keep_what_each_closes(bench: Bench) -> None:
    for name in ("a/f", "a/in/f", "a/in/kept/f", "a/in/kept/deep/f"):
        bench.make(f"home/{name}", "x")
    plan = bench.plan(
        ("rule", "write", "${HOME}/a"),
        ("rule", "write", "${HOME}/a/in"),
        ("rule", "read", "${HOME}/a/in/kept"),
        ("rule", "write", "${HOME}/a/in/kept/deep"),
        ("protect", ".claude"),
    )
    script = """
    cd ~/a; for d in . in in/kept in/kept/deep; do echo y > $d/f; mkdir $d/.claude/x; done
    mv in out
    """
    done = bench.sh(plan, script)
    assert [(bench.home / f"a/{d}/f").read_text() for d in (".", "in", "in/kept", "in/kept/deep")] == [
        *("y\n", "y\n", "x", "y\n")
    ]
    assert "busy" in done.stderr
    assert list((bench.home / "a").rglob(".claude")) == []


def test_a_writable_file_is_a_root_of_its_own(bench: Bench) -> None:
    state = bench.make("home/.tool/state.json", "old")
    bench.make("home/.tool/other", "old")
    plan = bench.plan(("rule", "write", "${HOME}/.tool/state.json"), ("protect", ".git"))
    script = """
    cd ~/.tool; echo new > state.json; echo new > other
    rm -f state.json; mv state.json x; ln state.json y
    """
    done = bench.sh(plan, script)
    assert state.read_text() == "new\n"
    assert (state.parent / "other").read_text() == "old"
    assert sorted(path.name for path in state.parent.iterdir()) == ["other", "state.json"]
    assert done.stderr.count("Read-only") >= 1


def test_a_writable_file_below_a_denied_directory_is_all_that_is_seen_of_it(bench: Bench) -> None:
    bench.make("home/.tool/state.json", "old")
    bench.make("home/.tool/token", "secret")
    plan = bench.plan(("rule", "none", "${HOME}/.tool"), ("rule", "write", "${HOME}/.tool/state.json"))
    done = bench.sh(plan, "cd ~/.tool; echo new > state.json; cat state.json token; ls")
    assert done.stdout == "new\n"
    assert done.stderr.count("secret") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a device node")
@pytest.mark.parametrize("place", ["ws/node", "node", "no/node"])
def test_a_device_among_the_writable_roots_is_usable_and_its_neighbour_is_not(
    bench: Bench, place: str
) -> None:
    for name in (place, f"{place}-beside"):
        (bench.home / name).parent.mkdir(exist_ok=True)
        os.mknod(bench.home / name, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        (bench.home / name).chmod(0o666)
    deny: list[Op] = [("rule", "none", "${HOME}/no")] if place.startswith("no/") else []
    script = f"cd ~; head -c 4 {place} | od -An -c; head -c 4 {place}-beside"
    done = bench.sh(bench.plan(*deny, ("rule", "write", f"${{HOME}}/{place}")), script)
    assert done.stdout.split() == ["\\0"] * 4, done.stderr
    assert "Permission denied" in done.stderr or "No such file" in done.stderr


@pytest.mark.parametrize("access", ["none", "read"])
@pytest.mark.parametrize("levels", [1, 2, 5])
def test_what_is_missing_below_a_writable_root_cannot_be_made(bench: Bench, levels: int, access: str) -> None:
    place = "/".join(f"m{i}" for i in range(levels))
    bench.make("home/ws/there")
    plan = bench.plan(("rule", access, f"{WS}/there/{place}"))
    done = bench.sh(
        plan,
        f"mkdir -p there/{place}; echo x > there/m0/f; rmdir there/m0; mv there y; touch there/fine",
    )
    assert done.stderr.count("Read-only") + done.stderr.count("busy") >= 3, done.stderr
    assert [path.name for path in (bench.workspace / "there").iterdir()] == ["fine"]


def test_a_file_in_the_way_of_a_denied_path_cannot_become_a_directory(bench: Bench) -> None:
    blocker = bench.make("home/ws/a", "file")
    done = bench.sh(
        bench.plan(("rule", "none", f"{WS}/a/b/c")), "rm -f a; mv a x; mkdir -p a/b; echo x > a; cat a"
    )
    assert done.stdout == "file"
    assert blocker.read_text() == "file"


def test_what_is_missing_outside_writable_roots_is_said_and_cannot_be_made_inside(bench: Bench) -> None:
    plan = bench.plan(("rule", "none", "${HOME}/.netrc"))
    explained = bench.run(plan, options=["--explain"]).stdout
    later = "is not seen when it is made" if "inner" in bench.mounts else "can be read once it is made"
    assert f"{bench.home}/.netrc: does not exist, and {later}" in explained
    done = bench.sh(plan, "echo x > ~/.netrc")
    assert "Read-only" in done.stderr
    assert not (bench.home / ".netrc").exists(), (
        "no mountpoint is made in a directory that stays the user's own"
    )


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe\x80", b"x" * 255, b"\\040 \\", b"-rf", b" "])
def test_a_workspace_of_any_name_is_written_and_protected(bench: Bench, name: bytes) -> None:
    odd = os.path.join(os.fsencode(bench.home), name)
    os.mkdir(odd)
    os.mkdir(odd + b"/.git")
    for path in (odd, odd + b"/.git"):
        if os.geteuid() == 0:
            os.chown(path, bench.uid, bench.uid)
    plan = bench.plan(("protect", ".git"), ("protect", ".codex"), ("rule", "none", f"{WS}/a/b"))
    done = bench.run(
        plan, "sh", "-c", "echo x > f; echo evil > .git/f; mkdir .codex/x a/b", cwd=os.fsdecode(odd)
    )
    assert done.returncode != 125, done.stderr
    assert sorted(os.listdir(odd)) == [b".git", b"f"]
    assert os.listdir(odd + b"/.git") == []


@pytest.mark.parametrize("spare", [0, 1, 30, 200])
def test_a_workspace_at_the_longest_path_works_or_is_refused(bench: Bench, spare: int) -> None:
    limit = 4095 - spare
    at = os.open(bench.home, os.O_RDONLY)
    path = str(bench.home)
    while len(path) < limit:
        name = "d" * min(200, limit - len(path) - 1)
        if not name or len(path) + 1 + len(name) == limit - 1:
            break
        os.mkdir(name, dir_fd=at)
        if os.geteuid() == 0:
            os.chown(name, bench.uid, bench.uid, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
        path += f"/{name}"
    command = bench.command(
        bench.plan(("protect", ".git"), ("protect", ".codex")), "sh", "-c", "echo x > f; mkdir .codex/x"
    )
    done = bench.run_as(command, cwd="/", preexec_fn=lambda: os.fchdir(at))
    names = os.listdir(at)
    os.close(at)
    assert ".codex" not in names
    assert done.returncode == 125 or names == ["f"], done.stderr


@pytest.mark.parametrize("count", [100, 1000, 3000])
def test_thousands_of_rules_all_hold(bench: Bench, count: int) -> None:
    closed = list(range(0, count, max(1, count // 40)))
    for i in range(count):
        bench.make(f"home/ws/d{i % 40}/e{i}/f", "x") if i in set(closed) else None
    plan = bench.plan(*(("rule", "read" if i % 2 else "none", f"{WS}/d{i % 40}/e{i}") for i in range(count)))
    script = f"""
    for f in d*/e*/f; do echo evil > $f; done
    for i in {" ".join(map(str, closed))}; do cat d$((i % 40))/e$i/f; done
    """
    done = bench.sh(plan, script)
    assert done.returncode != 125, done.stderr
    assert all((bench.workspace / f"d{i % 40}/e{i}/f").read_text() == "x" for i in closed)
    assert done.stdout == "x" * sum(i % 2 for i in closed)
