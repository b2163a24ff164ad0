"""Verifies the delivery on stdin and accepts it, again and again, and is killed ever later.

    python -m tests.integration.hostside.trust_driver TEMPLATE COPIES WALL

Run N is a process of its own on COPIES/N, a copy of TEMPLATE, and is stopped dead before its Nth change of
the file system. Prints the exit status of each; the last run is the first that got through.
"""

import itertools
import json
import shutil
import sys
from datetime import datetime
from functools import partial
from pathlib import Path

from fleetbox.hostside import delivery, signed_time, sources, verify
from fleetbox.hostside.delivery import Delivery
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import locked
from tests.integration.hostside.driver import killed_at_call


def take(places: Places, sent: Delivery, wall: datetime) -> None:
    with locked(places) as state:
        verified = verify.verify(places, state, sources.sent(sent), wall=wall)
        verify.accept(state, verified)


def main(template: Path, copies: Path, wall: datetime) -> list[int]:
    sent = delivery.receive(sys.stdin.buffer)
    codes = []
    for number in itertools.count(1):
        root = copies / str(number)
        shutil.copytree(template, root, symlinks=True)
        codes.append(killed_at_call(number, partial(take, Places(str(root)), sent, wall)))
        if codes[-1] >= 0:
            return codes
    raise AssertionError("unreachable")


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1]), Path(sys.argv[2]), signed_time.parse(sys.argv[3])), sys.stdout)
