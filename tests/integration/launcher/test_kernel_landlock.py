"""Landlock as the second layer: what it refuses when the mounts do not, and what goes on working under it."""

import os
import re
import shlex
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Plan

RANDOM_DEVICE = os.makedev(1, 8)
needs_strace = pytest.mark.skipif(
    subprocess.run(["sh", "-c", "strace -V"], capture_output=True, check=False).returncode != 0,
    reason="needs strace",
)


def redirected(bench: Bench, script: str, landlock: str) -> str:
    """What a file outside every writable place holds after `script` had it as its standard output."""
    log = bench.make("elsewhere/log", "")
    launch = shlex.join(bench.command(bench.plan(landlock=landlock), "sh", "-c", script))
    bench.run_as(["sh", "-c", f"{launch} > {log}"], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    return log.read_text()


@pytest.mark.parametrize(("landlock", "left"), [("off", "evil\n"), ("best-effort", "first\n")])
def test_a_redirected_descriptor_cannot_be_opened_again_for_writing(
    bench: Bench, landlock: str, left: str
) -> None:
    """Without Landlock the same attempt succeeds: no mount lies on the way to an open descriptor."""
    assert redirected(bench, "echo first; echo evil > /proc/self/fd/1", landlock) == left


def test_what_was_open_before_goes_on_working(bench: Bench) -> None:
    assert redirected(bench, "echo one; echo two >&1; sh -c 'echo three'", "required") == "one\ntwo\nthree\n"


def with_wrong_mounts(bench: Bench, plan: Plan, script: str) -> "subprocess.CompletedProcess[str]":
    """The launch with a root that can be written and holds devices: as a wrong list of mounts would."""
    line = bench.sh(plan, script, options=["--mounts", "bwrap", "--dry-run"]).stdout
    assert line.count(" --ro-bind / / ") == 1, line
    wrong = line.replace(" --ro-bind / / ", " --dev-bind / / ")
    return bench.run_as(["sh", "-c", wrong], cwd=bench.workspace, stdin=subprocess.DEVNULL)


WRITES = {
    "open": "echo x > file",
    "append": "echo x >> file",
    "create": "echo x > new",
    "unlink": "rm -f file",
    "rename": "mv file other",
    "mkdir": "mkdir new",
    "rmdir": "rmdir empty",
    "symlink": "ln -s file new",
    "hard link": "ln file new",
    "fifo": "mkfifo new",
    "truncate": "truncate -s 0 file",
    "move in": "mv $OLDPWD/mine .",
    "move out": "mv file $OLDPWD/",
}


@pytest.mark.parametrize("attempt", WRITES)
@pytest.mark.parametrize("landlock", ["off", "best-effort"])
def test_with_wrong_mounts_landlock_alone_refuses(bench: Bench, attempt: str, landlock: str) -> None:
    folder = bench.make("elsewhere/file", "kept").parent
    bench.make("elsewhere/empty")
    bench.make("home/ws/mine", "mine")
    before = [(path.name, path.stat().st_size) for path in sorted(folder.iterdir())]
    done = with_wrong_mounts(bench, bench.plan(landlock=landlock), f"cd {folder} && {WRITES[attempt]}")
    after = [(path.name, path.stat().st_size) for path in sorted(folder.iterdir())]
    assert (done.returncode == 0) is (landlock == "off"), done.stderr
    assert (before == after) is (landlock != "off")


GOES_ON = """
set -e
echo a > file; echo b >> file; mkdir -p one two; mv file one/; mv one/file two/; ln two/file one/; rm one/file
ln -s x link; mkfifo fifo; truncate -s 9 two/file; mv one three; rm -r two three link fifo
for d in /tmp /var/tmp /dev/shm; do echo x > $d/f; mv $d/f $d/g; rm $d/g; done
echo x > /dev/null; echo x > /dev/zero; (echo out > /dev/stdout; echo err > /dev/stderr) 2>&1 | cat
echo renamed > /proc/self/comm; echo 0 > /proc/self/oom_score_adj
head -c 3 /dev/urandom | wc -c
python3 -c 'import tempfile, mmap; f = tempfile.TemporaryFile(); f.truncate(9); mmap.mmap(f.fileno(), 9)'
python3 -c 'import os; d = os.memfd_create("x"); open(f"/proc/self/fd/{d}", "w").write("x")'
python3 -c 'import multiprocessing as m; m.SimpleQueue(); m.Semaphore()'
"""


@pytest.mark.parametrize("landlock", ["off", "required"])
def test_what_may_be_written_still_is(bench: Bench, landlock: str) -> None:
    done = bench.sh(bench.plan(landlock=landlock), GOES_ON)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\nerr\n3\n", "")


def faked(bench: Bench, plan: Plan, answer: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """A launch of `echo ran` in which the launcher's question about Landlock is answered `answer`."""
    command = bench.command(plan, "echo", "ran", options=options)
    inject = f"inject=landlock_create_ruleset:{answer}"
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=landlock_create_ruleset", "-e", inject]
    return bench.run_as([*strace, *command], cwd=bench.workspace, stdin=subprocess.DEVNULL)


REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15


@needs_strace
@pytest.mark.parametrize(
    ("abi", "without"),
    [
        (1, REFER | TRUNCATE | IOCTL_DEV),
        (2, TRUNCATE | IOCTL_DEV),
        (3, IOCTL_DEV),
        (4, IOCTL_DEV),
        (5, 0),
        (6, 0),
        (7, 0),
    ],
)
def test_only_what_the_kernel_knows_is_asked_of_it(bench: Bench, abi: int, without: int) -> None:
    """This kernel takes more: what an older one would refuse is seen in the request. The rest is real."""
    script = "echo x > a; mkdir d; rm a; rmdir d; echo x > /dev/null; ! echo x > /usr/x"
    line = bench.sh(bench.plan(landlock="required"), script, options=["--dry-run"]).stdout
    older = re.sub(r" --landlock \d+:(\d+) ", lambda found: f" --landlock {abi}:{found[1]} ", line)
    trace = bench.make("trace", "")
    strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=landlock_create_ruleset"]
    done = bench.run_as([*strace, "sh", "-c", older], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    (ruleset,) = [line for line in trace.read_text().splitlines() if "handled_access_fs" in line]
    assert fs_rights(ruleset) == 0xFFF2 & ~without


@needs_strace
@pytest.mark.parametrize(
    ("abi", "passed"),
    [(1, "--landlock 1:1"), (5, "--landlock 5:1"), (6, "--landlock 6:5"), (99, "--landlock 7:5")],
)
def test_what_the_kernel_says_decides(bench: Bench, abi: int, passed: str) -> None:
    done = faked(bench, bench.plan(landlock="required"), f"retval={abi}", "--dry-run")
    assert f" {passed} " in done.stdout, done


def fs_rights(ruleset: str) -> int:
    bits = {
        "EXECUTE": 0, "WRITE_FILE": 1, "READ_FILE": 2, "READ_DIR": 3, "REMOVE_DIR": 4, "REMOVE_FILE": 5,
        "MAKE_CHAR": 6, "MAKE_DIR": 7, "MAKE_REG": 8, "MAKE_SOCK": 9, "MAKE_FIFO": 10, "MAKE_BLOCK": 11,
        "MAKE_SYM": 12, "REFER": 13, "TRUNCATE": 14, "IOCTL_DEV": 15,
    }  # fmt: skip
    field = ruleset.partition("handled_access_fs=")[2].partition(",")[0].partition("}")[0]
    found = 0
    for word in field.split("|"):
        name = word.strip().removeprefix("LANDLOCK_ACCESS_FS_")
        found |= 1 << bits[name] if name in bits else int(name, 0)
    return found


@needs_strace
def test_a_kernel_that_would_refuse_every_move_is_left_to_the_mounts(bench: Bench) -> None:
    """ABI 1: any ruleset at all makes a rename to another directory fail."""
    assert "--landlock" not in faked(bench, bench.plan(), "retval=1", "--dry-run").stdout
    assert "Linux before 5.19" in faked(bench, bench.plan(), "retval=1", "--explain").stdout


@needs_strace
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("error=ENOSYS", "this kernel has no Landlock"),
        ("error=EOPNOTSUPP", "lsm="),
        ("error=EPERM", "seccomp"),
    ],
)
def test_required_and_not_there_is_refused(bench: Bench, answer: str, said: str) -> None:
    done = faked(bench, bench.plan(landlock="required"), answer)
    assert (done.returncode, done.stdout) == (125, "")
    assert "the policy has landlock: required" in done.stderr
    assert said in done.stderr
    best_effort = faked(bench, bench.plan(), answer)
    assert (best_effort.returncode, best_effort.stdout, best_effort.stderr) == (0, "ran\n", "")


def test_required_and_nested_sandboxes_exclude_each_other(bench: Bench) -> None:
    done = bench.run(bench.plan(landlock="required", nested="yes"), "true")
    assert done.returncode == 125
    assert "cannot mount" in done.stderr


def test_a_nested_sandbox_can_still_mount(bench: Bench) -> None:
    done = bench.sh(bench.plan(nested="yes"), "unshare -Urm sh -c 'mount -t tmpfs x /mnt && echo mounted'")
    assert done.stdout == "mounted\n", done.stderr


CONNECT = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect("\\0" + sys.argv[1]); print("connected")
except PermissionError: print("refused")
own = socket.socket(socket.AF_UNIX); own.bind("\\0own"); own.listen()
socket.socket(socket.AF_UNIX).connect("\\0own"); print("own")
"""


@pytest.mark.parametrize(("landlock", "said"), [("off", "connected"), ("best-effort", "refused")])
def test_an_abstract_socket_of_the_host_is_out_of_reach_even_on_the_hosts_network(
    bench: Bench, landlock: str, said: str
) -> None:
    plan = bench.plan(landlock=landlock, network="host", unix_sockets="private")
    with socket.socket(socket.AF_UNIX) as host:
        name = f"fleetbox-test-{os.getpid()}-{landlock}"
        host.bind(f"\0{name}")
        host.listen()
        done = bench.run(plan, "/usr/bin/python3", "-c", CONNECT, name)
    assert done.stdout == f"{said}\nown\n", done.stderr


IOCTL = """
import fcntl, os, sys
for mode in (os.O_RDONLY, os.O_RDWR):
    try:
        fd = os.open(sys.argv[1], mode)
        fcntl.ioctl(fd, 0x80045200, b"    ")  # RNDGETENTCNT
        print("works")
    except OSError as problem:
        print(problem.strerror)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_device_that_is_granted_keeps_its_ioctls_and_another_does_not(bench: Bench) -> None:
    """Stands for a GPU's node: only a driver that is there can answer."""
    node = bench.root / "node"
    os.mknod(node, stat.S_IFCHR | 0o666, RANDOM_DEVICE)
    give_to(node, bench.uid)
    words = ("/usr/bin/python3", "-c", IOCTL, str(node))
    granted = bench.run(bench.plan(("rule", "write", str(node)), landlock="required"), *words)
    assert granted.stdout == "works\nworks\n", granted
    tried = shlex.join(words)
    assert with_wrong_mounts(bench, bench.plan(landlock="off"), tried).stdout == "works\nworks\n"
    denied = with_wrong_mounts(bench, bench.plan(), tried)
    assert denied.stdout == "Permission denied\nPermission denied\n"


def test_explain_says_what_landlock_does(bench: Bench) -> None:
    said = bench.run(bench.plan(), options=["--explain"]).stdout
    assert "landlock  ABI " in said
    assert "writing only below what is writable" in said
    assert "switched off" in bench.run(bench.plan(landlock="off"), options=["--explain"]).stdout


def test_the_policy_of_a_link_that_was_planted_grants_nothing_behind_it(bench: Bench, tmp_path: Path) -> None:
    """`--writable` follows no link: what it names was opened without one."""
    target = bench.make("elsewhere/file", "kept").parent
    (bench.workspace / "link").symlink_to(target)
    line = bench.sh(bench.plan(), "true", options=["--dry-run"]).stdout
    wrong = line.replace(f"--writable {bench.workspace}", f"--writable {bench.workspace}/link")
    assert wrong != line
    done = bench.run_as(["sh", "-c", wrong], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert done.returncode == 125
    assert "Landlock cannot allow" in done.stderr
