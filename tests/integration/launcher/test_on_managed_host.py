"""One managed host: what the launcher trusts, who may launch, what is written down, a policy's switches."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.support.bwraps import if_asked_for, once_asked
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import PACKAGED, WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

POLICIES = {
    "main": "",
    "other": "mode: read-only\n",
    "hostnet": "network: {mode: host}\n",
    "hosttmp": "filesystem: {tmp: host}\n",
    "hostpids": "process: {allow_host_pids: true}\n",
    "minimal": "filesystem: {root: minimal}\n",
    "full": "mode: full-access\n",
    "writes-launcher": "filesystem: {rules: [{path: /usr/local/bin, access: write}]}\n",
    "writes-bwrap": f"filesystem: {{rules: [{{path: {paths.PREFIX}/bin, access: write}}]}}\n",
    "writes-plan": "filesystem: {rules: [{path: /var/lib, access: write}]}\n",
    "writes-store": f"filesystem: {{rules: [{{path: {paths.STORE}, access: write}}]}}\n",
}
ACTIVE = f"{paths.CURRENT}/{paths.LINUX_DIR}"
PLAN = f"{ACTIVE}/{paths.LAUNCH_PLAN}"
UNIX, NOUNIX = (f"seccomp-{os.uname().machine}-{variant}.bpf" for variant in ("unix", "nounix"))


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("managed")) as [box]:
        box.activate(POLICIES)
        yield box


def refused(box: Provisioned, problem: str, **options: object) -> str:
    """A launch that must end with 125, that reason, a hint, and nothing run; its stderr."""
    done = box.launch("/bin/sh", "-c", f"touch {WORKSPACE}/ran || touch ran; echo ran", **options)  # type: ignore[arg-type]
    left = box.run("ls", "-A", WORKSPACE).stdout
    box.change(f"rm -f {WORKSPACE}/ran")  # or the next claim would fail for this one's reason
    assert (done.returncode, done.stdout, left) == (125, "", ""), done
    first, *rest = done.stderr.splitlines()
    assert first.startswith("fleetbox-run: ")
    assert problem in first
    assert [line[:8] for line in rest] in ([], ["  hint: "])
    return done.stderr


def test_without_a_generation_it_says_how_to_get_one(box: Provisioned) -> None:
    box.change(f"mv {paths.CURRENT} {paths.CURRENT}.away")
    try:
        stderr = refused(box, "no policy is active on this machine")
    finally:
        box.change(f"mv -T {paths.CURRENT}.away {paths.CURRENT}")
    assert "fleetbox push-policy" in stderr


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (f"chmod g+w {PLAN}", "the launch plan can be written by others"),
        (f"chown dev {PLAN}", "the launch plan belongs to uid 1000"),
        (f"chown dev {ACTIVE}/", "the generation's directory belongs to uid 1000"),
        (f"chmod o+w {ACTIVE}/", "the generation's directory can be written by others"),
        (f"chown dev {paths.CURRENT}/", "the active generation belongs to uid 1000"),
        (f"chmod g+w {ACTIVE}/{NOUNIX}", f"{NOUNIX} can be written by others"),
        (f"chown dev {ACTIVE}/{UNIX}", f"{UNIX} belongs to uid 1000"),
        (f"truncate -s -1 {PLAN}", "the launch plan is truncated"),
        (f"truncate -s 0 {PLAN}", "the launch plan is truncated"),
        (f"truncate -s 300000 {PLAN}", "the launch plan is larger than"),
        (f"printf X | dd of={PLAN} bs=1 seek=200 conv=notrunc status=none", "the launch plan is corrupted"),
        (f"rm {PLAN}", "cannot open the launch plan"),
        (f"cp {PLAN} /srv/plan; ln -sf /srv/plan {PLAN}", "cannot open the launch plan"),
        (f"rm {PLAN}; mkfifo {PLAN}", "the launch plan is not what it should be"),
        (f"rm {ACTIVE}/{NOUNIX}", f"cannot open {NOUNIX}"),
        (f"truncate -s 3 {ACTIVE}/{NOUNIX}", "the seccomp filter"),
        (f"cp -a {paths.CURRENT}/ /srv/copy; ln -sfT /srv/copy {paths.CURRENT}", "does not lead into"),
        (f"chown dev {paths.LAUNCHER}", "the launcher belongs to uid 1000"),
        (f"chmod g+w {paths.LAUNCHER}", "the launcher can be written by others"),
    ],
)  # fmt: skip
def test_a_generation_that_somebody_changed_is_refused(box: Provisioned, damage: str, problem: str) -> None:
    save = f"tar -cpf /root/saved.tar -C / {paths.STATE[1:]} {paths.LAUNCHER[1:]}"
    restore = f"rm -rf {paths.STATE} /srv/*; tar -xpf /root/saved.tar -C /"
    box.change(save)
    try:
        box.change(damage)
        refused(box, problem)
    finally:
        box.change(restore)
    assert box.launch("true").returncode == 0


def test_a_named_policy_is_checked_like_the_default_one(box: Provisioned) -> None:
    other = f"{ACTIVE}/{paths.POLICIES_DIR}/other/{paths.LAUNCH_PLAN}"
    box.change(f"chmod g+w {other}")
    try:
        refused(box, "the launch plan can be written by others", policy="other")
        assert box.launch("true").returncode == 0
    finally:
        box.change(f"chmod g-w {other}")
    refused(box, "is not the name of a policy", policy="../other")
    refused(box, "cannot open the policy none-such", policy="none-such")


@pytest.mark.parametrize(
    ("policy", "held"),
    [
        ("writes-launcher", f"{paths.LAUNCHER} lies below /usr/local/bin"),
        ("writes-bwrap", f"{paths.BWRAP} lies below a writable directory"),
        ("writes-plan", "lies below /var/lib, which the workload may write"),
        ("writes-store", f"{paths.STORE} (rule) lies in {paths.STATE}"),
    ],
)
def test_a_rule_that_lets_the_workload_write_what_decides_is_refused(
    box: Provisioned, policy: str, held: str
) -> None:
    refused(box, held, policy=policy)


@pytest.mark.parametrize("workspace", ["/usr/local", "/var", "/var/lib", "/usr"])
def test_a_workspace_that_holds_what_decides_is_refused(box: Provisioned, workspace: str) -> None:
    refused(box, "lies below", options=("--workspace", workspace))


@pytest.mark.parametrize("workspace", ["/", "/home", "/home/dev"])
def test_a_whole_home_is_no_workspace(box: Provisioned, workspace: str) -> None:
    refused(box, "is too broad for a workspace", options=("--workspace", workspace))


def test_root_is_refused_without_an_account_to_become(box: Provisioned) -> None:
    done = box.root(*box.command("touch", "ran"))
    assert (done.returncode, done.stdout) == (125, "")
    assert "refusing to run as root" in done.stderr
    assert "hint: add --user NAME" in done.stderr
    for user, problem in (("root", "dev is root"), ("nobody-here", "there is no account nobody-here")):
        done = box.root(*box.command("touch", "ran", options=("--user", user, "--workspace", WORKSPACE)))
        assert done.returncode == 125
        assert problem.replace("dev is", f"{user} is") in done.stderr
    assert box.run("ls", "-A", WORKSPACE).stdout == ""


def test_root_becomes_the_named_account_with_its_groups_and_home(box: Provisioned) -> None:
    box.change("getent group gpu || groupadd gpu; usermod -a -G gpu dev")
    script = "id -un; id -Gn; echo $HOME; echo $USER; echo [$TOKEN]; touch made; cat /proc/self/loginuid"
    options = ("--user", "dev", "--workspace", WORKSPACE)
    done = box.root("env", "TOKEN=secret", *box.command("sh", "-c", script, options=options))
    assert done.returncode == 0, done.stderr
    # A user namespace shows a group that is not mapped in it by the overflow's name; it still counts.
    name, groups, home, user, token, *_ = done.stdout.splitlines()
    assert (name, home, user, token) == ("dev", "/home/dev", "dev", "[]")
    assert groups.split() == ["dev", "nogroup"]
    assert box.run("stat", "-c", "%U", f"{WORKSPACE}/made").stdout == "dev\n"
    box.change(
        f"rm {WORKSPACE}/made; install -d /srv/g; echo x > /srv/g/f; chown :gpu /srv/g/f; chmod 640 /srv/g/f"
    )
    assert box.root(*box.command("cat", "/srv/g/f", options=options)).stdout == "x\n"


def test_an_account_cannot_become_another_one(box: Provisioned) -> None:
    refused(box, "only root can become nobody", options=("--workspace", WORKSPACE, "--user", "nobody"))


def test_a_refusal_is_written_down_and_why_shows_it(box: Provisioned) -> None:
    log = f"{paths.REFUSALS}/1000.jsonl"
    box.change(f"rm -f {log}")
    refused(box, "is too broad", options=("--workspace", "/home/dev"))
    refused(box, "none-such", policy="none-such")
    lines = [json.loads(line) for line in box.host.get(log).splitlines()]
    assert len(lines) == 2
    assert lines[0]["policy"] == "main"
    assert "/home/dev is too broad" in lines[0]["problem"]
    assert box.change(f"stat -c '%U %a' {log} {paths.REFUSALS}").split() == ["dev", "600", "root", "1733"]
    answer = json.loads(box.root(paths.HOST_PROGRAM, "why", "--json", "--user", "dev").stdout)
    assert [entry["problem"] for entry in answer["refusals"]] == [line["problem"] for line in lines]
    assert answer["skipped"] == []


@pytest.mark.parametrize("link", ["ln -s", "ln"])
def test_a_link_planted_as_the_log_is_not_followed(box: Provisioned, link: str) -> None:
    box.change(f"rm -f {paths.REFUSALS}/*; echo mine > /home/dev/victim; chown dev /home/dev/victim")
    box.change(f"{link} /home/dev/victim {paths.REFUSALS}/1000.jsonl 2>/dev/null || true")
    if link == "ln":  # the log lies on the same file system here, or the claim is empty
        assert box.change("stat -c %h /home/dev/victim") == "2\n"
    try:
        refused(box, "is too broad", options=("--workspace", "/home/dev"))
        assert box.host.get("/home/dev/victim") == b"mine\n"
        answer = json.loads(box.root(paths.HOST_PROGRAM, "why", "--json").stdout)
        assert answer["refusals"] == []
        assert len(answer["skipped"]) == 1
    finally:
        box.change(f"rm -f {paths.REFUSALS}/*")


def test_without_the_log_a_refusal_is_still_one(box: Provisioned) -> None:
    box.change(f"mv {paths.REFUSALS} {paths.REFUSALS}.away")
    try:
        refused(box, "is too broad", options=("--workspace", "/home/dev"))
    finally:
        box.change(f"mv {paths.REFUSALS}.away {paths.REFUSALS}")


CONNECT = "import socket; socket.create_connection((%r, 22), timeout=3); print('connected')"


def test_the_network_is_the_hosts_only_where_the_policy_says_so(box: Provisioned) -> None:
    own = CONNECT % box.host.address
    assert box.launch("python3", "-c", own, policy="hostnet").stdout == "connected\n"
    done = box.launch("python3", "-c", own)
    assert done.returncode == 1
    assert "Network is unreachable" in done.stderr
    loopback = (
        "import socket as s; a = s.create_server(('127.0.0.1', 0)); s.create_connection(a.getsockname())"
    )
    assert box.launch("python3", "-c", loopback).returncode == 0, "local test servers work"


def test_tmp_is_the_hosts_only_where_the_policy_says_so(box: Provisioned) -> None:
    box.change("rm -rf /tmp/of-the-host /var/tmp/of-the-host; touch /tmp/of-the-host")
    script = "ls /tmp/of-the-host; touch /var/tmp/of-the-host; ls -ld $TMPDIR/ >/dev/null && echo usable"
    assert box.sh(script).stdout == "usable\n"
    assert box.run("ls", "/var/tmp/of-the-host").returncode != 0
    done = box.sh(script, policy="hosttmp", env={"TMPDIR": "/tmp"})
    assert done.stdout.startswith("/tmp/of-the-host\n")
    assert box.run("ls", "/var/tmp/of-the-host").returncode == 0


def test_host_processes_are_visible_only_where_the_policy_accepts_it_and_proc_is_masked(
    box: Provisioned,
) -> None:
    script = "cat /proc/[0-9]*/comm | grep -c sshd"
    assert box.sh(script).stdout == "0\n"
    assert box.sh(script, policy="hostpids").stdout == "0\n", "accepting it does not ask for it"
    with box.masked_proc():
        assert int(box.sh(script, policy="hostpids").stdout) > 0
        assert box.sh(script).returncode == 125


def test_what_else_refuses_a_fresh_proc_is_found_by_trying(box: Provisioned) -> None:
    """Some sandboxed kernels refuse it without a mount that shows why."""
    refuses = f"#!/bin/sh\n{once_asked(if_asked_for('--as-pid-1', 'exit 1'), PACKAGED + '.away')}"
    moved = f"mv {PACKAGED} {PACKAGED}.away; mv {paths.BWRAP} {paths.BWRAP}.away"
    box.change(moved)
    try:
        box.host.put(paths.BWRAP, refuses.encode(), mode=0o755)
        done = box.launch("echo", "ran", policy="hostpids")
        assert (done.returncode, done.stdout) == (0, "ran\n")
        assert "trying without a PID namespace, which the policy accepts" in done.stderr
        assert box.launch("echo", "ran").returncode == 125
    finally:
        box.change(f"mv {PACKAGED}.away {PACKAGED}; mv {paths.BWRAP}.away {paths.BWRAP}")


def test_a_minimal_root_holds_what_programs_need_and_no_more(box: Provisioned) -> None:
    box.change("echo x > /srv/f; echo x > /opt/f")
    script = """
        ls / /home; cat /srv/f /opt/f; ls /root
        touch made && ls made && rm made; touch /x; python3 -c 'print(6 * 7)'"""
    inside = box.sh(script, policy="minimal").stdout.split()
    assert {"usr", "etc", "proc", "dev", "tmp"} <= set(inside)
    assert not {"srv", "opt", "root", "boot", "mnt", "media", "x"} & set(inside)
    assert inside[-3:] == ["dev", "made", "42"], inside
    assert box.sh("cat /srv/f").stdout == "x\n"


def test_full_access_says_that_there_is_no_sandbox(box: Provisioned) -> None:
    done = box.sh("touch /home/dev/outside; echo $TOKEN; exit 7", policy="full", env={"TOKEN": "kept"})
    assert (done.returncode, done.stdout) == (7, "kept\n")
    assert done.stderr == "fleetbox-run: warning: no sandbox: the policy full gives full access\n"
    assert box.run("rm", "/home/dev/outside").returncode == 0
    assert box.launch("no-such-program", policy="full").returncode == 127


def test_dry_run_and_explain_run_nothing(box: Provisioned) -> None:
    for word in ("--dry-run", "--explain"):
        done = box.launch("touch", "ran", options=("--workspace", WORKSPACE, word))
        assert done.returncode == 0, done.stderr
        assert paths.BWRAP in done.stdout
    assert box.run("ls", "-A", WORKSPACE).stdout == ""


def test_without_network_namespaces_that_is_what_is_said(box: Provisioned) -> None:
    limit = "/proc/sys/user/max_net_namespaces"
    before = box.host.get(limit).decode().strip()
    box.change(f"echo 0 > {limit}")
    try:
        done = box.launch("touch", "ran")
        assert done.returncode == 125
        assert "(netns_max_zero): network namespaces are switched off" in done.stderr
        assert box.launch("true", policy="hostnet").returncode == 0
    finally:
        box.change(f"echo {before} > {limit}")


def test_an_ordinary_mount_below_proc_is_not_taken_for_the_reason(box: Provisioned) -> None:
    """systemd mounts binfmt_misc on every machine, over a directory that exists for it."""
    fails = f'#!/bin/sh\n[ "$1" != --help ] || exec {PACKAGED}.real --help\nexit 1\n'
    box.change(f"mount -t tmpfs t /proc/sys/fs/binfmt_misc; mv {PACKAGED} {PACKAGED}.real")
    try:
        box.host.put(PACKAGED, fails.encode(), mode=0o755)
        box.host.put(paths.BWRAP, fails.encode(), mode=0o755)
        done = box.launch("touch", "ran")
        assert done.returncode == 125
        assert f"{PACKAGED} could not make the sandbox (it ended with 1)" in done.stderr
        box.change(f"mv {PACKAGED}.real {PACKAGED}; rm {paths.BWRAP}; install {PACKAGED} {paths.BWRAP}")
        assert box.launch("true").returncode == 0
    finally:
        box.change("umount /proc/sys/fs/binfmt_misc")


@pytest.mark.parametrize("plant", ["ln -s /home/dev", "install -d -o daemon", "install -m 0755 -d -o dev"])
def test_a_state_directory_that_somebody_prepared_is_refused(box: Provisioned, plant: str) -> None:
    """It lies in /tmp, so anybody may have been there first."""
    state = "/tmp/fleetbox-1000"
    box.change(f"rm -rf {state}; {plant} {state}")
    try:
        refused(box, f"{state} is not a directory of uid 1000 with mode 0700")
    finally:
        box.change(f"rm -rf {state}")
    assert box.launch("true").returncode == 0
