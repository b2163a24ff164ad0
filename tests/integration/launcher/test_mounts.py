"""What the inner stage mounts: in a namespace of its own, exactly there, and with nothing left to undo it."""

import json
import os
import shlex
import shutil
import subprocess

import pytest

from tests.integration.launcher.conftest import Bench
from tests.integration.launcher.test_bwrap import own, path_without_roots_bwrap, shim
from tests.support.bwraps import once_asked, without
from tests.support.plans import Op

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make mounts")
needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
WHO = pytest.mark.parametrize("who", ["inner", "bwrap"])
DENIED: list[Op] = [("rule", "none", "${WORKSPACE}/a/secret"), ("protect", ".git")]


def wrapper(bench: Bench, script: str) -> dict[str, str]:
    """An environment whose bwrap does `script` between the launcher's last look and the first mount."""
    program = shim(bench.root / "bin", once_asked(script))
    own(program, bench.uid)
    for tool in ("mv", "ln"):
        (program.parent / tool).symlink_to(f"/usr/bin/{tool}")
    return path_without_roots_bwrap(program)


@needs_root
@pytest.mark.parametrize(("who", "arrives"), [("inner", False), ("bwrap", True)])
def test_what_the_host_mounts_later_does_not_appear_inside(bench: Bench, who: str, arrives: bool) -> None:
    """With bwrap alone it does: this is what the fallback cannot close."""
    place = bench.make("shared/sub").parent
    words = bench.command(
        bench.plan(),
        "sh",
        "-c",
        f"echo ready > here; until [ -e {place}/go ]; do sleep 0.02; done; ls {place}/sub",
        options=["--mounts", who],
    )
    drop = ["setpriv", f"--reuid={bench.uid}", f"--regid={bench.uid}", "--clear-groups"]
    script = (
        f'mount --bind {place} {place}; mount --make-shared {place}\n"$@" & launched=$!\n'
        "until [ -e here ]; do sleep 0.02; done\n"
        f"mount -t tmpfs late {place}/sub; echo x > {place}/sub/late; echo > {place}/go\nwait $launched\n"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script, "sh", *drop, *words],
        cwd=bench.workspace,
        env={"PATH": os.environ["PATH"], "HOME": str(bench.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "late\n" if arrives else ""), done.stderr


def test_a_mount_that_bwrap_left_writable_is_closed(bench: Bench) -> None:
    """As one is that the host makes between bwrap's last look and the inner stage's first."""
    outside = bench.make("outside")
    line = bench.run(bench.plan(), "touch", f"{outside}/new", options=["--dry-run"]).stdout
    late = line.replace(" --ro-bind / / ", f" --ro-bind / / --bind {outside} {outside} ")
    assert late != line
    done = bench.run_as(["dash", "-c", late], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize(
    ("place", "closed"), [("outside", {"ro", "nosuid", "nodev"}), ("home/ws/in", {"rw", "nosuid", "nodev"})]
)
def test_a_mount_that_bwrap_left_with_devices_is_closed(bench: Bench, place: str, closed: set[str]) -> None:
    """In what can be written it stays writable."""
    late = bench.make(place)
    show = f"while read _ _ _ _ at flags _; do [ $at = {late} ] && echo $flags; done < /proc/self/mountinfo"
    line = bench.run(bench.plan(), "sh", "-c", show, options=["--dry-run"]).stdout
    bound = line.replace(" --proc /proc ", f" --dev-bind {late} {late} --proc /proc ")
    assert bound != line
    done = bench.run_as(["dash", "-c", bound], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert closed <= set(done.stdout.strip().split(",")), done


FLIPS = {
    "another directory": "mv .git old; mv decoy .git",
    "a symlink": "mv .git old; ln -s decoy .git",
    "another directory on the way": "mv a old; mv decoy a",
    "a symlink on the way": "mv a old; ln -s decoy a",
    "nothing": "mv .git old",
    "another file": "mv a/secret old; mv decoy/secret a/secret",
}


@WHO
@pytest.mark.parametrize("flip", FLIPS)
def test_what_changed_since_it_was_looked_at_is_a_refusal(bench: Bench, flip: str, who: str) -> None:
    for name in ("a/secret", "decoy/secret", ".git/config"):
        bench.make(f"home/ws/{name}", "text")
    env = wrapper(bench, f"cd {bench.workspace} && {{ {FLIPS[flip]}; }}")
    done = bench.run(bench.plan(*DENIED), "echo", "ran", env=env, options=["--mounts", who])
    if who == "bwrap" and flip == "another file":
        return  # a mask has no identity of what is below it
    assert (done.returncode, done.stdout) == (125, ""), done
    assert "fleetbox-run: " in done.stderr
    if who == "inner":
        assert "is not protected as it should be" in done.stderr
        assert ("a symlink is on the way there" in done.stderr) is ("symlink" in flip)


def test_the_directory_it_works_in_is_entered_after_the_mounts(bench: Bench) -> None:
    """Entered before, it would be the one below what covers it: open for writing."""
    bench.make("home/ws/a/f", "text")
    plan = bench.plan(("rule", "read", "${WORKSPACE}/a"), ("rule", "none", "${WORKSPACE}/a/f"))
    options = ["--workspace", str(bench.workspace)]
    done = bench.sh(plan, "pwd; cat f; echo x > new", cwd=bench.workspace / "a", options=options)
    assert done.stdout == f"{bench.workspace}/a\n"
    assert "Permission denied" in done.stderr
    assert "Read-only" in done.stderr
    assert [path.name for path in (bench.workspace / "a").iterdir()] == ["f"]


@WHO
@pytest.mark.parametrize("nested", ["no", "yes"])
def test_no_capability_is_left(bench: Bench, who: str, nested: str) -> None:
    show = "for p in 1 self; do grep -E '^(Cap|NoNew)' /proc/$p/status; done"
    done = bench.sh(bench.plan(nested=nested), show, options=["--mounts", who])
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert {line.split()[1] for line in lines if line.startswith("Cap")} == {"0" * 16}
    assert {line.split()[1] for line in lines if line.startswith("NoNew")} == {"1"}


@pytest.mark.parametrize("part", ["setpcap", "inherited"])
def test_a_capability_that_cannot_be_given_up_is_a_refusal(bench: Bench, part: str) -> None:
    line = bench.run(bench.plan(), "echo", "ran", options=["--dry-run"]).stdout
    broken = {
        "setpcap": line.replace(" --cap-add CAP_SETPCAP", ""),
        "inherited": line.replace(" --cap-add CAP_SETPCAP", " --cap-add CAP_KILL"),
    }[part]
    assert broken != line
    done = bench.run_as(["dash", "-c", broken], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (125, "")
    assert "cannot give up all privileges" in done.stderr


def test_a_workload_can_undo_nothing_in_a_namespace_of_its_own(bench: Bench) -> None:
    bench.make("home/ws/a/secret", "text")
    bench.make("home/ws/.git/config", "mine")
    script = (
        "unshare --user --map-root-user --mount sh -c '"
        "umount a/secret; umount -l a; mount -o remount,rw,bind .git; umount -l /dev/shm; umount /tmp;"
        "echo x > .git/config; cat a/secret; ls -A /dev/shm'; echo done"
    )
    done = bench.sh(bench.plan(*DENIED, nested="yes"), script)
    assert done.stdout == "done\n", done
    assert (bench.workspace / ".git/config").read_text() == "mine"


COUNT = """
import json, os, sys
base, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
def reached(path):
    try:
        if kind == "read":
            open(os.path.join(path, "new"), "w")
        elif kind == "directory":
            os.listdir(path)
        else:
            open(path).read()
        return True
    except OSError:
        return False
paths = [os.path.join(base, str(number)) for number in range(count)]
print(json.dumps([sum(map(reached, paths)), sum(map(os.path.lexists, paths)), reached(base + "/free")]))
"""


@pytest.mark.parametrize("kind", ["directory", "file", "read"])
@pytest.mark.parametrize("count", [1000, 2000])
def test_thousands_of_rules_are_all_enforced(bench: Bench, count: int, kind: str) -> None:
    for number in (*range(count), "free"):
        bench.make(f"home/ws/r/{number}", "text" if kind == "file" else None)
    access = "read" if kind == "read" else "none"
    plan = bench.plan(*(("rule", access, f"${{WORKSPACE}}/r/{number}") for number in range(count)))
    done = bench.run(plan, "/usr/bin/python3", "-c", COUNT, f"{bench.workspace}/r", kind, str(count))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, count, True]


def test_more_grants_below_a_mask_than_descriptors(bench: Bench) -> None:
    """Their sources are opened before the mask covers them; the workload still has its caller's limit."""
    for number in range(300):
        bench.make(f"home/m/{number}/f", "x")
    plan = bench.plan(
        ("rule", "none", "${HOME}/m"), *(("rule", "read", f"${{HOME}}/m/{number}") for number in range(300))
    )
    words = bench.command(plan, "sh", "-c", f"cat {bench.home}/m/*/f; cat {bench.home}/m/299/f; ulimit -n")
    line = f"ulimit -S -n 100; exec {shlex.join(words)}"
    done = bench.run_as(["sh", "-c", line], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert done.stdout == "x100\n", done.stderr


@pytest.mark.parametrize("who", ["inner", "auto"])
def test_a_bwrap_that_gives_no_capability_is_used_the_old_way_and_remembered(bench: Bench, who: str) -> None:
    """As a setuid one, or one under AppArmor's profile for bwrap."""
    bench.make("home/ws/a/secret", "text")
    log = bench.make("log")
    env = wrapper(bench, f"echo >> {log}/calls\n{without('--cap-add')}")
    plan = bench.plan(*DENIED).write(bench.root / "plan", bench.uid)
    options = ["--mounts", who] if who != "auto" else []
    calls = []
    for _ in range(2):
        done = bench.sh(plan, "cat a/secret; mkdir .git/x; echo ran", env=env, options=options)
        calls.append((log / "calls").read_text().count("\n"))
        if who == "inner":
            assert (done.returncode, done.stdout) == (125, "")
            assert "leaves the inner stage no privilege to mount" in done.stderr
        else:
            assert done.stdout == "ran\n", done.stderr
            assert "Permission denied" in done.stderr
            assert "Read-only" in done.stderr
    assert calls == ([1, 2] if who == "inner" else [2, 3])


@needs_strace
@pytest.mark.parametrize("missing", ["openat2", "open_tree", "move_mount"])
def test_a_kernel_without_newer_calls_gives_the_same(bench: Bench, missing: str) -> None:
    for name in ("a/secret", "a/b/c", ".git/config"):
        bench.make(f"home/ws/{name}", "text")
    plan = bench.plan(*DENIED, ("rule", "none", "${WORKSPACE}/a/b"), ("rule", "read", "${WORKSPACE}/a/b/c"))
    script = "cat a/secret; cat a/b/c; mkdir .git/x"
    words = bench.command(plan, "sh", "-c", script, options=["--mounts", "inner"])
    done = bench.run_without(missing, words)
    if bench.bwrap_needs(missing):
        assert (done.returncode, done.stdout) == (125, "")
        return
    assert done.stdout == "text", done.stderr
    assert "Permission denied" in done.stderr
    assert "Read-only" in done.stderr


def test_an_unknown_way_to_mount_is_refused(bench: Bench) -> None:
    done = bench.run(bench.plan(), "true", options=["--mounts", "nobody"])
    assert done.returncode == 125
    assert "--mounts takes inner, bwrap or none" in done.stderr
