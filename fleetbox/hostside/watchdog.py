"""The watchdog: goes back when nobody confirms, whatever became of the process that activated.

With systemd, role hostside installs fleetbox-watchdog.path, which starts `fleetbox-host watchdog` whenever an
activation is on trial: at once, again when it was killed, and at every boot. Without that unit, an
activation starts one by itself. Whatever happens to either, the next command finds the trial over as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import Namespace
from typing import Any, BinaryIO

from fleetbox.hostside import clock, paths, pending, reversal
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import locked, reading
from fleetbox.hostside.text import escape

UNIT = "fleetbox-watchdog.path"
_SERVICE = "fleetbox-watchdog.service"
# Killed, it is started again; a host that cannot go back yet has to try again.
_LASTING = ("StartLimitIntervalSec=0", "Restart=on-failure", "RestartSec=2")
SYSTEMD = "/run/systemd/system"
_LOOK_S = 1.0  # how late a confirmation or the death of an activation may be noticed
_SYSTEMD_S = 10.0


def watchdog(places: Places, options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `watchdog`: wait until nothing is on trial any more; with `--once`, only go back if it is time."""
    while True:
        try:
            went_back = _go_back(places)
            if went_back or options.once or not _on_trial(places):
                return {"changed": bool(went_back), "reversal": went_back}
        except HostError as problem:
            if options.once:
                raise
            # Not everywhere is there somebody who would start it again.
            sys.stderr.write(f"fleetbox-host: cannot go back yet: {escape(problem.message)}\n")
        time.sleep(_LOOK_S)


def arm(places: Places) -> str:
    """Have somebody else go back should this process not live to decide. Says who: `unit`, `transient`,
    `process`; `nobody` for a directory that plays a host.

    Raises `HostError` `no_watchdog` when there is no way; nothing was switched by then.
    """
    if places.root:
        return "nobody"
    if os.path.isdir(SYSTEMD):
        # Whether it starts is seen, not believed: it may be masked, or the host may refuse what hardens it.
        unit = (["systemctl", "is-active", "--quiet", UNIT], ["systemctl", "start", _SERVICE])
        if all(map(_succeeds, unit)):
            return "unit"
        # Not a child of ours: it would end with the session of whoever pushes.
        lasting = [f"--property={setting}" for setting in _LASTING]
        if _succeeds(["systemd-run", "--quiet", "--collect", *lasting, "--", paths.HOST_PROGRAM, "watchdog"]):
            return "transient"
    try:
        _detached([paths.HOST_PROGRAM, "watchdog"])
    except OSError as problem:
        raise HostError(
            "no_watchdog",
            f"nothing could be started that would go back in time: {problem}",
            hint="install the host program again: ansible-playbook site.yml",
        ) from None
    return "process"


def _go_back(places: Places) -> dict[str, Any] | None:
    """Go back if it is time to. While an activation or a confirmation is at work, it is not."""
    with reading(places) as state:
        trial = pending.read(state) if state else None
        now = clock.now(places)
        if trial is None or not trial.is_over(now):
            return None
    try:
        with locked(places, wait_s=0.0) as state:
            done = reversal.settle(places, state)
    except HostError as problem:
        if problem.code == "busy":
            return None
        raise
    return done.as_answer() if done else None


def _on_trial(places: Places) -> bool:
    with reading(places) as state:
        return state is not None and pending.read(state) is not None


def _succeeds(argv: list[str]) -> bool:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_SYSTEMD_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _detached(argv: list[str]) -> None:
    """In a session of its own and without our pipes, so that it outlives the connection that pushes."""
    subprocess.Popen(
        argv,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
