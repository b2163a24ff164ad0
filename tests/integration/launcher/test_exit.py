"""Exit codes, signals, descriptors, environment: what the caller and the workload see of the launcher."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.plans import Plan, deny


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
def test_the_workloads_end_is_the_launchers(bench: Bench, script: str, code: int) -> None:
    done = bench.sh(bench.plan(), script)
    assert (done.returncode, done.stderr) == (code, "")


def test_not_found_is_127_and_not_executable_is_126(bench: Bench) -> None:
    assert bench.run(bench.plan(), "no-such-program").returncode == 127
    assert bench.run(bench.plan(), "/no/such/program").returncode == 127
    assert bench.run(bench.plan(), "/etc/passwd").returncode == 126
    assert bench.run(bench.plan(), "/etc").returncode == 126


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_reaches_the_workload(bench: Bench, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    trap = f"trap 'echo got; exit 9' {name}"
    with bench.start(bench.plan(), "while :; do sleep 0.05; done", before=trap) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (9, "got\n", "")


def test_a_signal_that_is_not_handled_ends_the_workload_with_128_plus_n(bench: Bench) -> None:
    with bench.start(bench.plan(), "exec sleep 60") as process:
        process.terminate()
        assert process.wait(timeout=10) == 143


def test_an_ignored_signal_stays_ignored(bench: Bench) -> None:
    launch = bench.command(bench.plan(), "sh", "-c", "kill -HUP $$; echo alive")
    done = bench.run_as(["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *launch], cwd=bench.workspace)
    assert done.stdout == "alive\n"


def test_killing_the_launcher_ends_the_sandbox(
    bench: Bench, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    marker = f"31{os.getpid()}"
    with bench.start(bench.plan(), f"exec sleep {marker}", before=f"sleep {marker} & true") as process:
        eventually(lambda: running("sleep", marker) == 2)
        process.kill()
    eventually(lambda: running("sleep", marker) == 0)


def running(*words: str) -> int:
    wanted = b"".join(word.encode() + b"\0" for word in words)
    found = 0
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found += place.read_bytes() == wanted
    return found


def test_what_the_workload_leaves_running_ends_with_it(bench: Bench) -> None:
    assert bench.sh(bench.plan(), "sleep 600 & exit 0").returncode == 0, "or it holds the pipes open"


JOBS = {
    "its own": "( sleep 1; echo lived > job ) &",
    "an orphan of one": "( sleep 0.2; ( sleep 1; echo lived > job ) & ) &",
    "one that reads our output": "exec > >( sleep 1; cat > job )",
}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_jobs_of_the_shell_that_became_the_launcher_live_on(
    bench: Bench, job: str, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    script = f'{job}\nexec "$@" < /dev/null'
    launch = bench.command(bench.plan(), "sh", "-c", "sleep 0.5; echo lived")
    assert bench.run_as(["bash", "-c", script, "bash", *launch], cwd=bench.workspace).returncode == 0
    found = bench.workspace / "job"
    eventually(lambda: found.exists() and found.read_text() == "lived\n")


def test_no_descriptor_crosses(bench: Bench, tmp_path: Path) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)
    done = bench.sh(bench.plan(), "ls /proc/self/fd", pass_fds=(secret,))
    assert done.stdout.split() == ["0", "1", "2", "3"], "3 is ls reading the directory"


def test_the_environment_is_the_allow_list(bench: Bench) -> None:
    plan = Plan(bench.ops(("env-set", "GREETING", "hello  there"), ("env-set", "LD_DEBUG_OUTPUT", "/x")))
    done = bench.run(plan, "env", env={"SECRET": "s", "LC_ALL": "C", "LD_PRELOAD": "/x.so"})
    names = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(names) - {"PWD"} == {
        *("PATH", "HOME", "LC_ALL", "GREETING", "LD_DEBUG_OUTPUT"),
        *("TMPDIR", "FLEETBOX_SANDBOX"),
    }
    assert names["GREETING"] == "hello  there"
    assert names["FLEETBOX_SANDBOX"] == "test"
    assert names["TMPDIR"] == "/tmp"


def test_a_loader_variable_of_the_policy_does_not_steer_bwrap(bench: Bench) -> None:
    plan = Plan(bench.ops(("env-set", "LD_PRELOAD", "/nowhere/evil.so")))
    listing = bench.run(plan, "true", options=["--dry-run"]).stdout
    before, _, after = listing.partition("bwrap ")
    assert "LD_PRELOAD" not in before
    assert "--env LD_PRELOAD=/nowhere/evil.so" in after


def test_the_filter_is_loaded_and_privileges_cannot_be_gained(bench: Bench) -> None:
    status = bench.run(bench.plan(), "cat", "/proc/self/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Seccomp"] == "2"
    assert fields["NoNewPrivs"] == "1"
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0


def test_the_filter_given_is_the_filter_used(bench: Bench) -> None:
    uname = {"x86_64": 63, "aarch64": 160}[os.uname().machine]
    plan = Plan(bench.ops(), filter=deny(uname))
    done = bench.run(plan, "uname")
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr


def test_process_1_cannot_be_looked_into(bench: Bench) -> None:
    done = bench.sh(bench.plan(), "ls /proc/1/fd /proc/1/root; cat /proc/1/environ; : > /proc/1/mem")
    assert done.stderr.count("Permission denied") + done.stderr.count("cannot") >= 3
    assert done.stdout == ""


def test_host_processes_are_invisible(bench: Bench) -> None:
    listed = bench.sh(bench.plan(), "ls -d /proc/[0-9]*").stdout.split()
    assert {"/proc/1", "/proc/2"} <= set(listed)
    assert len(listed) <= 4


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_refused_without_an_account(bench: Bench) -> None:
    plan = bench.plan().write(bench.root / "plan", 0)
    done = subprocess.run(
        [str(bench.launcher), "--plan", str(plan), "--", "true"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 125
    assert "refusing to run as root" in done.stderr
    assert "--user" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_user_becomes_that_account_for_good(bench: Bench) -> None:
    plan = Plan(bench.ops(("env-pass", "USER"))).write(bench.root / "plan", 0)
    command = [
        str(bench.launcher),
        "--plan",
        str(plan),
        "--user",
        "nobody",
        "--workspace",
        str(bench.workspace),
    ]
    script = "id -u; echo $USER $SECRET; grep ^Groups /proc/self/status"
    done = subprocess.run(
        [*command, "--", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PATH": os.environ["PATH"], "SECRET": "s"},
    )
    assert done.stdout.split()[:2] == ["65534", "nobody"], done
    assert "0" not in done.stdout.split("Groups:")[1].split()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_user_cannot_be_root_or_nobody_known(bench: Bench) -> None:
    plan = bench.plan().write(bench.root / "plan", 0)
    for user, said in (("root", "root cannot be sandboxed"), ("no-such-account", "no account")):
        done = subprocess.run(
            [str(bench.launcher), "--plan", str(plan), "--user", user, "--", "true"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        assert done.returncode == 125
        assert said in done.stderr


def test_a_user_cannot_become_another(bench: Bench) -> None:
    done = bench.run(bench.plan(), "true", options=["--user", "daemon"])
    assert done.returncode == 125
    assert "only root can become daemon" in done.stderr


def test_the_version_names_the_plan_format(launcher: Path) -> None:
    done = subprocess.run([str(launcher), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("fleetbox-run ")
    assert done.stdout.endswith("(plan format 1)\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "no command"),
        (["true"], "put -- before the command"),
        (["--plan"], "needs a value"),
        (["--oops", "--", "true"], "unknown option"),
        (["--user", "a", "--user", "b", "--", "true"], "given twice"),
        (["--dry-run", "--explain", "--", "true"], "exclude each other"),
    ],
)
def test_a_wrong_command_line_is_refused_with_a_hint(launcher: Path, argv: list[str], said: str) -> None:
    done = subprocess.run([str(launcher), *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert said in done.stderr
    assert "  hint: " in done.stderr
