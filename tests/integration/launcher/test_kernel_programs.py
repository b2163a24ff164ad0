"""`process.allowed_binaries`: what is executed, by every way there is, and the ways that stay open."""

import os
import subprocess
from pathlib import Path

import pytest

from fleetbox.targets.bubblewrap.seccomp import Filter, Variant
from fleetbox.targets.bubblewrap.syscalls import Arch
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Plan

ARCH = Arch(os.uname().machine)
LISTED = Filter(ARCH, Variant.NO_UNIX, nested=False, listed=True).program()


def plan(bench: Bench, *programs: str, **head: str) -> Plan:
    return Plan(bench.ops(*(("program", name) for name in programs)), head, filter=LISTED)


def test_what_is_listed_runs_with_its_loader_and_nothing_else_does(bench: Bench) -> None:
    done = bench.sh(plan(bench, "sh", "ls"), "ls -d /usr; cat /etc/passwd; echo $?")
    assert done.stdout == "/usr\n126\n", done.stderr
    assert "cat: Permission denied" in done.stderr


def test_a_command_that_is_not_listed_is_126_with_the_field_to_change(bench: Bench) -> None:
    done = bench.run(plan(bench, "sh"), "ls")
    assert (done.returncode, done.stdout) == (126, "")
    assert "cannot execute ls: Permission denied" in done.stderr
    assert "  hint: process.allowed_binaries" in done.stderr


def test_without_a_list_everything_runs(bench: Bench) -> None:
    assert bench.sh(bench.plan(), "ls -d /usr && cat /dev/null").returncode == 0


COPIES = {
    "a copy": "cp /usr/bin/id ./mine && ./mine",
    "a copy in /tmp": "cp /usr/bin/id /tmp/mine && /tmp/mine",
    "a copy in /dev/shm": "cp /usr/bin/id /dev/shm/mine && /dev/shm/mine",
    "a copy under a listed name": "cp /usr/bin/id ./sh && ./sh",
    "a link to it": "ln -s /usr/bin/id mine && ./mine",
    "a script": "printf '#!/bin/sh\\nid\\n' > s && chmod +x s && ./s",
    "a script of an unlisted interpreter": "printf '#!/usr/bin/id\\n' > s && chmod +x s && ./s",
    "env": "env id",
    "python": "python3 -c 'import os; os.execv(\"/usr/bin/id\", [\"id\"])'",
    "fexecve": "python3 -c 'import os; os.execve(os.open(\"/usr/bin/id\", os.O_RDONLY), [\"id\"], {})'",
    "/proc/self/fd": (
        "python3 -c 'import os; "
        "d = os.open(\"/usr/bin/id\", 0); os.execv(f\"/proc/self/fd/{d}\", [\"id\"])'"
    ),
    "an unnamed file": (
        "python3 -c 'import os; d = os.open(\"/tmp\", os.O_TMPFILE | os.O_RDWR, 0o700); "
        "os.write(d, open(\"/usr/bin/id\", \"rb\").read()); r = os.open(f\"/proc/self/fd/{d}\", 0); "
        "os.close(d); os.execve(r, [\"id\"], {})'"
    ),
}  # fmt: skip
TOOLS = ("sh", "cp", "ln", "chmod", "env", "python3")


@pytest.mark.parametrize("way", COPIES)
def test_an_unlisted_program_cannot_be_executed_by_another_way(bench: Bench, way: str) -> None:
    done = bench.sh(plan(bench, *TOOLS), COPIES[way])
    assert "uid=" not in done.stdout, done
    assert "ermission denied" in done.stderr, done
    (bench.workspace / "mine").unlink(missing_ok=True)
    (bench.workspace / "s").unlink(missing_ok=True)
    twin = bench.sh(bench.plan(), COPIES[way])
    assert "uid=" in twin.stdout or "unlisted interpreter" in way, "or the attempt proves nothing"


MEMFD = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.memfd_create(b"x", int(sys.argv[1]))
if fd < 0: sys.exit(os.strerror(ctypes.get_errno()))
os.write(fd, open("/usr/bin/id", "rb").read())
try: os.fchmod(fd, 0o755)
except OSError as problem: sys.exit(f"fchmod: {problem.strerror}")
reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
os.close(fd)
if sys.argv[2] == "path": os.execv(f"/proc/self/fd/{reader}", ["id"])
os.execve(reader, ["id"], {})
"""


@pytest.mark.parametrize("door", ["execveat", "path"])
def test_memory_cannot_be_executed(bench: Bench, door: str) -> None:
    """Landlock says nothing of it: the filter does, and a sealed memfd stays possible."""
    words = ("/usr/bin/python3", "-c", MEMFD)
    done = bench.run(plan(bench, "python3"), *words, "0", door)
    assert (done.stdout, done.stderr) == ("", "Function not implemented\n")
    sealed = bench.run(plan(bench, "python3"), *words, "8", door)
    assert (sealed.stdout, sealed.stderr.split(":")[0]) == ("", "fchmod")
    unfiltered = Plan(bench.ops(("program", "python3")))
    assert "uid=" in bench.run(unfiltered, *words, "0", door).stdout, "what the filter is there for"


def test_the_loader_started_as_a_program_is_a_documented_limit(bench: Bench) -> None:
    """A listed program needs its loader to be executable, and mapping a file is not executing it."""
    listed = bench.run(plan(bench, "sh"), options=["--explain"]).stdout
    (loader,) = [
        line.split()[1] for line in listed.splitlines() if line.startswith("program") and "/ld" in line
    ]
    assert "uid=" in bench.sh(plan(bench, "sh"), f"{loader} /usr/bin/id").stdout


def test_a_script_needs_its_interpreter_listed_and_explain_says_so(bench: Bench) -> None:
    script = bench.make("tools/hello", "#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    alone = plan(bench, str(script))
    assert bench.run(alone, str(script)).returncode == 126
    assert "is a script whose interpreter is not listed" in bench.run(alone, options=["--explain"]).stdout
    assert bench.run(plan(bench, str(script), "sh"), str(script)).stdout == "hello\n"


def test_a_name_never_means_a_file_that_the_workload_can_write(bench: Bench) -> None:
    planted = bench.make("home/ws/bin/ls", "#!/bin/sh\necho planted\n")
    planted.chmod(0o755)
    path = {"PATH": f"{planted.parent}:/usr/bin:/bin"}
    said = bench.run(plan(bench, "ls", "sh"), options=["--explain"], env=path).stdout
    assert "program   /usr/bin/ls\n" in said
    assert str(planted) not in said
    assert bench.run(plan(bench, "ls", "sh"), str(planted), env=path).returncode == 126


def test_a_path_that_says_so_may_lie_where_the_workload_writes(bench: Bench) -> None:
    own = bench.make("home/ws/own", "#!/bin/sh\necho own\n")
    own.chmod(0o755)
    said = plan(bench, "${WORKSPACE}/own", "sh")
    assert bench.run(said, "./own").stdout == "own\n"
    assert "the workload can write it" in bench.run(said, options=["--explain"]).stdout


def test_what_is_not_on_this_machine_allows_nothing_and_is_said(bench: Bench) -> None:
    missing = plan(bench, "no-such-program", "/opt/nothing", "/etc", "sh")
    said = bench.run(missing, options=["--explain"]).stdout
    for name in ("no-such-program", "/opt/nothing", "/etc"):
        assert f"skipped   {name}: no such program in the sandbox" in said
    assert bench.sh(missing, "echo runs").stdout == "runs\n"


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 200, b"#!", b"#!/"])
def test_a_broken_program_is_listed_all_the_same_and_harms_nothing(bench: Bench, content: bytes) -> None:
    broken = bench.make("tools/broken", "")
    broken.write_bytes(content)
    broken.chmod(0o755)
    assert bench.sh(plan(bench, "sh", str(broken)), "echo runs").stdout == "runs\n"


def test_it_is_refused_where_nested_sandboxes_are_allowed(bench: Bench) -> None:
    done = bench.run(plan(bench, "sh", nested="yes"), "sh")
    assert done.returncode == 125
    assert "process.allowed_binaries and process.nested_sandboxes" in done.stderr


def test_it_is_refused_without_landlock_whatever_landlock_says(bench: Bench, tmp_path: Path) -> None:
    launch = bench.command(plan(bench, "sh"), "sh", "-c", "echo ran")
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=landlock_create_ruleset:error=ENOSYS"]
    done = bench.run_as([*strace, *launch], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (125, "")
    assert "process.allowed_binaries: this kernel has no Landlock" in done.stderr
