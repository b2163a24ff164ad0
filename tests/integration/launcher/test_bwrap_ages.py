"""One sandbox on every bubblewrap: the packaged 0.4.1, 0.8.0, 0.12 and the newest, each on its own Debian.

Every claim is made twice: with the inner stage mounting what restricts, and with bwrap doing all of it, as
where the inner stage may not. What a version lacks must hold another way.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec, Suite
from tests.support.provision import PACKAGED, WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

MANY = 200
POLICIES = {
    "main": """
filesystem:
  rules:
    - {path: "${WORKSPACE}/closed", access: none}
    - {path: "${WORKSPACE}/closed/docs", access: read}
    - {path: "${WORKSPACE}/closed/docs/out", access: write}
    - {path: "${WORKSPACE}/secret", access: none}
    - {path: "${WORKSPACE}/notes", access: read}
""",
    "nested": "process: {nested_sandboxes: true}\n",
    "many": "filesystem:\n  rules:\n"
    + "".join(f'    - {{path: "${{WORKSPACE}}/many/d{n}", access: none}}\n' for n in range(MANY)),
}
SCENE = f"""
rm -rf {WORKSPACE}; mkdir -p {WORKSPACE}/closed/docs/out {WORKSPACE}/.git/hooks
cd {WORKSPACE}
echo hidden > closed/f; echo shown > closed/docs/f; echo old > closed/docs/out/f
echo hidden > secret; echo shown > notes; echo own > .git/config
for n in $(seq 0 2 {MANY - 1}); do mkdir -p many/d$n; echo hidden > many/d$n/f; done
chown -R dev:dev .
"""


@pytest.fixture(scope="module", params=list(Suite))
def box(request: pytest.FixtureRequest, lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of(f"age-{request.param}", suite=request.param)) as [box]:
        box.activate(POLICIES)
        box.change(SCENE)
        yield box


@pytest.fixture(params=["inner", "bwrap"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Who mounts what restricts."""
    return ("--workspace", WORKSPACE, "--mounts", request.param)


def inside(box: Provisioned, script: str, options: tuple[str, ...], policy: str = "main") -> list[str]:
    done = box.sh(script, options=options, policy=policy)
    assert done.returncode == 0, done
    return done.stdout.splitlines()


def test_grants_and_masks_nest_to_any_depth(box: Provisioned, options: tuple[str, ...]) -> None:
    script = """
        cat closed/f secret
        cat closed/docs/f closed/docs/out/f notes
        for f in closed/x closed/f closed/docs/x closed/docs/f secret notes; do echo bad > $f; done
        chmod 755 closed secret; mkdir closed/x; mv closed open; rm -f secret notes
        echo new > closed/docs/out/f && echo made > made && cat closed/docs/out/f made; rm made"""
    assert inside(box, script, options) == ["shown", "old", "shown", "new", "made"]
    left = "cat closed/f closed/docs/f closed/docs/out/f secret notes; ls -A"
    there = box.run("sh", "-c", f"cd {WORKSPACE}; {left}").stdout.split()
    assert there == ["hidden", "shown", "new", "hidden", "shown", ".git", "closed", "many", "notes", "secret"]
    box.change(f"echo old > {WORKSPACE}/closed/docs/out/f")


def test_protected_names_hold_whether_they_are_there_or_not(
    box: Provisioned, options: tuple[str, ...]
) -> None:
    script = """
        for f in .git/config .git/hooks/x .codex/x .codex; do echo bad > $f; done
        mkdir .codex/y .agents/z; mv .git elsewhere; rm -rf .codex .git; ls -A .codex; cat .git/config"""
    assert inside(box, script, options) == ["own"]
    assert box.run("ls", "-A", WORKSPACE).stdout.split() == [".git", "closed", "many", "notes", "secret"]


def test_network_processes_and_privileges_are_the_sandboxes_own(
    box: Provisioned, options: tuple[str, ...]
) -> None:
    script = """
        tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '
        touch /tmp/x /var/tmp/x /dev/shm/x && echo private
        ls /proc | grep -c '^[0-9]*$' | grep -c '^[1-5]$'
        grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | cut -f2 | sort -u
        sudo -n true; unshare -Ur true || echo refused"""
    box.run("rm", "-f", "/tmp/x", "/var/tmp/x")
    said = inside(box, script, options)
    assert said == ["lo", "private", "1", "0000000000000000", "1", "2", "refused"]
    assert box.run("ls", "/tmp/x", "/var/tmp/x", "/dev/shm/x").stdout == ""
    assert inside(box, "unshare -Ur true && echo nested", options, policy="nested") == ["nested"]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 7", 7), ("exec /etc/passwd", 126), ("exec no-such-program", 127), ("kill -KILL $$", 137)],
)
def test_the_end_of_the_workload_is_the_launchers(
    box: Provisioned, options: tuple[str, ...], script: str, code: int
) -> None:
    assert box.sh(script, options=options).returncode == code


def test_a_signal_arrives_once_and_the_answer_comes_back(box: Provisioned, options: tuple[str, ...]) -> None:
    trap = "trap 'echo got; exit 9' TERM; touch ready; while :; do sleep 0.02; done"
    words = " ".join(box.command("sh", "-c", '"$trap"', options=options))
    script = f"""
        cd {WORKSPACE}; trap="{trap}"; {words} > said & pid=$!
        until [ -e ready ]; do sleep 0.02; done
        kill -TERM $pid; wait $pid; code=$?; cat said; rm ready said; exit $code"""
    done = box.run("sh", "-c", script)
    assert (done.returncode, done.stdout) == (9, "got\n"), done


def test_what_dry_run_prints_is_the_same_sandbox(box: Provisioned, options: tuple[str, ...]) -> None:
    script = "cat secret; echo bad > notes; cat notes; touch .git/x closed/x; ls /proc | grep -c '^1$'"
    printed = box.sh(script, options=(*options, "--dry-run"))
    assert printed.returncode == 0, printed
    pasted = box.run("sh", "-c", f"cd {WORKSPACE}; {printed.stdout}")
    assert pasted.stdout == "shown\n1\n", pasted
    assert box.run("cat", f"{WORKSPACE}/notes").stdout == "shown\n"
    box.change(f"rmdir {WORKSPACE}/.[!.g]* 2>/dev/null || true")  # a pasted line has no launcher to clean up


def test_two_hundred_rules_all_hold(box: Provisioned, options: tuple[str, ...]) -> None:
    script = "cat many/*/f; for d in many/*; do touch $d/x; done; mkdir many/d1/x; ls many | wc -l"
    assert inside(box, script, options, policy="many") == [str(MANY)]
    assert len(box.run("ls", f"{WORKSPACE}/many").stdout.split()) == MANY // 2


def test_only_what_it_has_is_asked_of_it(box: Provisioned, options: tuple[str, ...]) -> None:
    offered = box.run("bwrap", "--help").stdout
    printed = box.launch("true", options=(*options, "--dry-run")).stdout
    command = printed.split(" -- ")[0].split()
    asked = {word for word in command if word.startswith("--")}
    assert asked, printed
    assert {word for word in asked if f"{word} " not in offered and f"{word}\n" not in offered} == set()


@pytest.fixture
def setuid(box: Provisioned) -> Iterator[None]:
    box.change(f"chmod u+s {PACKAGED} {paths.BWRAP}")
    try:
        yield
    finally:
        box.change(f"chmod u-s {PACKAGED} {paths.BWRAP}; echo 10000 > /proc/sys/user/max_user_namespaces")


@pytest.mark.usefixtures("setuid")
def test_a_setuid_one_makes_the_same_sandbox_or_says_that_it_must_not_be_setuid(box: Provisioned) -> None:
    if box.host.spec.suite in {Suite.TRIXIE, Suite.SID}:
        done = box.launch("/bin/touch", f"{WORKSPACE}/ran")
        assert done.returncode == 125
        assert done.stderr.endswith(f"  hint: newer ones refuse to be setuid: chmod u-s {PACKAGED}\n")
        box.change(f"chmod u-s {paths.BWRAP}")
        assert box.launch("true").stderr == "", "what it said while it was setuid is not remembered"
        return
    script = """
        cat closed/f secret closed/docs/f; touch .git/x notes closed/x /etc/x; mkdir .codex/x; sudo -n true
        unshare -Ur true && echo nested
        grep -E '^(Cap|NoNewPrivs)' /proc/self/status | cut -f2 | sort -u; id -u"""
    expected = ["shown", "0000000000000000", "1", "1000"]
    assert inside(box, script, ("--workspace", WORKSPACE)) == expected
    box.change("echo 0 > /proc/sys/user/max_user_namespaces")
    assert inside(box, script, ("--workspace", WORKSPACE)) == expected, "it needs no user namespace"


def test_a_planted_link_is_refused_and_nothing_is_made_where_it_leads(
    box: Provisioned, options: tuple[str, ...]
) -> None:
    """CVE-2026-87766, which bubblewrap before 0.12 has: it made files behind such a link, on the host."""
    box.change("install -d -o dev -m 0777 /home/dev/victim")
    box.change(f"ln -s /oldroot/home/dev/victim {WORKSPACE}/.codex")
    try:
        done = box.sh("echo ran", options=options, policy="main")
        left = box.host.exec(["ls", "-A", "/home/dev/victim"]).stdout
    finally:
        box.change(f"rm -r /home/dev/victim {WORKSPACE}/.codex")
    assert (done.returncode, done.stdout) == (125, "")
    assert f"symlink below a writable directory: {WORKSPACE}/.codex" in done.stderr
    assert not left.strip()
