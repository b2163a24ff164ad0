"""Landlock alone, without bubblewrap: the same answers where the policy means the same, or a refusal."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleetbox.policy import load_policy
from fleetbox.targets.bubblewrap import Bubblewrap
from tests.conftest import give_to
from tests.integration.launcher.alone_scene import ATTEMPTS
from tests.integration.launcher.conftest import Bench
from tests.support.provision import HEAD

SCENE = Path(__file__).parent / "alone_scene.py"
PYTHON = "/usr/bin/python3"
NONE, INNER = ("--mounts", "none"), ("--mounts", "inner")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make mounts")
needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")

# Means the same without bubblewrap. Each test of a reason takes one word away.
EQUAL = """
mode: read-only
filesystem:
  tmp: none
  allow_host_mounts: true
  rules:
    - {path: ~/denied, access: none}
    - {path: ~/token, access: none}
    - {path: ~/a/b/secret, access: none}
    - {path: ~/absent/key, access: none}
    - {path: "$WORKSPACE/**/*.env", access: none}
network: {mode: host}
process: {allow_host_pids: true, unix_sockets: none}
"""


@dataclass(frozen=True)
class Alone:
    """The bench, with plans as the compiler makes them: filters and all."""

    bench: Bench
    folder: Path

    def plan(self, body: str = EQUAL) -> Path:
        """The launch plan, in a directory of the account's own."""
        source = self.folder / "policy.yml"
        source.write_text(HEAD.format(name="alone") + body)
        place = self.bench.root / "plan"
        place.mkdir(mode=0o700, exist_ok=True)
        for artifact in Bubblewrap().compile(load_policy(source)):
            (place / Path(artifact.path).name).write_bytes(artifact.data)
            (place / Path(artifact.path).name).chmod(0o600)
        for path in (place, *place.iterdir()):
            give_to(path, self.bench.uid)
        return place / "launch.plan"

    def command(self, *words: str, body: str = EQUAL, options: Sequence[str] = NONE) -> list[str]:
        return self.bench.command(self.plan(body), *words, options=options)

    def run(
        self, *words: str, body: str = EQUAL, options: Sequence[str] = NONE
    ) -> "subprocess.CompletedProcess[str]":
        return self.bench.run(self.plan(body), *words, options=options)

    def sh(self, script: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return self.run("sh", "-c", script, **settings)


@pytest.fixture
def alone(bench: Bench, tmp_path: Path) -> Alone:
    """Whatever is not said otherwise starts without bubblewrap."""
    return Alone(replace(bench, mounts=NONE), tmp_path)


# ---- the same attempts under both ----

# What `filesystem.allow_host_mounts` accepts, and nothing else of this list.
ACCEPTED = {"see the size of a denied file"}
# What a workload misses without bubblewrap; no rule of a policy promises it.
MISSED = {
    "make a file in /dev/shm",
    "make a terminal",
    "rename itself",
    "watch a directory of the workspace",
}
# What is seen wherever `process.allow_host_pids` takes effect, in bubblewrap as well.
WITH_HOST_PIDS = {"see a process", "list a process's descriptors"}


def scene(alone: Alone, *prefix: str, wrap: Sequence[str] = ()) -> dict[str, str]:
    """Every attempt's answer, with `prefix` between the scene and what tries."""
    home = alone.bench.home
    for child in (child for child in home.iterdir() if child.name != "ws"):
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    for child in alone.bench.workspace.iterdir():
        shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    words = [
        PYTHON,
        "-c",
        SCENE.read_text(),
        "around",
        str(home),
        *prefix,
        PYTHON,
        "-c",
        SCENE.read_text(),
        "inside",
    ]
    drop = ["setpriv", f"--reuid={alone.bench.uid}", f"--regid={alone.bench.uid}", "--clear-groups"]
    done = subprocess.run(
        [*wrap, *(drop if os.geteuid() == 0 else []), *words],
        cwd=alone.bench.workspace,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout)
    assert set(answers) == set(ATTEMPTS)
    return answers


def allowed(answers: dict[str, str]) -> set[str]:
    return {name for name, answer in answers.items() if answer == "ok"}


def test_every_attempt_succeeds_without_a_sandbox(alone: Alone) -> None:
    """Or what a sandbox refuses would be said of nothing."""
    answers = scene(alone)
    assert {name: answer for name, answer in answers.items() if answer != "ok"} == {}


def test_what_is_refused_in_bubblewrap_is_refused_without_it_and_the_rest_still_works(alone: Alone) -> None:
    with_bwrap = scene(alone, *alone.command(options=INNER))
    without = scene(alone, *alone.command(options=NONE))
    assert allowed(without) - allowed(with_bwrap) == ACCEPTED | WITH_HOST_PIDS
    assert allowed(with_bwrap) - allowed(without) == MISSED
    assert len(allowed(with_bwrap)) > 15, "or nothing worked at all"
    closed = {"read in /tmp", "make a file in /tmp", "read a denied file", "write in ws", "signal a process"}
    assert not closed & allowed(with_bwrap), "or both are wrong alike"


MASKED = ["unshare", "--mount", "sh", "-ec", 'mount --bind /dev/null /proc/cmdline; exec "$@"', "sh"]


@needs_root
def test_in_bubblewrap_with_the_hosts_processes_only_names_and_sizes_differ(alone: Alone) -> None:
    """The policy accepts them where no fresh /proc can be mounted: then both show the same."""
    with_bwrap = scene(alone, *alone.command(options=INNER), wrap=MASKED)
    without = scene(alone, *alone.command(options=NONE), wrap=MASKED)
    assert allowed(with_bwrap) >= WITH_HOST_PIDS
    assert allowed(without) - allowed(with_bwrap) == ACCEPTED


# ---- only where it is the same ----

REASONS = {
    "the host's mounts would be seen": EQUAL.replace("  allow_host_mounts: true\n", ""),
    "/tmp and /var/tmp could not be private": EQUAL.replace("  tmp: none\n", ""),
    "no loopback but the host's": EQUAL.replace("network: {mode: host}\n", ""),
    "the host's processes could be seen": EQUAL.replace("allow_host_pids: true, ", ""),
    "sockets of the host could be reached": EQUAL.replace("unix_sockets: none", "unix_sockets: private"),
    "no nested sandbox could be made": EQUAL.replace("process: {", "process: {nested_sandboxes: true, "),
    "process.limits.pids would count": EQUAL.replace("process: {", "process: {limits: {pids: 99}, "),
    "/home/ws could not be written": EQUAL.replace("mode: read-only\n", ""),
    "landlock is off": EQUAL + "landlock: 'off'\n",
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_a_policy_that_means_more_is_refused_with_what_would_be_less(alone: Alone, reason: str) -> None:
    assert REASONS[reason] != EQUAL
    done = alone.run("touch", "ran", body=REASONS[reason])
    assert done.returncode == 125
    assert "Landlock alone would be less than this policy: " in done.stderr
    assert reason in done.stderr
    assert not (alone.bench.workspace / "ran").exists()


def test_a_device_is_a_reason(alone: Alone) -> None:
    done = alone.bench.run(alone.bench.plan(("device", "/dev/zero")), "true")
    assert (done.returncode, "/dev/zero could not be used" in done.stderr) == (125, True)


def test_a_writable_rule_is_a_reason(alone: Alone) -> None:
    alone.bench.make("home/data")
    body = EQUAL.replace("mode: read-only\n", "").replace(
        "  rules:\n", "  workspace: read\n  rules:\n    - {path: ~/data, access: write}\n"
    )
    done = alone.run("true", body=body)
    assert (done.returncode, "home/data could not be written" in done.stderr) == (125, True)


def test_without_anything_writable_the_mode_does_not_matter(alone: Alone) -> None:
    body = EQUAL.replace("mode: read-only\n", "").replace("  tmp: none\n", "  tmp: none\n  workspace: read\n")
    done = alone.sh("! touch ran && cat file", body=body)
    assert done.returncode == 1, "there is no file"
    assert "Permission denied" in done.stderr or "Read-only" in done.stderr
    assert not (alone.bench.workspace / "ran").exists()


@needs_strace
@pytest.mark.parametrize(
    ("abi", "code"), [("retval=1", 125), ("retval=5", 125), ("error=ENOSYS", 125), ("retval=6", 0)]
)
def test_a_kernel_that_cannot_do_all_of_it_is_refused(alone: Alone, abi: str, code: int) -> None:
    command = alone.command("--explain", options=NONE)
    command.remove("--explain")
    command.insert(command.index("--"), "--explain")
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=landlock_create_ruleset"]
    done = alone.bench.run_as(
        [*strace, "-e", f"inject=landlock_create_ruleset:{abi}", *command[:-1]],
        cwd=alone.bench.workspace, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert ("before Linux 6.12" in done.stderr) is (code == 125)


@needs_strace
def test_a_kernel_that_takes_less_than_it_says_is_refused_inside(alone: Alone) -> None:
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=landlock_restrict_self"]
    done = alone.bench.run_as(
        [*strace, "-e", "inject=landlock_restrict_self:retval=0", *alone.command("touch", "ran")],
        cwd=alone.bench.workspace, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 125
    assert "Landlock does not keep signals inside" in done.stderr
    assert not (alone.bench.workspace / "ran").exists()


# ---- what stays closed, whatever happens beside it ----


def test_what_is_denied_stays_closed_when_it_is_made_or_replaced_later(
    alone: Alone, eventually: Callable[..., None]
) -> None:
    alone.bench.make("home/token", "old secret")
    script = "until test -s later; do sleep 0.02; done; cat ~/token ~/absent/key ~/new; cat later"
    with alone.bench.start(alone.plan(), script, before="cd .") as running:
        fresh = alone.bench.make("home/fresh", "new secret")
        fresh.replace(alone.bench.home / "token")
        alone.bench.make("home/absent/key", "made secret")
        alone.bench.make("home/new", "beside what is denied, and made later")
        alone.bench.make("home/ws/later", "the workspace is granted whole")
        out, err = running.communicate(timeout=20)
    assert out == "the workspace is granted whole", err


def test_what_matches_a_pattern_later_is_not_seen_as_in_bubblewrap(alone: Alone) -> None:
    alone.bench.make("home/keys/old.txt", "open\n")
    body = EQUAL.replace("  rules:\n", '  rules:\n    - {path: "~/keys/*.pem", access: none}\n')
    script = "until test -e later; do sleep 0.02; done; cat ~/keys/old.txt ~/keys/new.pem"
    for options in (NONE, INNER):
        (alone.bench.workspace / "later").unlink(missing_ok=True)
        bench = replace(alone.bench, mounts=options)
        with bench.start(alone.plan(body), script) as running:
            alone.bench.make("home/keys/new.pem", "secret")
            alone.bench.make("home/ws/later", "")
            out, err = running.communicate(timeout=20)
        assert (out, "new.pem" in err) == ("open\n", True)
        (alone.bench.home / "keys" / "new.pem").unlink()


def test_a_pattern_closes_what_matches_at_launch_under_every_name(alone: Alone) -> None:
    closed = alone.bench.make("home/ws/deep/er/x.env", "secret")
    (alone.bench.workspace / "other").hardlink_to(closed)
    alone.bench.make("home/ws/deep/file", "open")
    done = alone.sh("cat deep/file; cat deep/er/x.env other; ls deep")
    assert (done.stdout, done.returncode) == ("open", 2), done


@needs_root
def test_a_terminal_that_a_tree_elsewhere_shows_is_closed(alone: Alone) -> None:
    alone.bench.make("home/tree/pts")
    alone.bench.make("home/tree/dev")
    _, terminal = os.openpty()
    os.fchmod(terminal, 0o666)
    name = os.ttyname(terminal).rpartition("/")[2]
    prepare = f"""
        mount --bind /dev/pts {alone.bench.home}/tree/pts; mount -t devtmpfs none {alone.bench.home}/tree/dev
        : <{alone.bench.home}/tree/pts/{name} """
    done = alone.bench.sh_after(
        prepare, alone.plan(), f": < ~/tree/pts/{name} && echo open; : < ~/tree/dev/null && echo open"
    )
    assert (done.stdout, "Permission denied" in done.stderr) == ("", True), done


@needs_root
def test_what_is_denied_is_closed_under_a_bind_mount(alone: Alone) -> None:
    alone.bench.make("home/denied/key", "secret")
    alone.bench.make("home/other")
    home = alone.bench.home
    prepare = f"mount --bind {home}/denied {home}/other; cat {home}/other/key >&2"
    done = alone.bench.sh_after(prepare, alone.plan(), "cat ~/other/key ~/denied/key")
    assert done.stdout == ""
    assert done.stderr.count("Permission denied") == 2


@contextmanager
def moving(one: Path, other: Path) -> Iterator[None]:
    """Meanwhile a directory is moved to and fro by a process of the host."""
    ended = threading.Event()

    def move() -> None:
        while not ended.is_set():
            one.rename(other)
            other.rename(one)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("moved", ["a", "a/b", "a/b/secret"])
def test_a_directory_that_is_moved_meanwhile_never_opens_what_is_denied(alone: Alone, moved: str) -> None:
    """A rule belongs to a directory and not to its name: one granted under a passing name would stay open."""
    alone.bench.make("home/a/b/secret/key", "secret")
    alone.bench.make("home/a/b/beside", "open")
    place = alone.bench.home / moved
    script = "cat ~/a/b/secret/key ~/a2/b/secret/key ~/a/b2/secret/key ~/a/b/secret2/key; exit 7"
    line = alone.run("sh", "-c", script, options=(*NONE, "--dry-run")).stdout  # where all is in its place
    ended = set()
    with moving(place, place.with_name(place.name + "2")):
        for _ in range(40):
            done = alone.bench.run_as(["sh", "-c", line], cwd=alone.bench.workspace, stdin=subprocess.DEVNULL)
            assert "secret" not in done.stdout
            ended.add(done.returncode)
    assert ended <= {7, 125}, "it runs, or is refused because something changed"


# ---- lifetime ----


def alive(mark: str) -> list[str]:
    """Processes of the machine that have the mark among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                pass
    return found


CHAIN = """
import os, sys
if os.fork() == 0:
    os.setsid()
    while os.fork() == 0: pass
    os._exit(0)
"""
DAEMON = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    for number in set(range(1, 65)) - {9, 19, 32, 33}:
        signal.signal(number, signal.SIG_IGN)
    time.sleep(300)
"""


@pytest.mark.parametrize("left", [DAEMON, CHAIN], ids=["a daemon", "a chain of forks"])
def test_nothing_of_the_sandbox_outlives_the_workload(
    alone: Alone, left: str, request: pytest.FixtureRequest
) -> None:
    mark = f"mark-{os.getpid()}-{request.node.callspec.id.replace(' ', '-')}"
    done = alone.run(PYTHON, "-c", left, mark)
    assert done.returncode == 0, done.stderr
    assert alive(mark) == []


@pytest.mark.parametrize("killed", ["launcher", "inner stage", "workload"])
def test_nothing_of_the_sandbox_outlives_whoever_is_killed(
    alone: Alone, killed: str, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    mark = f"mark-{os.getpid()}-{killed.replace(' ', '-')}"
    place = alone.bench.make("home/ws/daemon.py", DAEMON)
    script = f"{PYTHON} {place} {mark}; {PYTHON} -c 'import time; time.sleep(300)' {mark}"
    with alone.bench.start(alone.plan(), script) as running:
        eventually(lambda: len(alive(mark)) >= 3)
        inner = int(Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()[0])
        workload = int(Path(f"/proc/{inner}/task/{inner}/children").read_text().split()[0])
        os.kill({"launcher": running.pid, "inner stage": inner, "workload": workload}[killed], signal.SIGKILL)
        running.wait(timeout=20)
    eventually(lambda: alive(mark) == [])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -TERM $$"), 143),
        (("/etc/passwd",), 126),
        (("nosuch",), 127),
    ],
)
def test_every_end_is_told_as_in_bubblewrap(alone: Alone, words: Sequence[str], code: int) -> None:
    assert alone.run(*words).returncode == alone.run(*words, options=INNER).returncode == code


def test_the_wall_clock_ends_everything(alone: Alone) -> None:
    body = EQUAL.replace("process: {", "process: {limits: {wall: 1s}, ")
    assert alone.sh("sleep 60 & sleep 60", body=body).returncode == 124


# ---- what is said of it ----


def test_explain_says_what_takes_bubblewraps_place(alone: Alone) -> None:
    said = alone.run("true", options=(*NONE, "--explain")).stdout
    assert "alone     no bubblewrap and no namespace: Landlock and seccomp" in said
    assert "pids      the host's" in said
    assert "reading only what is open, writing nothing" in said
    assert "absent/key  (rule; it does not exist, and stays closed once it is made)" in said
    assert "can be read once it is made" not in said


def test_explain_says_whether_it_could(alone: Alone) -> None:
    inner = ("--mounts", "inner", "--explain")
    assert "fallback  Landlock alone" in alone.run("true", options=inner).stdout
    private = EQUAL.replace("  tmp: none\n", "")
    said = alone.run("true", body=private, options=inner).stdout
    assert "fallback  none  (/tmp and /var/tmp could not be private)" in said
    assert "fallback" not in alone.run("true", body="", options=inner).stdout


@pytest.mark.parametrize("variable", ["LD_LIBRARY_PATH", "PLAIN"])
def test_a_printed_command_runs_the_same_sandbox(alone: Alone, variable: str) -> None:
    alone.bench.make("home/denied/key", "secret")
    body = EQUAL + f"environment: {{pass: [PATH, HOME], set: {{{variable}: 'two words'}}}}\n"
    script = f"cat ~/denied/key; touch x; printenv {variable}; exit 7"
    line = alone.run("sh", "-c", script, body=body, options=(*NONE, "--dry-run")).stdout
    done = alone.bench.run_as(["sh", "-c", line], cwd=alone.bench.workspace, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (7, "two words\n"), done
    assert done.stderr.count("denied") == 3, done.stderr
