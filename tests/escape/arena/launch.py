"""Starts the payload of one attempt in one way, plays the outside's part while it waits, and collects it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.escape.arena import control, oracle, peers
from tests.escape.arena.attempt import Attempt
from tests.escape.arena.prelude import source
from tests.escape.arena.world import HOME, UID, World

PYTHON = "/usr/bin/python3"
SECONDS = 20.0
OURS = ("fleetbox", "by-bwrap")


@dataclass
class Launch:
    """A command, the descriptors it needs of its own, and whether it gets the caller's own things."""

    argv: list[str]
    fds: Sequence[int] = ()
    env: bool = True
    inherited: bool = True
    output: str = ""
    error: str = ""
    timed_out: bool = False
    code: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


def prepare(world: World, attempt: Attempt, how: str) -> Launch:
    """`how`: control, fleetbox, by-bwrap (bubblewrap mounts, not the inner stage), or a peer's name."""
    payload = [PYTHON, "-I", "-S", "-c", source(attempt.payload, world.params)]
    if attempt.through:
        payload = ["/bin/sh", "-c", f'{attempt.through}; exec "$@"', "sh", *payload]
    if how == "by-bwrap":
        world.options += ["--mounts", "bwrap"]
    if how in OURS:
        return Launch([*_fleetbox(world, attempt.policy), *payload])
    if how != "control":
        return Launch([*peers.argv(how, world), *peers.command(how, payload)])
    return _control(world, attempt, payload)


def _control(world: World, attempt: Attempt, payload: list[str]) -> Launch:
    less = attempt.without
    if "sandbox" in less:
        return Launch(payload)
    weaker = [word[7:] for word in less if word.startswith("policy:")]
    if weaker:
        return Launch([*_fleetbox(world, weaker[0]), *payload])
    words, fds = control.argv(world, attempt)
    if "dumpable" in less:
        payload = [PYTHON, "-I", "-S", "-c", _HOLDER, str(world.params["held"]), *payload]
    return Launch([*words, *payload], fds, env="env" in less, inherited=bool(less & {"fds", "dumpable"}))


# Process 1 of a sandbox that forgot what a launcher does: to be undumpable, so that nobody opens its files.
_HOLDER = """
import os, subprocess, sys
os.set_inheritable(int(sys.argv[1]), False)
sys.exit(subprocess.run(sys.argv[2:]).returncode)
"""


def _fleetbox(world: World, policy: str) -> list[str]:
    words = [world.config.launcher, "--workspace", str(world.workspace), *world.options]
    return [*words, *([] if "--plan" in world.options else ["--policy", policy]), "--"]


def run(world: World, attempt: Attempt, launch: Launch) -> bool:
    """Run it to its end; whether an oracle saw it succeed."""
    try:
        seen = (_on_terminal if attempt.terminal else _on_pipes)(world, attempt, launch)
        world.output, world.code = launch.output, launch.code
        return seen or attempt.succeeded(world)
    finally:
        oracle.end_all(world.mark)


def environment(world: World, launch: Launch) -> dict[str, str]:
    plain = {"PATH": world.path, "HOME": str(HOME), "USER": "dev", "LANG": "C.UTF-8"}
    return plain | (world.env if launch.env else {})


def _settings(world: World, attempt: Attempt, launch: Launch) -> dict[str, Any]:
    account = {} if attempt.as_root else {"user": UID, "group": UID, "extra_groups": []}
    fds = [*launch.fds, *(world.pass_fds if launch.inherited else [])]
    return {
        "cwd": world.cwd,
        "env": environment(world, launch),
        "pass_fds": fds,
        "preexec_fn": world.prepare,
        **account,
    }


def _on_pipes(world: World, attempt: Attempt, launch: Launch) -> bool:
    stdin = subprocess.PIPE if world.stdin is None else world.stdin
    process = subprocess.Popen(
        launch.argv,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **_settings(world, attempt, launch),
    )
    world.pid = process.pid
    assert process.stdout is not None
    seen = False
    try:
        head = _until_ready(process.stdout.fileno())
        if b"ready\n" in head and attempt.during:
            seen = attempt.during(world)
        out, err = process.communicate(b"go\n" if process.stdin else None, timeout=SECONDS)
        launch.output, launch.error = (head + out).decode(errors="replace"), err.decode(errors="replace")
    except subprocess.TimeoutExpired:
        launch.timed_out = True
    finally:
        if process.poll() is None:
            process.kill()
            oracle.end_all(world.mark)
        process.wait()
    launch.code = process.returncode
    return seen


def _until_ready(fd: int) -> bytes:
    """Everything up to the payload's word that it waits, or to its end."""
    head = b""
    deadline = time.monotonic() + SECONDS
    while b"ready\n" not in head and time.monotonic() < deadline:
        if not select.select([fd], [], [], 1.0)[0]:
            continue
        got = os.read(fd, 65536)
        if not got:
            break
        head += got
    return head


def _on_terminal(world: World, attempt: Attempt, launch: Launch) -> bool:
    """As a person's shell would: the payload shares the terminal, its session and this process group."""
    master, slave = pty.openpty()
    world.terminal = slave
    os.fchown(slave, UID, -1)
    pid = os.fork()
    if pid == 0:
        _shell(world, attempt, launch, slave)
    world.pid = pid
    world.stack.callback(os.close, master)
    world.stack.callback(os.close, slave)
    seen, launch.output = _watch(world, attempt, master)
    launch.code = _code(pid)
    return seen


def _shell(world: World, attempt: Attempt, launch: Launch, slave: int) -> None:
    """In the child: lead a session on the terminal, start the launch, and say how it ended."""
    try:
        os.setsid()
        for fd in range(3):
            os.dup2(slave, fd)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
        settings = _settings(world, attempt, launch)
        for name in ("user", "group", "extra_groups"):
            del settings[name]
        done = subprocess.run(launch.argv, check=False, **settings)
        os._exit(done.returncode & 0xFF)
    except OSError as problem:
        print(problem, file=sys.stderr)
    finally:
        os._exit(99)


def _watch(world: World, attempt: Attempt, master: int) -> tuple[bool, str]:
    seen, output, asked = False, b"", False
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, world.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        if not select.select([master], [], [], 0.05)[0]:
            continue
        try:
            output += os.read(master, 65536)
        except OSError:
            break
        if b"ready" in output and not asked:
            asked = True
            seen = attempt.during(world) if attempt.during else False
            os.write(master, b"go\n")
    return seen, output.decode(errors="replace").replace("\r\n", "\n")


def _code(pid: int) -> int:
    for _ in range(100):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
