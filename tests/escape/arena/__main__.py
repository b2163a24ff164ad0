"""`python3 -m tests.escape.arena ATTEMPT control|fleetbox|PEER …`: one JSON line for each way."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack

from tests.escape.arena import attempts, launch
from tests.escape.arena.config import Config
from tests.escape.arena.world import World


def main() -> None:
    attempt = attempts.by_id(sys.argv[1])
    for how in sys.argv[2:]:
        with ExitStack() as stack:
            world = World(Config.read(), stack, how)
            attempt.stage(world)
            started = launch.prepare(world, attempt, how)
            escaped = launch.run(world, attempt, started)
        print(json.dumps(_outcome(how, started, escaped)), flush=True)


def _outcome(how: str, started: launch.Launch, escaped: bool) -> dict[str, object]:
    return {
        "how": how,
        "escaped": escaped,
        "reached": "reached\n" in started.output,
        "timed_out": started.timed_out,
        "code": started.code,
        "output": started.output[-4000:],
        "error": started.error[-4000:],
    }


main()
