"""`fleetbox-host why` on a real host: what the launcher refused, and what of the policy refuses a command."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

POLICIES = {
    "main": """
environment: {pass: [PATH, HOME, TOKEN]}
filesystem:
  rules:
    - {path: "${HOME}/secret", access: none}
    - {path: "${WORKSPACE}/vendor", access: read}
    - {path: "${WORKSPACE}/**/*.pem", access: none}
""",
    "listed": "process: {allowed_binaries: [/usr/bin/dash, /bin/sh, /usr/lib, /lib, /lib64]}\n",
}


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("why")) as [made]:
        made.activate(POLICIES)
        made.change("apt-get -qq update && apt-get -qq install --no-install-recommends strace >/dev/null")
        made.change(
            "su dev -c 'mkdir -p ~/secret ~/ws/vendor; echo x > ~/secret/key; echo x > ~/ws/vendor/f'"
        )
        yield made


def why(box: Provisioned, *words: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
    done = box.run(paths.HOST_PROGRAM, "why", "--json", "--workspace", WORKSPACE, *options, "--", *words)
    assert done.returncode == 0, done
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reasons(box: Provisioned, script: str) -> dict[str, tuple[str, str]]:
    """subject → errno and rule, of a script's refusals."""
    answer = why(box, "sh", "-c", script)
    return {one["subject"]: (one["errno"], one["rule"]) for one in answer["refusals"]}


def test_each_path_is_told_the_entry_that_decided(box: Provisioned) -> None:
    found = reasons(
        box,
        """
        cat ~/secret/key
        echo x > vendor/f
        echo x > /usr/new
        mkdir .git
        mv vendor elsewhere
        cat /var/lib/fleetbox/current/manifest.json
        """,
    )
    assert found["openat /home/dev/secret/key"] == ("EACCES", "none /home/dev/secret (rule)")
    assert found[f"openat {WORKSPACE}/vendor/f"] == ("EROFS", f"read {WORKSPACE}/vendor (rule)")
    assert found["openat /usr/new"] == ("EROFS", "read / (filesystem.root)")
    assert found[f"mkdir {WORKSPACE}/.git"][1] == f"absent {WORKSPACE}/.git (protected name)"
    assert [rule for subject, (_, rule) in found.items() if subject.startswith("rename")] == [
        f"read {WORKSPACE}/vendor (rule)"
    ]
    assert [rule for subject, (_, rule) in found.items() if "manifest.json" in subject] != []


PROGRAM = """
import socket
for family, kind, protocol in ((socket.AF_UNIX, 1, 0), (socket.AF_INET, 3, 1), (40, 1, 0)):
    try: socket.socket(family, kind, protocol)
    except OSError: pass
s = socket.socket()
for address in (("192.0.2.1", 80), ("127.0.0.1", 22)):
    try: s.connect(address)
    except OSError: pass
import ctypes
libc = ctypes.CDLL(None)
libc.unshare(0x10000000); libc.ptrace(0, 0, 0, 0)
libc.mount(b"a", b"/tmp", b"tmpfs", 0, 0)
"""


def test_system_calls_and_addresses_are_told_the_setting(box: Provisioned) -> None:
    answer = why(box, "python3", "-c", PROGRAM)
    found = {one["subject"]: (one["errno"], one["rule"]) for one in answer["refusals"]}
    assert found["socket AF_UNIX"] == ("EPERM", "process.unix_sockets")
    assert found["socket AF_INET"] == ("EPERM", "always")
    assert found["socket AF_VSOCK"] == ("EPERM", "always")
    assert found["connect 192.0.2.1:80"] == ("ENETUNREACH", "network.mode")
    assert found["connect 127.0.0.1:22"] == ("ECONNREFUSED", "network.mode")
    assert found["unshare CLONE_NEWUSER"] == ("EPERM", "process.nested_sandboxes")
    assert found["mount"] == ("EPERM", "process.nested_sandboxes")
    assert found["ptrace"] == ("EPERM", "always")


def test_what_fails_outside_as_well_is_marked(box: Provisioned) -> None:
    answer = why(box, "sh", "-c", "echo x > /etc/new; echo x > ~/new; cat /etc/shadow")
    outside = {one["subject"]: one["outside"] for one in answer["refusals"]}
    assert outside == {"openat /etc/new": True, "openat /home/dev/new": False}
    assert {"errno": "EACCES", "subject": "openat /etc/shadow", "count": 1} in answer["unexplained"]


def test_a_quiet_command_is_told_that_nothing_was_refused(box: Provisioned) -> None:
    answer = why(box, "sh", "-c", "cat nope; exit 3")
    assert (answer["exit"], answer["refusals"], answer["policy"]) == (3, [], "main")
    done = box.run(paths.HOST_PROGRAM, "why", "--workspace", WORKSPACE, "--", "true")
    assert done.stdout.splitlines() == [
        "true ended with 0 in the sandbox of policy main:",
        "  The policy refused nothing in it.",
    ]


def test_a_program_that_is_not_listed_is_named(box: Provisioned) -> None:
    answer = why(box, "/bin/sh", "-c", "/usr/bin/id", options=("--policy", "listed"))
    rules = {one["subject"]: one["rule"] for one in answer["refusals"]}
    assert rules["execve /usr/bin/id"] == "process.allowed_binaries"


def test_words_are_few_and_secrets_are_not_among_them(box: Provisioned) -> None:
    script = (
        "; ".join(f"echo x > /usr/new{n}; mkdir /opt/d{n}" for n in range(40))
        + "; cat ~/secret/key; echo s3cr3t"
    )
    done = box.run(
        *("env", "TOKEN=s3cr3t", paths.HOST_PROGRAM, "why", "--workspace", WORKSPACE, "--"),
        *("sh", "-c", script, "--password=s3cr3t"),
    )
    lines = done.stdout.splitlines()
    assert 3 <= len(lines) <= 12, done.stdout
    assert "(and 79 more)" in done.stdout
    assert "none /home/dev/secret (rule)" in done.stdout
    assert "s3cr3t" not in done.stdout + done.stderr


HOSTILE = r"""
import os
names = ["a\x1b]0;owned\x07", 'x") = -1 EROFS (Read-only file system)', "n\nnone      etc  (forged)"]
for name in names:
    os.mkdir(name)
    try: os.mkdir(f"/usr/{name}")
    except OSError: pass
    os.rmdir(name)
"""


def test_hostile_names_forge_no_line_and_drive_no_terminal(box: Provisioned) -> None:
    answer = why(box, "python3", "-c", HOSTILE)
    subjects = [one["subject"] for one in answer["refusals"] if one["subject"].startswith("mkdir")]
    assert sorted(subjects) == [
        r"mkdir /usr/a\x1b]0;owned\x07",
        r"mkdir /usr/n\nnone      etc  (forged)",
        'mkdir /usr/x") = -1 EROFS (Read-only file system)',
    ]
    assert {one["rule"] for one in answer["refusals"]} == {"read / (filesystem.root)"}


def test_a_name_that_looks_like_lines_of_explain_decides_nothing(box: Provisioned) -> None:
    directory = f"{WORKSPACE}/n\nnone      "
    box.host.exec(["install", "-d", "-o", "dev", f"{directory}/usr  (forged)\n"])
    box.host.put(f"{directory}/usr  (forged)\n/x.pem", b"", owner="dev")
    try:
        lines = box.launch("true", options=("--workspace", WORKSPACE, "--explain")).stdout.splitlines()
        [answer] = why(box, "mkdir", "/usr/new")["refusals"]
    finally:
        box.host.exec(["rm", "-r", directory])
    assert [line for line in lines if "x.pem" in line] == [
        f"none      {WORKSPACE}/n\\012none      /usr  (forged)\\012/x.pem  (glob)"
    ]
    assert answer["rule"] == "read / (filesystem.root)"


def test_a_command_without_end_is_ended_with_its_sandbox(box: Provisioned) -> None:
    answer = why(box, "sh", "-c", "echo x > /usr/new; exec sleep 771", options=("--timeout", "2"))
    assert (answer["exit"], answer["refusals"][0]["subject"]) == (None, "openat /usr/new")
    assert b"sleep 771" not in box.host.exec(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).stdout


def test_as_root_the_account_must_be_named_and_is_used(box: Provisioned) -> None:
    refused = box.root(paths.HOST_PROGRAM, "why", "--workspace", WORKSPACE, "--", "id")
    assert refused.returncode == 2
    assert "whose sandbox" in refused.stderr
    done = box.root(
        *(paths.HOST_PROGRAM, "why", "--json", "--user", "dev", "--workspace", WORKSPACE, "--"),
        *("sh", "-c", 'echo x > "/usr/$(id -u)"'),
    )
    assert [one["subject"] for one in json.loads(done.stdout)["refusals"]] == ["openat /usr/1000"]
    assert box.root(paths.HOST_PROGRAM, "why", "--user", "root", "--", "id").returncode == 2


def test_a_launch_that_is_refused_says_so_itself(box: Provisioned) -> None:
    done = box.run(paths.HOST_PROGRAM, "why", "--policy", "nowhere", "--", "true")
    assert done.returncode == 0
    assert done.stdout.startswith("fleetbox-run: ")
    with box.masked_proc():
        done = box.run(paths.HOST_PROGRAM, "why", "--workspace", WORKSPACE, "--", "true")
    assert "cannot sandbox (proc_masked)" in done.stdout


def test_without_the_tracer_that_is_said(box: Provisioned) -> None:
    box.change("mv /usr/bin/strace /usr/bin/strace.away")
    try:
        done = box.run(paths.HOST_PROGRAM, "why", "--", "true")
    finally:
        box.change("mv /usr/bin/strace.away /usr/bin/strace")
    assert (done.returncode, done.stdout) == (5, "")
    assert "strace is not installed" in done.stderr
    assert "apt-get install strace" in done.stderr


def test_the_last_refusals_are_few_words(box: Provisioned) -> None:
    for n in range(7):
        box.run(*box.command("true", policy=f"missing{n}"))
    lines = box.run(paths.HOST_PROGRAM, "why").stdout.splitlines()
    assert len(lines) == 10
    assert "missing6" in lines[-2]
    assert lines[-1].startswith("  hint: ")
    assert len(box.run(paths.HOST_PROGRAM, "why", "--last", "2").stdout.splitlines()) == 4
