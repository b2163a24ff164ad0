"""Who stops what: the same attempts under `fleetbox-run`, `codex sandbox` and `srt`, as a table (root).

    python -m tests.escape.report [--write docs/escape-report.md] [--only WORD]

A report, not an assertion. A peer runs as its documentation recommends for the same purpose, see
`arena/peers.py`; what it does not claim to stop is listed all the same, and said beside the table.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import REPO
from tests.escape import hosts
from tests.escape.arena import attempts
from tests.escape.arena.attempt import Attempt
from tests.escape.hosts import PEERS, Arena, Outcome
from tests.support.hosts.lab import Lab
from tests.support.provision import PACKAGED

MODULES = REPO / "build/peers/node_modules"
CODEX = MODULES / "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl"
HOWS = ("control", "fleetbox", "codex", "srt")
# What only our own policies and launcher have: there is nothing to compare.
OURS = frozenset(
    {
        "few-processes",
        "host-tmp",
        "no-landlock",
        "little-memory",
        "little-time",
        "nested",
        "own",
        "python-only",
        "unprotected",
    }
)
SRT = f"{PEERS}/node_modules/@anthropic-ai/sandbox-runtime/dist/cli.js"
STARTERS = {
    "srt": f'#!/bin/sh\nexec {PEERS}/node {SRT} "$@"\n',
    "codex": f'#!/bin/sh\nexec {PEERS}/codex-dist/bin/codex "$@"\n',
}
OUR_LAUNCHER = frozenset({"fails closed", "which bwrap"})
HEAD = Path(__file__).with_name("report-head.md.in")
Row = tuple[Attempt, list[Outcome]]


def furnish(arena: Arena) -> None:
    """Put both peers, and what they need, onto the host."""
    host = arena.box.host
    host.exec(
        [
            "sh",
            "-euc",
            "apt-get -qq update; apt-get -qq install --no-install-recommends ripgrep socat >/dev/null",
        ],
        timeout=120,
    )
    _copy(
        arena,
        MODULES,
        f"{PEERS}/node_modules",
        "@anthropic-ai",
        "@pondwader",
        "commander",
        "node-forge",
        "zod",
    )
    _copy(arena, CODEX, f"{PEERS}/codex-dist", "bin/codex", "codex-path", "codex-resources/bwrap")
    node = Path(os.path.realpath(str(shutil.which("node", path="/usr/bin:/usr/local/bin"))))
    _copy(arena, node.parent, str(PEERS), node.name)
    for name, text in STARTERS.items():
        host.put(f"{PEERS}/{name}", text.encode(), mode=0o755)


def _copy(arena: Arena, folder: Path, to: str, *names: str) -> None:
    with tempfile.TemporaryFile() as archive:
        subprocess.run(["tar", "-C", str(folder), "-c", *names], stdout=archive, check=True)
        archive.seek(0)
        extract = ["sh", "-euc", f"mkdir -p {to}; exec tar -x --no-same-owner -C {to}"]
        subprocess.run(arena.box.host.exec_argv(extract), stdin=archive, check=True)


def compared(word: str) -> list[Attempt]:
    return [
        attempt
        for attempt in attempts.ALL
        if word in attempt.id
        and attempt.host == "bookworm"
        and attempt.policy not in OURS
        and attempt.targets not in OUR_LAUNCHER
        and "neighbour" not in attempt.id
    ]


def rows(arena: Arena, chosen: Sequence[Attempt]) -> Iterator[Row]:
    for attempt in chosen:
        outcomes = [arena.run(attempt.id, how)[0] for how in HOWS]
        print(f"{attempt.id:42} {' '.join(f'{verdict(one):14}' for one in outcomes)}", flush=True)
        yield attempt, outcomes


def verdict(outcome: Outcome) -> str:
    if outcome.escaped:
        return "succeeds"
    if not outcome.reached:
        return "does not start"
    return "refused"


@contextmanager
def ready() -> Iterator[Arena]:
    launcher = REPO / "fleetbox" / "bin" / f"fleetbox-run-linux-{os.uname().machine}"
    with Lab.create() as lab, tempfile.TemporaryDirectory() as folder:
        arena = hosts.prepare(lab, launcher, "bookworm", hosts.planted_library(Path(folder)))
        furnish(arena)
        yield arena


def versions() -> dict[str, str]:
    named = {"codex": "@openai/codex", "srt": "@anthropic-ai/sandbox-runtime"}
    return {
        name: json.loads((MODULES / package / "package.json").read_text())["version"]
        for name, package in named.items()
    }


def document(arena: Arena, found: Sequence[Row]) -> str:
    """The report as a page: first where the three differ, or let something through."""
    stopped = [row for row in found if all(verdict(one) == "refused" for one in row[1][1:])]
    others = [row for row in found if row not in stopped]
    head = HEAD.read_text().format(
        kernel=os.uname().release.split("-")[0],
        bwrap=arena.box.host.exec([PACKAGED, "--version"]).stdout.decode().split()[-1],
        attempts=len(found),
        **versions(),
    )
    sums = [f"**{sum(outcomes[at].escaped for _, outcomes in found)}**" for at in (1, 2, 3)]
    lines = [
        f"\n## Where not all three refuse: {len(others)} of {len(found)}",
        "| attempt | what is tried | fleetbox-run | codex sandbox | srt |",
        "|---|---|---|---|---|",
        *(_line(*row) for row in others),
        f"| succeed, of {len(found)} | | " + " | ".join(sums) + " |",
        f"\n## Refused by all three: {len(stopped)} of {len(found)}",
        "| attempt | what is tried |",
        "|---|---|",
        *(f"| {attempt.id} | {_title(attempt)} |" for attempt, _ in stopped),
    ]
    return head + "\n".join(lines) + "\n"


def _title(attempt: Attempt) -> str:
    return attempt.title.replace("|", ",")


def _line(attempt: Attempt, outcomes: Sequence[Outcome]) -> str:
    words = " | ".join(f"**{word}**" if word == "succeeds" else word for word in map(verdict, outcomes[1:]))
    return f"| {attempt.id} | {_title(attempt)} | {words} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if not MODULES.is_dir():
        sys.exit("escape-report: no peers in build/peers\n  hint: make bench-peers")
    with ready() as arena:
        text = document(arena, list(rows(arena, compared(options.only))))
    if options.write:
        options.write.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
