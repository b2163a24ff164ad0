"""Sockets of the host when the workload may use AF_UNIX: out of reach, whatever their files are called."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.integration.launcher.test_mounts import wrapper

SERVE = """
import os, socket, sys
os.chdir(sys.argv[1])
server = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[3]))
server.bind(sys.argv[2])
os.chmod(sys.argv[2], 0o777)
if server.type == socket.SOCK_STREAM:
    server.listen()
print("bound", flush=True)
sys.stdin.read()
"""
CALL = """
import os, socket, sys
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        socket.socket(socket.AF_UNIX, kind).connect(sys.argv[1])
        print("through")
    except OSError as error:
        print(error.strerror)
"""


@contextmanager
def server(bench: Bench, where: Path, name: str, kind: str = "SOCK_STREAM") -> Iterator[None]:
    words = ["/usr/bin/python3", "-c", SERVE, str(where), name, kind]
    settings = {"user": bench.uid, "group": bench.uid, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **settings
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "bound\n"
            yield
        finally:
            process.communicate("")


def reached(bench: Bench, place: Path, **head: str) -> bool:
    done = bench.run(
        bench.plan(**{"unix_sockets": "private", **head}), "/usr/bin/python3", "-c", CALL, str(place)
    )
    assert done.stdout.count("\n") == 2, done.stderr
    return "through" in done.stdout


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
@pytest.mark.parametrize("how", ["as bound", "renamed", "moved", "moved far", "linked", "in the workspace"])
def test_a_socket_of_the_host_is_out_of_reach(bench: Bench, how: str, absolute: bool, kind: str) -> None:
    where = bench.make("home/run")
    far = bench.make("home/ws/a/b/c" if how == "in the workspace" else "home/a/b/c")
    name = str(where / "s.sock") if absolute else "s.sock"
    place = {
        "as bound": where / "s.sock",
        "renamed": where / "t.sock",
        "moved": bench.home / "s.sock",
        "linked": far / "s.sock",
    }.get(how, far / "t.sock")
    with server(bench, where, name, kind):
        if how == "linked":
            os.link(where / "s.sock", place)
        elif how != "as bound":
            (where / "s.sock").rename(place)
        assert reached(bench, place, unix_sockets="none"), (
            "the test's filter lets AF_UNIX pass: nothing is masked"
        )
        assert not reached(bench, place)
        assert not (where / "s.sock").exists() or not reached(bench, where / "s.sock")


def test_a_socket_of_the_workloads_own_works(bench: Bench) -> None:
    script = """
import socket
server = socket.socket(socket.AF_UNIX)
server.bind("own")
server.listen()
socket.socket(socket.AF_UNIX).connect("own")
print("fine")
"""
    done = bench.run(bench.plan(unix_sockets="private"), "/usr/bin/python3", "-c", script)
    assert done.stdout == "fine\n", done.stderr


def test_one_that_goes_away_during_the_launch_is_no_reason_to_refuse(bench: Bench) -> None:
    """As those of ssh and editors do all day."""
    gone, stays = bench.make("run/gone"), bench.make("run/stays")
    env = wrapper(bench, f"mv {gone}/s {bench.root}/away")
    with server(bench, gone, "s"), server(bench, stays, "s"):
        plan = bench.plan(unix_sockets="private")
        done = bench.run(
            plan, "/usr/bin/python3", "-c", CALL, str(stays / "s"), env=env, options=["--mounts", "inner"]
        )
        assert (done.returncode, "through" in done.stdout) == (0, False), done.stderr


def test_one_that_a_workload_could_have_moved_is_a_reason_to_refuse(bench: Bench) -> None:
    """Its directory is shown in the workspace as well, where another workload may rename it meanwhile."""
    outside, inside = bench.make("run"), bench.make("home/ws/alias")
    env = wrapper(bench, f"mv {inside}/s {inside}/t")
    for tool in ("mount", "setpriv", "unshare"):
        (bench.root / "bin" / tool).symlink_to(str(shutil.which(tool)))
    plan = bench.plan(unix_sockets="private").write(bench.root / "plan", bench.uid)
    script = f"/usr/bin/python3 -c '{CALL}' {inside}/t"
    with server(bench, outside, "s"):
        done = bench.sh_after(f"mount --bind {outside} {inside}", plan, script, env=env)
    assert (done.returncode, done.stdout) == (125, ""), done.stderr


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_a_kernel_that_cannot_be_asked_masks_what_it_lists_and_explain_says_so(bench: Bench) -> None:
    where = bench.make("home/run")
    place = where / "s"
    plan = bench.plan(unix_sockets="private").write(bench.root / "plan", bench.uid)
    words = bench.command(plan, "/usr/bin/python3", "-c", CALL, str(place), options=["--mounts", "inner"])
    without = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=socket:error=EPROTONOSUPPORT"]
    with server(bench, where, str(place)):
        done = bench.run_as([*without, *words], cwd=bench.workspace)
        assert (done.returncode, "through" in done.stdout) == (0, False), done.stderr
    explain = bench.command(plan, "true", options=["--explain"])
    assert "no unix_diag" in bench.run_as([*without, *explain], cwd=bench.workspace).stdout
    assert "no unix_diag" not in bench.run_as(explain, cwd=bench.workspace).stdout
