"""What a launch costs: `fleetbox-run -- true` against raw bubblewrap with the same operations.

The raw command is what `--dry-run` prints, with the inner stage cut out: bwrap loads the same seccomp filter
itself (`--seccomp`) and executes `true`. So the ratio is the price of everything that the launcher adds:
reading and checking the launch plan, the list, locks, mountpoints, the parent, and the inner stage with its
verification. In the first two rows every protected name exists in the workspace, as in a repository; the
third launches in an empty workspace, where each missing name costs a mountpoint made before and removed
after, for which raw bwrap has no counterpart: it leaves them behind.

All rows are interleaved in one process list in random order, because the machine is noisy: trust ratios of
medians, not milliseconds. Codex and srt run their own default policies; they are a row when `codex` and `srt`
are on PATH or below build/peers (`make bench-peers`).

Prints median, spread (10th to 90th percentile) and ratio to raw bubblewrap, then how the launch grows with
the number of rules.
"""

import argparse
import os
import random
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from tests.support.plans import ALLOW_ALL, Op, Plan  # noqa: E402  (the path is made just above)

UID = 12345 if os.geteuid() == 0 else os.geteuid()
PROTECTED = (".git", ".codex", ".agents", ".claude", ".aws")
# Decides nothing: it gives the filter the length of a real one.
_LOAD_NUMBER = bytes.fromhex("2000000000000000")
PEERS = REPO / "build" / "peers" / "node_modules" / ".bin"
SHELL_SAFE_FDS = re.compile(r"^[0-9]<")


@dataclass
class Row:
    """One competitor: a command, the descriptors it needs as {number: file}, its samples in milliseconds."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    files: Mapping[int, str] = field(default_factory=dict)
    samples: list[float] = field(default_factory=list)

    def measure(self, cwd: Path) -> None:
        actions = [(os.POSIX_SPAWN_OPEN, fd, name, os.O_RDONLY, 0) for fd, name in self.files.items()]
        actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
        actions.append((os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0))
        os.chdir(cwd)
        begin = time.perf_counter()
        pid = os.posix_spawnp(self.argv[0], list(self.argv), dict(self.env), file_actions=actions)
        _, status = os.waitpid(pid, 0)
        taken = 1000 * (time.perf_counter() - begin)
        if status != 0:
            raise SystemExit(f"{self.name}: ended with wait status {status}: {shlex.join(self.argv)}")
        self.samples.append(taken)


def bench_plan(rules: int = 0) -> Plan:
    """The operations of the presets: masks, protected names, a denied directory."""
    ops: list[Op] = [("protect", name) for name in PROTECTED]
    ops += [("mask", "/run"), ("keep", "/etc/resolv.conf"), ("rule", "none", "${HOME}/.ssh")]
    ops += [("rule", "read", "${HOME}")] if rules else []  # else the rules are about a private directory
    ops += [("rule", "none", f"${{HOME}}/rules/{number}") for number in range(rules)]
    return Plan(ops, filter=_LOAD_NUMBER * 70 + ALLOW_ALL)


def raw_command(launcher: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Row:
    """The printed command without the inner stage."""
    done = subprocess.run(
        [*launcher, "--dry-run", "--", "true"],
        cwd=cwd,
        env=dict(env),
        capture_output=True,
        text=True,
        check=True,
    )
    words = shlex.split(done.stdout)
    files = {int(word[0]): word[2:] for word in words if SHELL_SAFE_FDS.match(word)}
    words = [word for word in words if not SHELL_SAFE_FDS.match(word)]
    start = next(index for index, word in enumerate(words) if word.endswith("/bwrap"))
    variables = dict(word.split("=", 1) for word in words[2:start])
    operations = words[start : words.index("--")]
    filter_fd = int(words[words.index("--filter-fd") + 1])
    argv = [*operations, "--seccomp", str(filter_fd), "--", "true"]
    return Row("bwrap, same operations", argv, variables, {filter_fd: files[filter_fd]})


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
            rows.append(Row(name, [found, *arguments], env))
        else:
            absent.append(name)
    return rows, absent


def works(row: Row, cwd: Path) -> bool:
    """A peer that cannot run here is reported, not measured."""
    done = subprocess.run(row.argv, cwd=cwd, env=dict(row.env), capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def interleave(rows: Sequence[Row], rounds: int, cwd: Path) -> None:
    for number in range(rounds + 2):
        for row in random.sample(list(rows), len(rows)):
            row.measure(cwd)
            if number < 2:  # warm the page cache and the feature cache
                row.samples.clear()


def table(rows: Sequence[Row], base: Row) -> None:
    print(f"{'':28}{'median ms':>10}{'p10-p90':>16}{'ratio':>8}")
    for row in rows:
        deciles = statistics.quantiles(row.samples, n=10)
        median = statistics.median(row.samples)
        ratio = median / statistics.median(base.samples)
        print(f"{row.name:28}{median:10.2f}{f'{deciles[0]:.2f}-{deciles[-1]:.2f}':>16}{ratio:8.2f}")


def become_unprivileged(home: Path) -> None:
    if os.geteuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, UID, UID)
        os.setgroups([])
        os.setgid(UID)
        os.setuid(UID)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--launcher", type=Path, default=None)
    options = parser.parse_args()
    program = options.launcher or REPO / "fleetbox" / "bin" / f"fleetbox-run-linux-{os.uname().machine}"
    with tempfile.TemporaryDirectory(prefix="fleetbox-bench-", dir="/var/tmp") as name:
        child = os.fork()
        if child == 0:
            os._exit(measure(Path(name), program, options.rounds))
        _, status = os.waitpid(child, 0)
    raise SystemExit(os.waitstatus_to_exitcode(status))


def measure(home: Path, program: Path, rounds: int) -> int:
    """In a child, because it becomes the unprivileged user for good."""
    workspace = home / "ws"
    for protected in PROTECTED:
        (workspace / protected / "inside").mkdir(parents=True)
    empty = home / "empty"
    empty.mkdir()
    sizes = (10, 100, 500)  # bwrap itself takes 9,000 arguments, about 1,000 rules
    for number in range(sizes[-1]):
        (home / "rules" / str(number)).mkdir(parents=True)
    home.chmod(0o755)
    become_unprivileged(home)
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    launch = [str(program), "--plan", str(bench_plan().write(home / "plan", UID))]
    raw = raw_command(launch, workspace, env)
    ours = Row("fleetbox-run", [*launch, "--", "true"], env)
    fresh = Row("fleetbox-run, names missing", [*launch, "--workspace", str(empty), "--", "true"], env)
    others, absent = peers(env, home)
    broken = [row.name for row in others if not works(row, workspace)]
    rows = [raw, ours, fresh, *(row for row in others if row.name not in broken)]
    interleave(rows, rounds, workspace)
    table(rows, raw)
    for name in absent:
        print(f"{name:28}not installed")
    for name in broken:
        print(f"{name:28}does not run here")
    print("\nfleetbox-run with n rules that deny a directory")
    grown = [
        Row(
            f"{size} rules",
            [str(program), "--plan", str(bench_plan(size).write(home / f"p{size}", UID)), "--", "true"],
            env,
        )
        for size in sizes
    ]
    interleave(grown, max(rounds // 10, 5), workspace)
    table(grown, grown[0])
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    main()
