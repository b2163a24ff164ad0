"""What a launch costs: `fleetbox-run -- true` against raw bubblewrap with the same operations.

The raw command is what `--mounts bwrap --dry-run` prints, with the inner stage cut out: bwrap makes every
mount, loads the same seccomp filter itself (`--seccomp`) and executes `true`. So the ratio is the price of
everything that the launcher does beyond bwrap: reading and checking the launch plan, locks, mountpoints, the
parent, and the inner stage with its mounts, verification and Landlock. In most rows every protected name
exists in the workspace, as in a repository. One row launches in an empty workspace, where each missing name
costs a mountpoint made before and removed after, for which raw bwrap has no counterpart: it leaves them
behind. Another launches in one with a thousand directories, which are searched for nested repositories.

All rows of a table are interleaved in one process list in random order, because machines are noisy: trust
ratios of medians, not milliseconds. Codex and srt run their own default policies; they are a row when `codex`
and `srt` are on PATH or below build/peers (`make bench-peers`). "/dev prepared" is what bwrap would save with
a /dev that root made once: without a private devpts, so no program inside could open a terminal.

Then: the rules of policies/base.yml in homes of several sizes, where a launch shows the home as it is at that
moment and pays for each name in it (docs/adr/0006); how the cost grows with the number of rules of each kind,
beside raw bubblewrap's own; and peak memory.
"""

import argparse
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from bench.rows import Row, interleave, table  # noqa: E402  (the path is made just above)
from fleetbox.policy import load_policy  # noqa: E402
from fleetbox.targets.bubblewrap import launch_plan  # noqa: E402
from tests.support.plans import ALLOW_ALL, Op, Plan  # noqa: E402

# Not the tests' account: they remove its state when they end.
UID = 23456 if os.geteuid() == 0 else os.geteuid()
PROTECTED = (".git", ".codex", ".agents", ".claude", ".aws")
SIZES = (1, 10, 100, 1000)
HOMES = (10, 40, 150)
# What each kind of rule is about: access, and the place of rule number N.
KINDS = {
    "denied directories": ("none", "${HOME}/directories-{count}"),
    "denied files": ("none", "${HOME}/files-{count}"),
    "read-only in the workspace": ("read", "${WORKSPACE}/read"),
}
# Decides nothing: it gives the filter the length of a real one.
_LOAD_NUMBER = bytes.fromhex("2000000000000000")
PEERS = REPO / "build" / "peers" / "node_modules" / ".bin"
SHELL_SAFE_FDS = re.compile(r"^[0-9]<")
NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}


def bench_plan(kind: str = "", count: int = 0) -> Plan:
    """The operations of the presets: masks, protected names, a denied directory; `count` rules of a kind."""
    ops: list[Op] = [("protect", name) for name in PROTECTED]
    ops += [("mask", "/run"), ("keep", "/etc/resolv.conf"), ("rule", "none", "${HOME}/.ssh")]
    if kind:
        access, place = KINDS[kind]
        place = place.replace("{count}", str(count))
        ops += [("rule", "read", "${HOME}")]  # it lies in a directory that is private otherwise
        ops += [("rule", access, f"{place}/{number}") for number in range(count)]
    return Plan(ops, filter=_LOAD_NUMBER * 70 + ALLOW_ALL)


def base_rules() -> list[Op]:
    """What policies/base.yml says of the home directory."""
    operations = launch_plan(load_policy(REPO / "policies" / "base.yml"))
    return [(one.op, *one.arguments()) for one in operations if one.op in ("rule", "glob")]


def raw_command(name: str, launcher: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Row:
    """The printed command without the inner stage; where none is printed, a command that says why."""
    done = subprocess.run(
        [*launcher, "--mounts", "bwrap", "--dry-run", "--", "true"],
        cwd=cwd,
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return Row(name, ["sh", "-c", 'echo "$1" >&2; exit 1', "sh", done.stderr.splitlines()[0]], env)
    words = shlex.split(done.stdout)
    files = {int(word[0]): word[2:] for word in words if SHELL_SAFE_FDS.match(word)}
    words = [word for word in words if not SHELL_SAFE_FDS.match(word)]
    start = next(index for index, word in enumerate(words) if word.endswith("/bwrap"))
    variables = dict(word.split("=", 1) for word in words[2:start])
    operations = words[start : words.index("--")]
    filter_fd = int(words[words.index("--filter-fd") + 1])
    argv = [*operations, "--seccomp", str(filter_fd), "--", "true"]
    return Row(name, argv, variables, {filter_fd: files[filter_fd]})


def with_prepared_dev(raw: Row, dev: Path) -> Row:
    words = list(raw.argv)
    at = words.index("--dev")
    words[at : at + 2] = ["--dev-bind", str(dev), "/dev"]
    return replace(raw, name="bwrap, /dev prepared, no devpts", argv=words, samples=[])


def peers(env: Mapping[str, str], home: Path) -> tuple[list[Row], list[str]]:
    """Rows for what is installed, names of what is not."""
    settings = home / "srt.json"
    settings.write_text(
        '{"network":{"allowedDomains":[],"deniedDomains":[]},'
        '"filesystem":{"denyRead":[],"allowWrite":["."],"denyWrite":[]}}'
    )
    commands = {
        "codex sandbox": ("codex", ["sandbox", "--", "true"]),
        "srt": ("srt", ["--settings", str(settings), "true"]),
    }
    rows, absent = [], []
    for name, (program, arguments) in commands.items():
        found = shutil.which(program, path=f"{PEERS}:{env['PATH']}")
        if found:
            rows.append(Row(name, [found, *arguments], env, may_fail=True))
        else:
            absent.append(name)
    return rows, absent


class Scene:
    """A home with workspaces and something for every rule to be about; the unprivileged account's."""

    def __init__(self, home: Path, program: Path) -> None:
        self.home, self.program = home, program
        self.workspace, self.empty, self.large = home / "ws", home / "empty", home / "large"
        self.dev = home / "dev"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home)}

    def make(self) -> None:
        for protected in PROTECTED:
            (self.workspace / protected / "inside").mkdir(parents=True)
            (self.large / protected / "inside").mkdir(parents=True)
        self.empty.mkdir()
        for size in SIZES:
            (self.home / f"files-{size}").mkdir()
            for number in range(size):
                (self.home / f"directories-{size}" / str(number)).mkdir(parents=True)
                (self.home / f"files-{size}" / str(number)).touch()
        for number in range(SIZES[-1]):
            (self.large / "read" / str(number)).mkdir(parents=True)
        for names in HOMES:
            self.make_home(names)
        self._make_dev()
        self.home.chmod(0o755)

    def _make_dev(self) -> None:
        for name in ("shm", "pts"):
            (self.dev / name).mkdir(parents=True)
        for name, numbers in NODES.items() if os.geteuid() == 0 else ():
            os.mknod(self.dev / name, 0o20666, os.makedev(*numbers))
            (self.dev / name).chmod(0o666)

    def make_home(self, names: int) -> Path:
        """With two denied names in it, one of them in a directory that is kept as it is as well."""
        home = self.home / f"home-of-{names}"
        for place in (".config/gh", ".ssh", "ws/.git"):
            (home / place).mkdir(parents=True)
        for number in range(names - 3):
            if number % 2:
                (home / f"directory{number}").mkdir()
            else:
                (home / f".file{number}").touch()
        return home

    def launch_at_home(self, home: Path) -> list[str]:
        ops = [*bench_plan().ops, ("rule", "read", str(home)), *base_rules()]
        plan = Plan(ops, filter=_LOAD_NUMBER * 70 + ALLOW_ALL).write(home.with_name(f"plan-{home.name}"), UID)
        return [str(self.program), "--plan", str(plan)]

    def launch(self, kind: str = "", count: int = 0) -> list[str]:
        plan = bench_plan(kind, count).write(self.home / f"plan-{kind.replace(' ', '-')}-{count}", UID)
        return [str(self.program), "--plan", str(plan)]


def compare(scene: Scene, rounds: int) -> None:
    launch, env = scene.launch(), scene.env
    raw = raw_command("bwrap, same operations", launch, scene.workspace, env)
    others, absent = peers(env, scene.home)
    rows = [
        Row("fleetbox-run", [*launch, "--", "true"], env),
        Row("fleetbox-run, bwrap mounts all", [*launch, "--mounts", "bwrap", "--", "true"], env),
        Row("fleetbox-run, names missing", [*launch, "--workspace", str(scene.empty), "--", "true"], env),
        Row("fleetbox-run, 1000 directories", [*launch, "--workspace", str(scene.large), "--", "true"], env),
        *([with_prepared_dev(raw, scene.dev)] if (scene.dev / "null").exists() else []),
        *others,
    ]
    broken = {row.name: row.refusal(scene.workspace) for row in others}
    rows = [raw, *(row for row in rows if not broken.get(row.name))]
    interleave(rows, rounds, scene.workspace)
    table(rows, raw)
    for row in others:
        if row.failures:
            print(f"{row.name:34}{row.failures} of {rounds + 2} launches failed")
    for name in absent:
        print(f"{name:34}not installed")
    for name, reason in broken.items():
        if reason:
            print(f"{name:34}does not run here: {reason}")


def homes(scene: Scene, rounds: int) -> None:
    """Each size beside raw bwrap with the same masks, and what a further name costs."""
    print("\nthe rules of policies/base.yml in a home of so many names")
    ours = []
    for names in HOMES:
        home = scene.home / f"home-of-{names}"
        env = {**scene.env, "HOME": str(home)}
        launch = scene.launch_at_home(home)
        row = Row(f"{names:5} fleetbox-run", [*launch, "--", "true"], env)
        raw = raw_command(f"{names:5} bwrap", launch, home / "ws", env)
        interleave([raw, row], rounds, home / "ws")
        table([raw, row], raw)
        ours.append(statistics.median(row.cpu))
    print(f"a name: {1000 * (ours[-1] - ours[0]) / (HOMES[-1] - HOMES[0]):.1f} µs on a processor")


def grow(scene: Scene, rounds: int) -> None:
    """Each size beside raw bwrap with the same; ratios to the ten rules of the same kind and competitor."""
    for kind in KINDS:
        print(f"\nrules: {kind}")
        workspace = scene.large if "WORKSPACE" in KINDS[kind][1] else scene.workspace
        rows = []
        for size in SIZES:
            launch = scene.launch(kind, size)
            rows.append(Row(f"{size:5} fleetbox-run", [*launch, "--", "true"], scene.env))
            rows.append(raw_command(f"{size:5} bwrap", launch, workspace, scene.env))
        refused = {row.name: row.refusal(workspace) for row in rows}
        run = [row for row in rows if not refused[row.name]]
        interleave(run, rounds, workspace)
        for who in ("fleetbox-run", "bwrap"):
            mine = [row for row in run if row.name.endswith(who)]
            table(mine, next(row for row in mine if row.name.startswith("   10")))
        for name, reason in refused.items():
            if reason:
                print(f"{name:34}refused: {reason}")


def peak(status: str) -> str:
    return next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))


def read_peak(process: "subprocess.Popen[str]") -> str:
    """The line of the inner stage that says it; a launch that was refused says none."""
    assert process.stdout is not None
    return next(line for line in process.stdout if line.startswith("VmHWM"))


def memory(scene: Scene) -> None:
    """Peak resident kB of the small parent and of the inner stage, while a workload runs."""
    print(f"\n{'peak memory, kB':34}{'parent':>10}{'inner stage':>16}")
    for kind, size in (("", 0), ("denied directories", 1000)):
        show = ["sh", "-c", "cat /proc/1/status; exec sleep 5"]
        with subprocess.Popen(
            [*scene.launch(kind, size), "--", *show],
            cwd=scene.workspace,
            env=scene.env,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            inner = read_peak(process)
            parent = Path(f"/proc/{process.pid}/status").read_text()
            process.terminate()
        print(f"{f'{size} rules':34}{peak(parent):>10}{peak(inner):>16}")


def become_unprivileged(home: Path) -> None:
    if os.geteuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, UID, UID)
        os.setgroups([])
        os.setgid(UID)
        os.setuid(UID)


def measure(folder: Path, program: Path, rounds: int) -> int:
    """In a child, because it becomes the unprivileged user for good."""
    scene = Scene(folder, program)
    scene.make()
    become_unprivileged(scene.home)
    compare(scene, rounds)
    homes(scene, max(rounds // 2, 5))
    grow(scene, max(rounds // 10, 5))
    memory(scene)
    sys.stdout.flush()
    return 0


def end_with(work: Callable[[], int]) -> NoReturn:
    """Never unwinds: what the parent takes down may have mounts of ours in it."""
    status = 1
    try:
        status = work()
    except Exception:  # noqa: BLE001  (whatever it is, it is printed, and the end of this child)
        traceback.print_exc()
    finally:
        os._exit(status)


def measure_in_child(title: str, work: Callable[[Path, Path, int], int]) -> NoReturn:
    """`work` gets a directory of its own, the launcher and the number of rounds; its end is the program's."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--launcher", type=Path, default=None)
    options = parser.parse_args()
    program = options.launcher or REPO / "fleetbox" / "bin" / f"fleetbox-run-linux-{os.uname().machine}"
    with tempfile.TemporaryDirectory(prefix="fleetbox-bench-", dir="/var/tmp") as name:
        child = os.fork()
        if child == 0:
            end_with(lambda: work(Path(name), program, options.rounds))
        _, status = os.waitpid(child, 0)
    if os.geteuid() == 0:
        shutil.rmtree(f"/tmp/fleetbox-{UID}", ignore_errors=True)  # noqa: S108  (the launcher's own place)
    raise SystemExit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    measure_in_child(__doc__.splitlines()[0], measure)
