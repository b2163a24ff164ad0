"""A directory that is shown as it was at launch is as it was, whatever lies in it."""

import json
import os
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.integration.launcher.conftest import Bench
from tests.integration.launcher.test_mounts import wrapper
from tests.support.plans import Op

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
DENY: Op = ("rule", "none", "${HOME}/.netrc")
LATER = "while [ ! -e go ]; do sleep 0.02; done; cat ~/.netrc"
PROBE = """
import json, os, stat, sys
def seen(path):
    st = os.lstat(path)
    kind = [stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_uid, st.st_size]
    if stat.S_ISLNK(st.st_mode):
        return [os.fsdecode(os.readlink(path))]
    return kind if path == home else [*kind, st.st_dev, st.st_ino, st.st_nlink, st.st_mtime_ns]
home = os.fsencode(sys.argv[1])
names = sorted(os.listdir(home))
found = {os.fsdecode(name): seen(os.path.join(home, name)) for name in names}
st = os.stat(home)
print(json.dumps([found, st.st_mode, st.st_uid, st.st_gid]))
"""


def made_later(bench: Bench, plan_ops: list[Op], **head: str) -> tuple[str, str]:
    """What a launch reads of ~/.netrc when that was made after its start, and what it said."""
    with bench.start(bench.plan(*plan_ops, **head), LATER) as process:
        bench.make("home/.netrc", "secret")
        (bench.workspace / "go").touch()
        return process.communicate(timeout=30)


def fill(bench: Bench) -> None:
    for name in (b"a\nb", b"\xff\xfe", b"-rf $(x)`y`", b"x" * 255, b"\\040 ;"):
        path = Path(os.fsdecode(os.fsencode(bench.home) + b"/" + name))
        path.write_text("x")
        give_to(path, bench.uid)
    for name, mode in (("closed", 0), ("program", 0o755), ("shared", 0o664)):
        bench.make(f"home/{name}", "x").chmod(mode)
    for name, mode in (("shut", 0), ("odd", 0o1731)):
        bench.make(f"home/{name}").chmod(mode)
    os.mkfifo(bench.home / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(bench.home / "socket"))
    if os.geteuid() == 0:
        os.mknod(bench.home / "device", 0o20666, os.makedev(1, 3))
    for name in {"fifo", "socket", "device"} & {path.name for path in bench.home.iterdir()}:
        give_to(bench.home / name, bench.uid)
    for name, target in (("link", "program"), ("dangling", "/nowhere"), ("loop", "loop"), ("up", "../..")):
        (bench.home / name).symlink_to(target)


def test_everything_in_it_is_what_it_was(bench: Bench) -> None:
    fill(bench)
    bench.home.chmod(0o751)
    words = ["/usr/bin/python3", "-c", PROBE, str(bench.home)]
    outside = bench.run_as(words, cwd=bench.workspace, stdin=subprocess.DEVNULL)
    inside = bench.run(bench.plan(DENY), *words)
    assert "closed" in json.loads(outside.stdout)[0]
    assert json.loads(inside.stdout) == json.loads(outside.stdout)
    without = bench.sh(bench.plan(DENY), "wc -l < /proc/self/mountinfo").stdout
    assert int(without) > len(list(bench.home.iterdir())), "no snapshot was made"


def test_it_is_read_only_and_what_was_writable_is_so_still(bench: Bench) -> None:
    bench.make("home/plain/f", "x")
    bench.make("home/given/deep/f", "x")
    plan = bench.plan(
        DENY, ("rule", "write", "${HOME}/given"), ("rule", "none", "${HOME}/given/deep"), ("protect", ".git")
    )
    script = (
        "for p in ~/new ~/plain/new ~/given/deep/new .git/new; do touch $p; done; chmod 777 ~; rmdir ~/plain;"
        "mv ~/plain ~/x; touch ~/given/new new && cat ~/plain/f"
    )
    done = bench.sh(plan, script)
    assert done.stdout == "x", done.stderr
    assert done.stderr.count("Read-only file system") == 6, done.stderr
    assert (bench.home / "given/new").exists()
    assert (bench.workspace / "new").exists()


def test_what_is_mounted_in_it_comes_along(bench: Bench) -> None:
    bench.make("home/mnt/hidden", "x")
    bench.make("home/a/deep", None)
    prepare = (
        f"for d in mnt a/deep; do mount -t tmpfs t {bench.home}/$d; echo there > {bench.home}/$d/f; done"
    )
    done = bench.sh_after(prepare, bench.plan(DENY), "cat ~/mnt/f ~/a/deep/f; ls ~/mnt; touch ~/mnt/new")
    assert done.stdout == "there\nthere\nf\n"
    assert "Read-only" in done.stderr


SILENT = """
import ctypes, os, sys, time
place, owner, end = sys.argv[1:]
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40700,user_id={owner},group_id=0".encode()
if ctypes.CDLL(None).mount(b"none", place.encode(), b"fuse", 0, options) == 0:
    os.close(os.open(end + "-mounted", os.O_CREAT))
for _ in range(600):
    if os.path.exists(end): break
    time.sleep(0.1)
"""


@pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="needs root and FUSE")
@pytest.mark.parametrize("whose", ["the user's", "root's"])
def test_a_file_server_that_does_not_answer_is_not_asked(bench: Bench, whose: str) -> None:
    """Nor is one that answers another account only a reason to refuse."""
    silent, end = bench.make("home/silent"), bench.root / "end"
    bench.make("home/f", "seen")
    owner = bench.uid if whose == "the user's" else 0
    serve = shlex.join(["/usr/bin/python3", "-c", SILENT, str(silent), str(owner), str(end)])
    prepare = f"{serve} > /dev/null 2>&1 &\nuntil [ -e {end}-mounted ]; do kill -0 $!; sleep 0.05; done"
    try:
        done = bench.sh_after(prepare, bench.plan(DENY), "cat ~/f")
    finally:
        end.touch()
    assert done.stdout == "seen", done.stderr


def test_directories_in_it_are_live(bench: Bench) -> None:
    """Only the names of what holds something denied are kept as they were."""
    bench.make("home/project/src")
    with bench.start(
        bench.plan(DENY), "while [ ! -e go ]; do sleep 0.02; done; cat ~/project/new"
    ) as process:
        bench.make("home/project/new", "seen")
        (bench.workspace / "go").touch()
        assert process.communicate(timeout=30)[0] == "seen"


def test_one_in_another(bench: Bench) -> None:
    rules: list[Op] = [
        ("rule", "none", "${HOME}/.netrc"),
        ("rule", "none", "${HOME}/.config/gh"),
        ("rule", "none", "${HOME}/.config/git/credentials"),
        ("rule", "read", "${HOME}/.config/gh/open"),
        ("rule", "none", "${HOME}/.config/gh/open/not"),
    ]
    bench.make("home/.config/git/config", "config ")
    for name in ("git/credentials", "gh/hosts", "gh/open/not"):
        bench.make(f"home/.config/{name}", "secret")
    bench.make("home/.config/gh/open/yes", "open ")
    (bench.home / ".config").chmod(0o700)
    script = (
        "cat ~/.config/git/config ~/.config/gh/open/yes; stat -c %a ~/.config ~/.config/gh;"
        "cat ~/.config/git/credentials ~/.config/gh/hosts ~/.config/gh/open/not"
    )
    done = bench.sh(bench.plan(*rules), script)
    assert done.stdout == "config open 700\n111\n"
    assert done.stderr.count("Permission denied") + done.stderr.count("No such file") == 3, done.stderr


def test_a_second_name_of_a_denied_file_beside_it_is_closed(bench: Bench) -> None:
    secret = bench.make("home/.netrc", "secret")
    (bench.home / "copy").hardlink_to(secret)
    done = bench.sh(bench.plan(DENY), "cat ~/.netrc ~/copy")
    assert (done.stdout, done.stderr.count("Permission denied")) == ("", 2)


def test_the_workspace_and_the_current_directory_lie_in_one(bench: Bench) -> None:
    here = bench.make("home/code/project/here")
    plan = bench.plan(("rule", "none", "${HOME}/code/token"))
    words = ["--workspace", f"{bench.home}/code/project"]
    done = bench.sh(plan, "pwd; touch new; ls ..; ls ../..", options=words, cwd=here)
    assert done.stdout == f"{here}\nhere\nproject\n", done.stderr
    assert (here / "new").exists()


def test_a_workspace_that_is_only_read_is_none(bench: Bench) -> None:
    """Whoever reads along must see what is saved."""
    bench.make("home/ws/f", "before")
    plan = bench.plan(("glob", "${WORKSPACE}", "*.env"), mode="read-only")
    with bench.start(plan, "while [ ! -e go ]; do sleep 0.02; done; cat f") as process:
        bench.make("fresh", "after").rename(bench.workspace / "f")
        (bench.workspace / "go").touch()
        assert process.communicate(timeout=30)[0] == "after"


def test_a_directory_where_only_root_makes_names_is_none(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a directory of root's")
    roots = bench.make("roots")
    os.chown(roots, 0, 0)
    with bench.start(
        bench.plan(("rule", "none", f"{roots}/key")), f"while [ ! -e {roots}/new ]; do :; done"
    ) as process:
        (roots / "key").write_text("secret")
        (roots / "new").touch()
        _, err = process.communicate(timeout=30)
    assert f"{roots}/key, which the policy denies, was made" in err


def check_left(bench: Bench, why: str) -> None:
    out, err = made_later(bench, [DENY])
    assert out == "secret", why
    assert f"{bench.home}/.netrc, which the policy denies, was made: it is open to this sandbox now" in err


def test_one_with_too_many_names_is_left_and_said(bench: Bench) -> None:
    for number in range(1100):
        (bench.home / str(number)).touch()
    assert "skipped   " + str(bench.home) in bench.run(bench.plan(DENY), options=["--explain"]).stdout
    check_left(bench, "more mounts than a launch should have")
    done = bench.sh(bench.plan(DENY), "cat ~/.netrc")
    assert "Permission denied" in done.stderr


def test_a_thousand_names_are_not_too_many(bench: Bench) -> None:
    for number in range(1000):
        (bench.home / str(number)).touch()
    out, err = made_later(bench, [DENY])
    assert out == ""
    assert "open to this sandbox" not in err


def test_one_that_cannot_be_listed_is_left_and_said(bench: Bench) -> None:
    bench.home.chmod(0o311)
    check_left(bench, "its names are not known")


def test_fewer_descriptors_than_names_leave_it(bench: Bench) -> None:
    for number in range(200):
        (bench.home / str(number)).touch()
    words = bench.command(bench.plan(DENY), "true", options=["--explain"])
    line = f"ulimit -n 256; exec {shlex.join(words)}"
    done = bench.run_as(["sh", "-c", line], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert "skipped   " + str(bench.home) in done.stdout


def test_both_homes_are_kept(bench: Bench) -> None:
    bench.make("elsewhere/ws")
    passwd = bench.make("passwd", f"w:x:{bench.uid}:{bench.uid}::{bench.home}:/bin/sh\n")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(bench.root / "elsewhere")}
    done = bench.sh_after(
        f"mount --bind {passwd} /etc/passwd",
        bench.plan(DENY),
        f"grep -c '{bench.root}/elsewhere/\\|{bench.home}/' /proc/self/mountinfo; ls -d ~/ws {bench.home}/ws",
        env=env,
    )
    assert int(done.stdout.split()[0]) >= 2, done
    explained = bench.run(bench.plan(DENY), options=["--explain"]).stdout
    assert f"snapshot  {bench.home}  (" in explained


def test_it_is_said_what_is_one_and_what_is_not(bench: Bench) -> None:
    bench.make("home/.config/other", "x")
    rules: list[Op] = [DENY, ("rule", "none", "${HOME}/.config/gh"), ("rule", "none", "/etc/absent")]
    inner = bench.run(bench.plan(*rules), options=["--explain", "--mounts", "inner"]).stdout
    assert (
        f"snapshot  {bench.home}  (names as they are at launch: something denied may get another file)"
        in inner
    )
    assert f"snapshot  {bench.home}/.config  (" in inner
    assert f"{bench.home}/.netrc: does not exist, and is not seen when it is made" in inner
    assert "/etc/absent: does not exist, and can be read once it is made" in inner
    bwrap = bench.run(bench.plan(*rules), options=["--explain", "--mounts", "bwrap"]).stdout
    assert "snapshot" not in bwrap
    assert f"{bench.home}/.netrc: does not exist, and can be read once it is made" in bwrap


def test_a_printed_line_makes_the_same(bench: Bench) -> None:
    line = bench.run(bench.plan(DENY), "sh", "-c", "echo ready; " + LATER, options=["--dry-run"]).stdout
    settings = {"user": bench.uid, "group": bench.uid, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(
        ["dash", "-c", line],
        cwd=bench.workspace,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        **settings,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        bench.make("home/.netrc", "secret")
        (bench.workspace / "go").touch()
        assert process.communicate(timeout=30)[0] == ""


@needs_strace
@pytest.mark.parametrize("missing", ["openat2", "open_tree", "move_mount"])
def test_a_kernel_without_newer_calls_makes_the_same(bench: Bench, missing: str) -> None:
    bench.make("home/.config/gh/hosts", "secret")
    bench.make("home/.config/other", "other ")
    bench.make("home/.profile", "profile ")
    bench.make("home/.netrc", "secret")
    plan = bench.plan(DENY, ("rule", "none", "${HOME}/.config/gh"))
    script = (
        "cat ~/.profile ~/.config/other ~/.netrc ~/.config/gh/hosts; grep -c .profile /proc/self/mountinfo"
    )
    words = bench.command(plan, "sh", "-c", script, options=["--mounts", "inner"])
    done = bench.run_without(missing, words)
    if bench.bwrap_needs(missing):
        assert (done.returncode, done.stdout) == (125, "")
        return
    assert done.stdout == "profile other 1\n", done.stderr
    assert done.stderr.count("Permission denied") == 2


BETWEEN: dict[str, tuple[list[Op], str, str]] = {
    "a file": ([DENY], "echo secret > {home}/.netrc", ".netrc"),
    "a match": ([("glob", "${HOME}", ".*_history")], "echo secret > {home}/.new_history", ".new_history"),
    "a match below": ([("glob", "${HOME}", "*/*.key")], "echo secret > {home}/a/new.key", "a/new.key"),
    "a directory on the way": (
        [("rule", "none", "${HOME}/a/fresh/token")],
        "mv {root}/fresh {home}/a/fresh",
        "a/fresh/token",
    ),
    "a directory for a link": (
        [("rule", "none", "${HOME}/link/token")],
        "mv {home}/link {root}/away; mv {root}/fresh {home}/link",
        "link/token",
    ),
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_is_made_between_the_look_and_the_snapshot_is_not_part_of_it(bench: Bench, what: str) -> None:
    ops, act, path = BETWEEN[what]
    bench.make("fresh/token", "secret")
    bench.make("home/a/old.key", "old")
    bench.make("target/token", "old")
    (bench.home / "link").symlink_to(bench.root / "target")
    env = wrapper(bench, act.format(home=bench.home, root=bench.root))
    done = bench.sh(bench.plan(*ops), f"cat {bench.home}/{path}; echo ran", env=env)
    assert done.stdout == "ran\n", done.stderr
    assert (bench.home / path).read_text().strip() == "secret"
    assert "secret" in bench.sh(bench.plan(), f"cat {bench.home}/{path}").stdout


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        ("mv {root}/other {home}/.netrc", "another file is there than before"),
        ("mv {home}/.netrc {home}/beside", "it is no longer there"),
        ("mv {home} {root}/away; mv {root}/decoy {home}", "another file is there than before"),
    ],
)
def test_what_was_denied_and_has_moved_by_then_is_a_refusal(bench: Bench, act: str, problem: str) -> None:
    bench.make("home/.netrc", "secret")
    bench.make("other", "secret")
    bench.make("decoy/ws")
    env = wrapper(bench, act.format(home=bench.home, root=bench.root))
    done = bench.sh(bench.plan(DENY), "echo ran", env=env)
    assert (done.returncode, done.stdout) == (125, ""), done
    assert problem in done.stderr


def test_a_home_that_is_the_workspace_is_one_though_it_is_only_read(bench: Bench) -> None:
    with bench.start(
        bench.plan(DENY, mode="read-only"), "while [ ! -e ws/go ]; do :; done; cat .netrc", cwd=bench.home
    ) as process:
        bench.make("home/.netrc", "secret")
        (bench.workspace / "go").touch()
        assert process.communicate(timeout=30)[0] == ""


def test_in_a_minimal_root(bench: Bench) -> None:
    minimal = [("minimal", place) for place in ("/usr", "/bin", "/lib", "/lib64", "/etc")]
    plan_ops: list[Op] = [DENY, ("rule", "read", str(bench.home)), *minimal]
    out, err = made_later(bench, plan_ops, root="minimal")
    assert out == ""
    assert "No such file" in err
    assert "open to this sandbox" not in err
