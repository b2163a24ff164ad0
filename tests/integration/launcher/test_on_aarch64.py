"""The launcher on aarch64: a policy holds, and its own tests of what an architecture decides pass there.

The processor is QEMU's; the kernel with its numbers and its 32-bit calls, and bubblewrap, are Debian's own.
`make test-aarch64` runs all tests of the launcher there.
"""

import json
from collections.abc import Iterator

import pytest

from fleetbox.hostside import paths
from tests.support import aarch64
from tests.support.hosts.lab import Lab
from tests.support.provision import WORKSPACE, Provisioned, provision

pytestmark = pytest.mark.host

DECIDED_BY_THE_ARCHITECTURE = ("tests/integration/launcher/test_kernel_seccomp.py",)

POLICY = "filesystem: {rules: [{path: ~/secret, access: none}]}\n"
SCRIPT = """
cat ~/secret/f shown; touch .git/x ~/secret/x; mkdir .codex/x; echo made > made && cat made; rm made
grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | cut -f2 | sort -u"""
HELD = ["shown", "made", "0000000000000000", "1", "2"]


@pytest.fixture(scope="module")
def box(lab: Lab) -> Iterator[Provisioned]:
    [host] = lab.up(aarch64.SPEC)
    try:
        aarch64.install(host)
        box = provision(host, aarch64.launcher())
        box.activate({"main": POLICY})
        box.change(
            f"install -d -o dev /home/dev/secret {WORKSPACE}/.git; echo hidden > /home/dev/secret/f;"
            f"echo shown > {WORKSPACE}/shown"
        )
        yield box
    finally:
        lab.down(host)


def test_it_is_debians_kernel_for_arm(box: Provisioned) -> None:
    release, machine = box.run("uname", "-rm").stdout.split()
    assert (release.endswith("-cloud-arm64"), machine) == (True, "aarch64")


@pytest.mark.parametrize("mounts", ["inner", "bwrap"])
def test_a_policy_holds(box: Provisioned, mounts: str) -> None:
    done = box.sh(SCRIPT, options=("--workspace", WORKSPACE, "--mounts", mounts))
    assert done.stdout.split() == HELD, done
    assert "fleetbox-run" not in done.stderr
    assert box.run("ls", "-A", WORKSPACE).stdout.split() == [".git", "shown"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["/etc/passwd"], 126),
        (["no-such-program"], 127),
        (["sh", "-c", "kill -TERM $$"], 143),
    ],
)
def test_the_workloads_end_is_the_launchers(box: Provisioned, words: list[str], code: int) -> None:
    assert box.launch(*words).returncode == code


def test_nothing_stands_in_the_way_by_its_facts(box: Provisioned) -> None:
    facts = json.loads(box.run(paths.HOST_PROGRAM, "facts").stdout)
    assert (facts["gates"], facts["costs"], facts["kernel"]["arch"]) == ([], [], "aarch64")


def test_what_the_architecture_decides_passes_there(box: Provisioned) -> None:
    done = box.host.exec(aarch64.command("-q", *DECIDED_BY_THE_ARCHITECTURE), check=False, timeout=1200)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-8000:]
