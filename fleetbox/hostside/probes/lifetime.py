"""Probes with launches of their own: failing closed, dying with the launcher (FBX-SBX-002, FBX-SYS-002).

Nothing of the host is broken to see the launcher fail: it is given damaged copies of its own launch plan,
which the workload's user keeps in a private directory, as the try-out does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from fleetbox.hostside.probes import attempts
from fleetbox.hostside.probes.launch import Finished, Launches
from fleetbox.hostside.probes.outcome import ERROR, FAIL, INCONCLUSIVE, PASS, Attempt, Control, Verdict
from fleetbox.hostside.probes.scene import Scene

REFUSED = 125
APPEAR = 10.0  # seconds; a loaded host may take long to launch
VANISH = 3.0
POLL = 0.02
LINGER = 30.0
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda plan: plan[: len(plan) // 2],
    "altered": lambda plan: plan[:-8] + bytes([plan[-8] ^ 1]) + plan[-7:],
    "empty": lambda plan: b"",
}


def copies(original: bytes) -> dict[str, bytes]:
    """Launch plans to plant by file name: one as it is, and one for each kind of damage."""
    return {"intact.plan": original, **{f"{how}.plan": damage(original) for how, damage in DAMAGE.items()}}


def fails_closed(scene: Scene, launches: Launches) -> Verdict:
    """FBX-SBX-002: with a damaged launch plan nothing runs; the twin is a launch with an intact copy."""
    expected = f"with a damaged launch plan the launcher ends with {REFUSED} and nothing runs"
    program = [Attempt("own_syscall", {})]

    def launch(name: str) -> Finished:
        words = launches.copied(scene.workspace, f"{scene.plans}/{name}.plan")
        return launches.execute(words, program)

    bare, intact = launches.execute([], program), launch("intact")
    outside = Control(_ran(bare), "the command ran" if _ran(bare) else bare.problem())
    inside = Control(_ran(intact), "an intact copy ran" if _ran(intact) else intact.problem())

    def verdict(status: str, reason: str, message: str, ended: Finished) -> Verdict:
        seen = {"op": "launch", "exit": ended.code} if ended.code is not None else {"op": "launch"}
        return Verdict(status, reason, message, expected, seen, outside, inside)

    for how in DAMAGE:
        ended = launch(how)
        if _ran(ended):
            return verdict(FAIL, "not_denied", f"the command ran with a launch plan that is {how}", ended)
        if ended.code is None:
            return verdict(INCONCLUSIVE, "timeout", f"no end with a launch plan that is {how}", ended)
        if ended.code in (126, 127):
            return verdict(ERROR, "wrapper_missing", ended.problem(), ended)
        if ended.code != REFUSED:
            return verdict(FAIL, "wrong_exit", f"ended with {ended.code} for a plan that is {how}", ended)
    if not (outside.ok and inside.ok):
        failed = inside if outside.ok else outside
        return verdict(INCONCLUSIVE, "control_failed", failed.detail, intact)
    return verdict(PASS, "refused", f"{', '.join(DAMAGE)} launch plans were refused", intact)


def _ran(ended: Finished) -> bool:
    return bool(ended.stdout)


def dies_with_launcher(scene: Scene, launches: Launches) -> Verdict:
    """FBX-SYS-002: a daemon that the workload left behind is gone when the launcher was killed."""
    expected = "no process of the workload outlives its launcher"
    outside = _outlives([], "fbo" + scene.token[:12], launches)
    name = "fbi" + scene.token[:12]
    inside = _outlives(launches.common(scene.workspace), name, launches)
    controls = (
        Control(outside == "outlived", f"without a sandbox the daemon {outside or 'never appeared'}"),
        Control(bool(inside), "the daemon ran inside" if inside else "the daemon never appeared"),
    )
    seen = {"op": "kill", "signal": int(signal.SIGKILL)}
    if inside == "outlived":
        return Verdict(FAIL, "not_denied", "a daemon outlived the launcher", expected, seen, *controls)
    if not (controls[0].ok and controls[1].ok):
        failed = next(control for control in controls if not control.ok)
        return Verdict(INCONCLUSIVE, "control_failed", failed.detail, expected, seen, *controls)
    return Verdict(PASS, "ended", "the daemon ended with the launcher", expected, seen, *controls)


def _outlives(words: Sequence[str], name: str, launches: Launches) -> str:
    """Leave a daemon, kill what was started: `outlived`, `ended`, or "" when it never appeared."""
    try:
        process = launches.start(words, [Attempt("linger", {"name": name})], limit=LINGER)
    except OSError:
        return ""
    try:
        _until(lambda: bool(attempts.pids_named(name)) or process.poll() is not None, APPEAR)
        if not attempts.pids_named(name):
            return ""
        process.kill()
        process.wait()
        # Outside nothing will end it, so there is no need to wait for that.
        return (
            "ended" if _until(lambda: not attempts.pids_named(name), VANISH if words else 0.1) else "outlived"
        )
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
        for pid in (*attempts.pids_named(name), *attempts.pids_named(attempts.holder(name))):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _until(happened: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True
