"""Detection on planted trees: every host that the reference describes, without having it."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from fleetbox.hostside.detect import evidence, explain, gates, kernel, userns, wsl
from fleetbox.hostside.detect.attempt import Attempt, Prober
from fleetbox.hostside.detect.explain import Blocked, Evidence
from fleetbox.hostside.paths import Places


@pytest.fixture
def host(tmp_path: Path) -> Places:
    return Places(str(tmp_path))


def plant(host: Places, path: str, text: str = "") -> None:
    file = Path(host.under(path))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Linux version 4.4.0-22621-Microsoft (Microsoft@Microsoft.com)", 1),
        ("Linux version 4.4.0-19041-Microsoft", 1),
        ("Linux version 5.15.0-microsoft-standard-WSL1", 1),
        ("Linux version 5.15.0-wsl-microsoft-standard-WSL1", 1),
        ("Linux version 6.6.87.2-microsoft-standard-WSL2 (root@439a258ad544)", 2),
        ("Linux version 4.19.104-microsoft-standard (oe-user@oe-host)", 2),
        ("Linux version 7.0.0-microsoft-standard-WSL3", 2),
        ("Linux version 6.6.0-custom-WSL12", 2),
        ("Linux version 6.8.0-31-generic (buildd@lcy02)", 0),
        ("", 0),
    ],
)
def test_wsl_is_told_by_the_kernels_own_words(text: str, version: int) -> None:
    assert wsl.version(text) == version


APPARMOR = Evidence(sysctls={gates.APPARMOR: 1})
INSIDE = Evidence(sandbox="inside fleetbox", sysctls={gates.maximum("user"): 0})
ALL = frozenset(userns.LAYERS)


def limits(**zero: int) -> Evidence:
    return Evidence(sysctls={gates.maximum(kind): value for kind, value in zero.items()})


@pytest.mark.parametrize(
    ("layer", "said", "evidence", "gate"),
    [
        ("user", "setting up uid map: Permission denied", APPARMOR, "userns_apparmor"),
        ("net", "loopback: Failed RTM_NEWADDR", APPARMOR, "userns_apparmor"),
        ("net", "loopback: Failed RTM_NEWADDR", Evidence(sysctls={gates.APPARMOR: 0}), "no_netns"),
        ("net", "loopback: Failed RTM_NEWADDR", Evidence(gvisor=True), "gvisor"),
        ("net", "exceeded (ENOSPC)", limits(net=0, user=100), "netns_max_zero"),
        ("user", "Operation not permitted", Evidence(sysctls={gates.CLONE: 0}), "userns_clone_sysctl"),
        ("user", "anything", limits(user=0), "userns_max_zero"),
        ("user", "exceeded (ENOSPC)", limits(user=3), "userns_exhausted"),
        ("user", "unshare failed: No space left on device", limits(user=96365), "userns_exhausted"),
        ("user", "No permissions to create new namespace", limits(user=96365), "userns_errno"),
        ("user", "Invalid argument", Evidence(), "userns_errno"),
        ("user", "said", Evidence(kernel_has_userns=False), "no_userns_kernel"),
        ("user", "said", Evidence(kernel_has_userns=False, rhel7_off=True), "userns_rhel7"),
        ("user", "Invalid argument", Evidence(rhel7_off=True), "userns_rhel7"),
        ("user", "Operation not permitted", INSIDE, "nested_sandbox"),
        ("proc", "Can't mount proc on /newroot/proc", INSIDE, "nested_sandbox"),
        ("user", "EPERM", Evidence(chroot=True, container="Docker"), "chroot"),
        ("user", "EPERM", Evidence(container="Docker"), "container"),
        ("user", "EPERM", Evidence(selinux="user_u:user_r:user_t:s0"), "userns_selinux"),
        ("user", "EPERM", Evidence(apparmor_label="bwrap (enforce)"), "apparmor_profile"),
        ("user", "setuid use of bubblewrap is not supported", limits(user=0), "bwrap_setuid"),
        ("user", "EPERM", Evidence(setuid_without_privileges=True), "bwrap_no_new_privs"),
        ("pid", "Creating new namespace failed (ENOSPC)", limits(pid=0), "ns_max_zero"),
        ("other", "Creating new namespace failed (ENOSPC)", limits(ipc=0), "ns_max_zero"),
        ("pid", "Creating new namespace failed", Evidence(), "userns_errno"),
        ("proc", "Can't mount proc on /newroot/proc", APPARMOR, "proc_masked"),
        ("root", "Can't remount readonly on /newroot/mnt", APPARMOR, "root_refused"),
        ("stuck", "bwrap did not end within 5 s", Evidence(), "mount_stuck"),
    ],
)
def test_a_failed_probe_is_explained(layer: str, said: str, evidence: Evidence, gate: str) -> None:
    found = explain.gate(Blocked(layer, said), evidence)
    assert found["id"] == gate
    assert found["symptom"].endswith(said), "what was seen is always told"


def test_every_gate_but_two_can_be_found_by_the_probe() -> None:
    table: list[tuple[object, ...]] = next(
        mark.args[1]
        for mark in test_a_failed_probe_is_explained.pytestmark  # type: ignore[attr-defined]
    )
    # WSL1 is refused before the probe, and the host program cannot say that its own Python is missing.
    assert {str(row[3]) for row in table} | {"wsl1", "python_missing"} == set(gates.GATES)


def test_the_evidence_that_decided_is_part_of_the_symptom() -> None:
    found = explain.gate(Blocked("user", "said"), Evidence(container="Docker (/.dockerenv exists)"))
    assert found["symptom"] == "Docker (/.dockerenv exists); said"
    zero = explain.gate(Blocked("pid", "ENOSPC"), limits(pid=0, ipc=5))
    assert zero["symptom"] == "user.max_pid_namespaces is 0; ENOSPC"


def test_settings_that_look_bad_are_no_gate_where_a_sandbox_works() -> None:
    assert userns.locate(lambda _layers: Attempt(True, ""), whole_root=True) is None


@pytest.mark.parametrize("missing", ["net", "pid", "proc", "other"])
def test_the_layer_in_the_way_is_located(missing: str) -> None:
    def run(layers: frozenset[str]) -> Attempt:
        return Attempt(missing not in layers, f"no {missing}")

    assert userns.locate(run, whole_root=True) == Blocked(missing, f"no {missing}")


def test_without_any_user_namespace_the_barest_attempt_is_quoted() -> None:
    found = userns.locate(lambda layers: Attempt(False, str(len(layers))), whole_root=True)
    assert found == Blocked("user", "0")


@pytest.mark.parametrize(("stuck", "layer"), [(True, "stuck"), (False, "root")])
def test_the_whole_root_is_bound_last_and_only_where_nothing_mounts_itself(stuck: bool, layer: str) -> None:
    tried: list[frozenset[str]] = []

    def run(layers: frozenset[str]) -> Attempt:
        tried.append(layers)
        return Attempt("root" not in layers, "said", stuck=stuck)

    assert userns.locate(run, whole_root=False) is None
    assert tried == [ALL]
    assert userns.locate(run, whole_root=True) == Blocked(layer, "said")


def test_an_attempt_that_hangs_ends_the_search(host: Places) -> None:
    tried: list[frozenset[str]] = []

    def run(layers: frozenset[str]) -> Attempt:
        tried.append(layers)
        return Attempt(False, "did not end", stuck=True)

    assert userns.locate(run, whole_root=True) == Blocked("stuck", "did not end")
    assert tried == [ALL], "each further attempt would cost its time limit"


def test_automounts_are_seen_in_the_mount_table(host: Places) -> None:
    assert not userns.has_automounts(host)
    plant(
        host, "/proc/self/mountinfo", "36 29 0:32 / /home rw,relatime shared:16 - autofs systemd-1 rw,fd=32\n"
    )
    assert userns.has_automounts(host)
    plant(host, "/proc/self/mountinfo", "36 29 0:32 / /autofs rw,relatime - tmpfs autofs rw\n")
    assert not userns.has_automounts(host)


def test_sysctls_that_the_kernel_lacks_are_left_out(host: Places) -> None:
    plant(host, "/proc/sys/user/max_user_namespaces", "15000\n")
    plant(host, "/proc/sys/kernel/unprivileged_userns_clone", "nonsense")
    assert evidence.sysctls(host) == {gates.maximum("user"): 15000}


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("/.dockerenv", "", "Docker (/.dockerenv exists)"),
        ("/run/.containerenv", "", "Podman (/run/.containerenv exists)"),
        ("/run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"),
        ("/proc/1/cgroup", "0::/kubepods.slice/x\n", "kubepods"),
        ("/proc/1/cgroup", "0::/init.scope\n", ""),
    ],
)
def test_a_container_is_told_by_what_its_engine_leaves(
    host: Places, path: str, text: str, found: str
) -> None:
    plant(host, path, text)
    assert evidence.container(host) == found


def test_a_sandbox_is_told_by_its_mark_or_its_first_process(host: Places) -> None:
    assert evidence.sandbox(host, {"PATH": "/bin"}) == ""
    assert "fleetbox" in evidence.sandbox(host, {"FLEETBOX_SANDBOX": "base"})
    plant(host, "/proc/1/comm", "bwrap\n")
    assert "process 1 is bwrap" in evidence.sandbox(host, {})


def test_a_distribution_is_read_without_a_shell(host: Places) -> None:
    plant(
        host, "/etc/os-release", 'ID=debian\nPRETTY_NAME="Debian 12 $(id)"\nVERSION_ID="12\nID_LIKE="a b"\n'
    )
    found = kernel.distribution(host)
    assert found["pretty"] == "Debian 12 $(id)"
    assert (found["id"], found["version_id"], found["id_like"]) == ("debian", "", ["a", "b"])


def test_a_host_without_a_machine_id_has_no_host_id(host: Places) -> None:
    assert kernel.host_id(host) is None
    plant(host, "/etc/machine-id", "\n")
    assert kernel.host_id(host) is None
    plant(host, "/etc/machine-id", "b08dfa6083e7567a1921a715000001fb\n")
    assert kernel.host_id(host) == "fa0a9324f247fc4cdac5cb8478956356d8167f363e167c1043ae3e14682cc06a"


def test_a_probe_is_never_run_as_root() -> None:
    """Root may do what workloads may not, so its success would prove nothing."""
    ran = Prober(None).attempt(["id", "-u"])
    assert ran.ok
    assert ran.printed.strip() != "0"


def test_a_probe_that_hangs_is_ended_with_all_its_children(tmp_path: Path) -> None:
    ran = Prober(None, timeout=0.2).attempt(["sh", "-c", "sleep 61.5 & sleep 61.5"])
    assert ran == Attempt(False, "sh did not end within 0.2 s", stuck=True)
    assert gone(b"61.5")


def gone(word: bytes) -> bool:
    """Whether no process of this machine has the word; the kernel may take a moment to bury one."""
    for _ in range(200):
        if not any(word in line for line in running()):
            return True
        time.sleep(0.05)
    return False


def running() -> list[bytes]:
    """The command lines of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes())
    return lines


def test_what_a_probe_leaves_behind_holds_nobody_up() -> None:
    ran = Prober(None, timeout=60).attempt(["sh", "-c", "sleep 62.5 & echo done"])
    assert (ran.ok, ran.printed) == (True, "done\n")
    assert gone(b"62.5")


def test_all_probes_together_have_a_budget() -> None:
    prober = Prober(None, timeout=60, budget=0)
    ran = prober.attempt(["true"])
    assert (ran.ok, ran.stuck) == (False, True)
    assert "true was not tried" in ran.said


def test_endless_output_is_cut_and_does_not_block_the_probe() -> None:
    ran = Prober(None).attempt(["sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x"])
    assert ran.ok
    assert len(ran.printed) == 64 * 1024


def test_what_a_probe_says_is_one_printable_line() -> None:
    prober = Prober(None)
    rude = prober.attempt(["sh", "-c", r"printf '\n \033[2Jno\nmore\n' >&2; exit 3"])
    assert rude == Attempt(False, "?[2Jno")
    assert prober.attempt(["sh", "-c", "exit 3"]) == Attempt(False, "exit status 3")
    assert prober.attempt(["/nowhere/bwrap"]) == Attempt(False, "/nowhere/bwrap: No such file or directory")
