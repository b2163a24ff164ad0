"""Every check has a mutation that turns it red, and only it: what makes a green run worth something.

A policy is loosened in one rule and held against the strict one, so the digest (FBX-POL-001) differs too;
or the launcher is replaced by one that does a single thing wrong.
"""

import shlex
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetbox.hostside.checks import CHECKS
from tests.integration.conformance.tryout import Tryout, red

pytestmark = pytest.mark.sandbox

STRICT = """
filesystem:
  rules:
    - {path: ~/.ssh, access: none}
    - {path: ~/.aws, access: none}
"""
DIGEST = "FBX-POL-001"


@dataclass(frozen=True)
class Mutation:
    """`policy` in the place of the strict one, or a launcher, or damage to what was compiled."""

    check: str
    what: str
    policy: str = ""
    launcher: Callable[[Tryout], Path] | None = None
    damage: Callable[[Path], None] | None = None


def loosened(check: str, text: str) -> Mutation:
    return Mutation(check, " ".join(text.split()), policy=text if "rules" in text else STRICT + text)


def edited(old: str, new: str) -> Callable[[Tryout], Path]:
    """A launcher that changes one thing in the bubblewrap command it runs."""

    def make(tryout: Tryout) -> Path:
        return tryout.script(
            "edited",
            f'command=$({shlex.quote(str(tryout.launcher))} --dry-run "$@") || exit $?\n'
            f"edited=$(printf '%s' \"$command\" | sed {shlex.quote(f's|{old}|{new}|')})\n"
            '[ "$edited" != "$command" ] || exit 99\n'
            'eval "exec $edited"\n',
        )

    return make


def fails_open(tryout: Tryout) -> Path:
    return tryout.script(
        "fails-open",
        f"launcher={shlex.quote(str(tryout.launcher))}\n"
        '"$launcher" --dry-run "$@" >/dev/null 2>&1 && exec "$launcher" "$@"\n'
        'while [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n',
    )


def leaves_orphans(tryout: Tryout) -> Path:
    # A shell gives what it does not wait for /dev/null as stdin, hence the detour.
    launch = f'setsid {shlex.quote(str(tryout.launcher))} "$@" <&9 9<&- &'
    return tryout.script("leaves", f"exec 9<&0\n{launch}\nwait $!\n")


def allow_unix_sockets(directory: Path) -> None:
    for narrow in directory.glob("*-nounix.bpf"):
        narrow.write_bytes(narrow.with_name(narrow.name.replace("nounix", "unix")).read_bytes())


def allow_keyctl(directory: Path) -> None:
    """Make the filter compare with a number that no call has, where it compared with keyctl's."""
    for path, number in ((p, 250 if "x86_64" in p.name else 219) for p in directory.glob("*.bpf")):
        program = [list(line) for line in struct.iter_unpack("<HBBI", path.read_bytes())]
        hits = [line for line in program if line[0] == 0x15 and line[3] == number]
        assert hits, f"{path.name} does not compare with {number}"
        for line in hits:
            line[3] = 0x0FFFFFFF
        path.write_bytes(b"".join(struct.pack("<HBBI", *line) for line in program))


MUTATIONS = (
    Mutation("FBX-SBX-001", "bwrap without --unshare-uts", launcher=edited("--unshare-uts ", "")),
    Mutation("FBX-SBX-002", "a launcher that runs the command when it must refuse", launcher=fails_open),
    loosened("FBX-FS-001", STRICT + "    - {path: ~/projects, access: write}"),
    loosened("FBX-FS-002", "  workspace: read"),
    loosened("FBX-FS-003", "  unprotect: [.git]"),
    loosened("FBX-FS-004", "  unprotect: [.claude]"),
    loosened("FBX-FS-005", "filesystem:\n  rules: [{path: ~/.aws, access: none}]"),
    loosened("FBX-FS-006", STRICT + "    - {path: ~/.bashrc, access: write}"),
    loosened("FBX-FS-008", "  tmp: host"),
    loosened("FBX-NET-001", "network: {mode: host}"),
    Mutation("FBX-NET-004", "a filter that lets AF_UNIX through", damage=allow_unix_sockets),
    loosened("FBX-NS-001", "process: {nested_sandboxes: true}"),
    Mutation(
        "FBX-NS-002", "bwrap that keeps a capability", launcher=edited("--cap-drop ALL", "--cap-add CAP_KILL")
    ),
    Mutation(
        "FBX-NS-003", "bwrap with the host's /proc", launcher=edited("--proc /proc", "--ro-bind /proc /proc")
    ),
    Mutation("FBX-SYS-001", "a filter that lets keyctl through", damage=allow_keyctl),
    Mutation("FBX-SYS-002", "a launcher that is not waited for", launcher=leaves_orphans),
    loosened("FBX-ENV-001", "environment: {pass: [AWS_SECRET_ACCESS_KEY]}"),
    loosened("FBX-POL-001", "environment: {set: {EDITOR: vi}}"),
)


@pytest.fixture
def strict_home(tryout: Tryout) -> Tryout:
    tryout.give(tryout.home / "projects")
    tryout.file(tryout.home / ".bashrc", "# a person's\n")
    return tryout


def test_under_the_strict_policy_nothing_is_red(strict_home: Tryout) -> None:
    policy = strict_home.policy(STRICT)
    results = strict_home.verify(policy, strict_home.compile(policy, "strict"))
    assert red(results) == set(), {check: results[check] for check in red(results)}
    assert len(results) == len(CHECKS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.check)
def test_a_mutation_turns_exactly_its_check_red(
    mutation: Mutation, strict_home: Tryout, record_property: Callable[[str, object], None]
) -> None:
    tryout = strict_home
    strict = tryout.policy(STRICT)
    enforced = tryout.policy(mutation.policy) if mutation.policy else strict
    plan = tryout.compile(enforced, "enforced")
    if mutation.damage:
        mutation.damage(plan.parent)
    results = tryout.verify(strict, plan, mutation.launcher(tryout) if mutation.launcher else None)
    differs = {DIGEST} if mutation.policy else set()
    print(f"{mutation.check}  {results[mutation.check]['status']:<5}  {mutation.what}")
    record_property("mutation", mutation.what)
    assert results[mutation.check]["status"] == "fail", results[mutation.check]
    assert red(results) == {mutation.check} | differs, {check: results[check] for check in red(results)}


def test_every_check_has_a_mutation() -> None:
    elsewhere = {"FBX-GPU-001"}  # needs device nodes: on a host with some, test_on_hosts.py
    assert {mutation.check for mutation in MUTATIONS} | elsewhere == {check.id for check in CHECKS}
