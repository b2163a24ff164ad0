"""Builds the launcher and its parsers with sanitizers, runs the fuzzers, replays their corpora.

    sanitize.py launcher           build/sanitize/fleetbox-run: ASan and UBSan, needs glibc 2.34, for tests
    sanitize.py replay             every corpus once, under gcc's sanitizers
    sanitize.py fuzz SECONDS       libFuzzer on the plan, and beside it the other parsers, who share the time;
                                   new inputs: build/fuzz/corpus

A fuzz target NAME is fuzz/NAME.c; it may include the source whose inside it wants to reach.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from build import HERE, REPO, sources, version

FUZZ = HERE / "fuzz"
OUTPUT = REPO / "build" / "fuzz"
CORPORA = FUZZ / "corpus"
TARGETS = ("plan", "record", "mountlist", "pattern", "git", "sockets", "gpumap")
CLANGS = ("clang", *(f"clang-{number}" for number in range(21, 13, -1)))
SANITIZE = (
    *("-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-fno-omit-frame-pointer", "-fno-strict-aliasing"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)
GCC = ["gcc", *SANITIZE, f'-DFLEETBOX_VERSION="{version()}"']
SANITIZED = REPO / "build" / "sanitize"


def run(command: list[str], what: str) -> None:
    """A compiler or linker; ends the program when it fails."""
    if subprocess.run(command, cwd=HERE, check=False).returncode != 0:
        sys.exit(f"launcher/sanitize.py: cannot build {what}")


def objects(compiler: list[str], names: list[str], directory: Path) -> list[str]:
    """Object files of these sources, made again when a source or any header is newer."""
    directory.mkdir(parents=True, exist_ok=True)
    headers = max(path.stat().st_mtime for path in HERE.rglob("*.h"))

    def made(name: str) -> str:
        target = directory / f"{Path(name).stem}.o"
        newest = max(headers, (HERE / name).stat().st_mtime)
        if not target.exists() or target.stat().st_mtime < newest or name.startswith("fuzz/"):
            run([*compiler, "-c", name, "-o", str(target)], name)
        return str(target)

    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(made, names))


def launcher() -> Path:
    """The launcher as tests run it, with every piece of memory watched on its own."""
    names = [path.name for path in sources() if path.name != "arena.c"]
    target = SANITIZED / "fleetbox-run"
    parts = objects(GCC, [*names, "fuzz/pieces.c", "fuzz/options.c"], SANITIZED)
    alone = ("-static-libasan", "-static-libubsan", "-static-libgcc")  # no test host has these
    run([*GCC, *alone, *parts, "-o", str(target)], target.name)
    return target


def parts_of(name: str, compiler: list[str], directory: Path) -> list[str]:
    """What a fuzz target is linked of: its own objects, and of the launcher's what those lack."""
    own = objects(compiler, [f"fuzz/{name}.c"], directory / "targets")
    ground = objects(compiler, ["fuzz/ground.c", "fuzz/pieces.c"], directory)
    rest = objects(compiler, [path.name for path in sources() if path.name != "main.c"], directory)
    archive = directory / "launcher.a"
    archive.unlink(missing_ok=True)
    run(["ar", "rcs", str(archive), *rest], archive.name)
    return [*own, *ground, str(archive)]


def replay(name: str) -> str:
    """What it says when every input was read and the sanitizers saw nothing; else the end of the program."""
    program = OUTPUT / f"replay-{name}"
    OUTPUT.mkdir(parents=True, exist_ok=True)
    frame = objects(GCC, ["fuzz/replay.c"], SANITIZED / "targets")
    run([*GCC, *frame, *parts_of(name, GCC, SANITIZED), "-o", str(program)], name)
    files = [str(path) for path in sorted((CORPORA / name).iterdir())]
    done = subprocess.run([str(program), *files], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"launcher/sanitize.py: {name}: {done.stdout}{done.stderr}")
    return f"{name}: {done.stdout.strip()}, clean"


def build_fuzzer(name: str, clang: str) -> None:
    parts = parts_of(name, [clang, *SANITIZE, "-fsanitize=fuzzer-no-link"], OUTPUT / clang)
    run([clang, *SANITIZE, "-fsanitize=fuzzer", *parts, "-o", str(OUTPUT / f"fuzz-{name}")], name)


def fuzz(name: str, seconds: int) -> str:
    """What libFuzzer counted; ends the program on a finding, which stays in build/fuzz."""
    corpus = OUTPUT / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    dictionary = FUZZ / f"{name}.dict"
    command = [
        *(str(OUTPUT / f"fuzz-{name}"), f"-max_total_time={seconds}", "-print_final_stats=1"),
        *("-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={OUTPUT}/found-{name}-"),
        *([f"-dict={dictionary}"] if dictionary.exists() else []),
        *(str(corpus), str(CORPORA / name)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=OUTPUT)
    if done.returncode != 0:
        sys.exit(f"launcher/sanitize.py: {name}: found something\n{done.stderr[-6000:]}")
    return summary(name, done.stderr)


def summary(name: str, said: str) -> str:
    edges, features, inputs = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", said)[-1]
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", said))
    executions, per_second = int(stats["number_of_executed_units"]), int(stats["average_exec_per_sec"])
    return (
        f"{name:10} {executions:12,} executions {per_second:8,}/s"
        f"  coverage {edges} edges, {features} features, corpus {inputs}: clean"
    )


def fuzz_each(names: Sequence[str], seconds: int) -> None:
    for name in names:
        say(fuzz(name, seconds))


def fuzz_all(seconds: int) -> None:
    clang = next(filter(shutil.which, CLANGS), None)
    if not clang:
        sys.exit("launcher/sanitize.py: no clang; on Debian: apt-get install clang libclang-rt-dev")
    for name in TARGETS:
        build_fuzzer(name, clang)
    first, *others = TARGETS
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(fuzz_each, [first], seconds),
            pool.submit(fuzz_each, others, max(1, seconds // len(others))),
        ]
        for done in runs:
            done.result()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    match sys.argv[1:]:
        case ["launcher"]:
            say(str(launcher()))
        case ["replay", *names]:
            for name in names or TARGETS:
                say(replay(name))
        case ["fuzz", seconds]:
            fuzz_all(int(seconds))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
