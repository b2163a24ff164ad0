"""Role gpu on hosts that show what drivers show; NVIDIA's programs are stand-ins that write down their calls.

The stand-ins do to nodes what the real ones do, by moving back those that the test put aside: no host may
make any.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.roles.playbooks import REPO, Run, book, play
from tests.support.hosts.fixtures import MakeHost
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab

pytestmark = pytest.mark.host

RULE = "/etc/udev/rules.d/71-fleetbox-nvidia.rules"
DESCRIPTION = "/etc/cdi/fleetbox-nvidia.json"
LOADER = "/etc/ld.so.conf.d/ld.wsl.conf"
CALLS = "/var/called"
ASIDE = "/dev/.aside"

# As the real one: with -u it makes the nodes of nvidia-uvm, and ignores every other.
MODPROBE = f"""#!/bin/sh
echo "$@" >> {CALLS}
case " $* " in
*" -u "*) mv {ASIDE}/nvidia-uvm* /dev; exit ;;
esac
for word; do
    case $word in
    255) mv {ASIDE}/nvidiactl /dev ;;
    [0-9]*) mv {ASIDE}/nvidia$word /dev ;;
    esac
done 2>/dev/null
exit 0
"""
CTK = f"""#!/bin/sh
echo "$@" >> {CALLS}
case $1 in
cdi) cat /var/says ;;
system) mv {ASIDE}/nvidiactl {ASIDE}/nvidia-uvm* /dev ;;
esac
"""
MAP = "/var/lib/fleetbox/gpu/map"
UNITS = ["fleetbox-gpu.path", "fleetbox-gpu.service"]
CHANGED = "fleetbox-gpu-changed.service"
SAYS = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0", "containerEdits": {}}]}


class Role:
    """Role gpu on one host: `run` with variables, `undo` by the uninstall playbook."""

    def __init__(self, lab: Lab, host: Host, folder: Path) -> None:
        self.lab, self.host, self.folder = lab, host, folder
        self.names = ["gpu"]

    def run(self, *options: str, **variables: object) -> Run:
        tasks = [{"ansible.builtin.include_role": {"name": name}} for name in self.names]
        return play(self.lab, [self.host], book(self.folder, *tasks, **variables), *options)

    def changed(self, *options: str, **variables: object) -> int:
        run = self.run(*options, **variables)
        assert run.ended_well(self.host), run.output
        return run.recap[self.host.name]["changed"]

    def undo(self) -> None:
        run = play(self.lab, [self.host], str(REPO / "playbooks/uninstall.yml"), "--tags", "gpu")
        assert run.ended_well(self.host), run.output

    def install(self, name: str, program: str) -> None:
        self.host.put(f"/usr/bin/{name}", program.encode(), mode=0o755)

    def put_aside(self, *nodes: str) -> None:
        self.host.exec(["sh", "-ec", f"cd /dev; mkdir -p {ASIDE}; mv {' '.join(nodes)} {ASIDE}"])

    def calls(self) -> list[str]:
        return (
            self.host.exec(["sh", "-c", f"cat {CALLS} 2>/dev/null; rm -f {CALLS}"])
            .stdout.decode()
            .splitlines()
        )

    def has(self, path: str) -> bool:
        return self.host.exec(["test", "-e", path], check=False).returncode == 0

    def changes(self) -> set[str]:
        """Files that are different since the host came up, without Ansible's own and the stand-ins'."""
        ours = ("/home/dev/.ansible", "/var/called", "/var/says", "/usr/bin/nvidia")
        return {one.path for one in self.host.overlay_diff() if not one.path.startswith(ours)}


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return done


def words(run: Run) -> str:
    return " ".join(run.output.split())


@pytest.fixture
def role(lab: Lab, make_host: MakeHost, tmp_path: Path, request: pytest.FixtureRequest) -> Role:
    return Role(lab, make_host(**request.param), tmp_path)


def on(**options: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("role", [options], indirect=True, ids=[str(options.get("gpu"))])


MODPROBE_CALLS = ["-c 255 -c 3 -c 1 -c 0 -c 2 -c 7 -c 5 -c 4 -c 6", "-c 0 -u"]


@on(gpu="nvidia8")
def test_missing_nodes_of_nvidia_are_made_now_and_at_every_boot(role: Role) -> None:
    role.install("nvidia-modprobe", MODPROBE)
    role.install("nvidia-ctk", CTK)
    role.put_aside("nvidiactl", "nvidia3", "nvidia-uvm", "nvidia-uvm-tools")
    assert role.changed("--check") > 0
    assert (role.calls(), role.has(RULE)) == ([], False)
    assert role.changed() > 0
    assert role.calls() == MODPROBE_CALLS
    assert role.host.exec(["ls", ASIDE]).stdout == b""
    assert (role.changed(), role.calls()) == (0, [])
    role.put_aside("nvidia-uvm")
    assert role.changed() > 0
    assert role.calls() == MODPROBE_CALLS, "also where the rule was there already"
    role.undo()
    assert role.changes() <= {"/etc", "/etc/udev", "/etc/udev/rules.d"}


@on(gpu="nvidia")
def test_where_only_the_toolkit_is_it_makes_what_it_can_and_the_rest_is_named(role: Role) -> None:
    role.install("nvidia-ctk", CTK)
    role.put_aside("nvidiactl", "nvidia-uvm", "nvidia0")
    run = role.run()
    assert role.calls() == ["system create-device-nodes --control-devices --load-kernel-modules"]
    assert "lacks /dev/nvidia0. Remedy: install nvidia-modprobe" in words(run)
    again = role.run()
    assert (again.recap[role.host.name]["changed"], role.calls()) == (0, [])
    assert "lacks /dev/nvidia0. Remedy" in words(again)


@on(gpu="mixed")
def test_where_nothing_can_make_the_nodes_that_is_said_and_no_failure(role: Role) -> None:
    role.put_aside("nvidiactl", "nvidia-uvm")
    run = role.run()
    assert run.ended_well(role.host), run.output
    assert "lacks /dev/nvidia-uvm, /dev/nvidiactl. Remedy: install nvidia-modprobe" in words(run)
    assert role.has(RULE)


@on(gpu="nodriver")
def test_the_rule_waits_for_a_driver_that_is_not_loaded_yet(role: Role) -> None:
    role.install("nvidia-modprobe", MODPROBE)
    assert role.changed() > 0
    assert (role.has(RULE), role.calls()) == (True, [])


@on(gpu="nvidia", suite="trixie")
def test_udev_understands_the_rule(role: Role) -> None:
    """Debian 13's own udevadm: it reads the file as the daemon does."""
    role.host.exec(["sh", "-c", "apt-get -qq update && apt-get -qq install --no-install-recommends udev"])
    role.changed()
    read = role.host.exec(["udevadm", "verify", RULE], check=False)
    assert read.returncode == 0, read.stdout + read.stderr


@on(gpu="nvidia")
def test_container_engines_get_a_description_only_when_asked(role: Role) -> None:
    role.install("nvidia-ctk", CTK)
    role.host.put("/var/says", json.dumps(SAYS).encode())
    role.changed()
    assert (role.has("/etc/cdi"), role.calls()) == (False, [])
    role.changed("--check", gpu_cdi=True)
    assert not role.has("/etc/cdi")
    role.calls()
    assert role.changed(gpu_cdi=True) > 0
    assert json.loads(role.host.get(DESCRIPTION)) == SAYS
    assert role.host.exec(["stat", "-c", "%a %U", DESCRIPTION]).stdout == b"644 root\n"
    assert role.calls() == ["cdi generate --format json --disable-hook all"]
    assert role.changed(gpu_cdi=True) == 0
    role.host.put("/var/says", b'{"cdiVersion": ')
    assert not role.run(gpu_cdi=True).ended_well(role.host)
    assert json.loads(role.host.get(DESCRIPTION)) == SAYS, "what cannot be read replaces nothing"
    role.host.put("/var/says", json.dumps(SAYS | {"cdiVersion": "0.6.0"}).encode())
    assert role.changed(gpu_cdi=True) > 0
    assert role.changed() > 0
    assert not role.has(DESCRIPTION)


@on(gpu="nvidia")
def test_a_description_by_somebody_else_stays_alone_and_can_be_read(role: Role) -> None:
    role.install("nvidia-ctk", CTK)
    theirs = b"cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: []\n"
    role.host.put("/etc/cdi/nvidia.yaml", theirs)
    run = role.run(gpu_cdi=True)
    assert run.ended_well(role.host), run.output
    assert "/etc/cdi/nvidia.yaml describes GPUs of NVIDIA already" in words(run)
    assert "WARNING" not in run.output
    assert not role.has(DESCRIPTION)
    role.host.exec(["/usr/bin/python3", "-I", "-c", "import yaml"])
    assert role.changed(gpu_cdi=True) == 0
    role.undo()
    assert role.host.get("/etc/cdi/nvidia.yaml") == theirs


@on(gpu="dxg", hooks=["wsl2"])
def test_the_loader_finds_what_windows_brings(role: Role) -> None:
    role.host.exec(["sh", "-ec", "cp /lib/*/libz.so.1 /usr/lib/wsl/lib/; ! ldconfig -p | grep wsl"])
    assert role.changed() > 0
    assert b"/usr/lib/wsl/lib/libz.so.1" in role.host.exec(["/sbin/ldconfig", "-p"]).stdout
    assert role.changed() == 0
    role.undo()
    assert not role.has(LOADER)
    assert b"wsl" not in role.host.exec(["/sbin/ldconfig", "-p"]).stdout
    theirs = b"# This file was automatically generated by WSL.\n/usr/lib/wsl/lib\n"
    role.host.put(LOADER, theirs)
    assert role.changed() == 0
    role.undo()
    assert role.host.get(LOADER) == theirs


@on(hooks=["wsl2"])
def test_wsl_without_a_gpu_keeps_its_loader_as_it_is(role: Role) -> None:
    assert role.changed() == 0
    assert role.changes() == set()


YAML = b"""
cdiVersion: 0.5.0
kind: example.com/other
devices: [{name: one, containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}}]
"""


def spec(name: str) -> bytes:
    edits = {"deviceNodes": [{"path": "/dev/nvidia0"}]}
    device = {"name": "one", "containerEdits": edits}
    return json.dumps({"cdiVersion": "0.5.0", "kind": f"example.com/{name}", "devices": [device]}).encode()


@on(gpu="mig")
def test_without_systemd_the_map_is_made_by_the_role_alone(role: Role) -> None:
    role.names = ["hostside", "gpu"]
    role.host.put("/etc/cdi/other.yaml", YAML)
    assert role.changed("--check") > 0
    assert not role.has("/var/lib/fleetbox")
    assert role.changed() > 0
    assert b"example.com/other=one" in role.host.get(MAP), "the YAML was read in the same run"
    assert role.changed() == 0
    role.host.put("/etc/cdi/more.json", spec("more"))
    assert role.changed("--check") == 1
    assert b"more" not in role.host.get(MAP)
    assert role.changed() == 1
    assert b"example.com/more=one" in role.host.get(MAP)
    assert not any(role.has(f"/etc/systemd/system/{unit}") for unit in UNITS)
    role.undo()
    assert not role.has("/var/lib/fleetbox/gpu")


@on(gpu="nvidia", kind="systemd")
def test_systemd_makes_the_map_at_boot_and_when_specifications_change(role: Role) -> None:
    def mapped(name: str) -> bool:
        return name.encode() in role.host.exec(["cat", MAP], check=False).stdout

    def systemctl(*argv: str) -> str:
        return role.host.exec(["systemctl", *argv], check=False).stdout.decode().strip()

    role.names = ["hostside", "gpu"]
    assert role.changed("--check") > 0
    assert role.changed() > 0
    assert [systemctl("is-enabled", unit) for unit in UNITS] == ["enabled", "enabled"]
    assert systemctl("is-active", UNITS[0]) == "active"
    assert role.changed() == 0
    assert role.changed("--check") == 0

    role.host.put("/etc/cdi/first.json", spec("first"))
    assert eventually(lambda: mapped("example.com/first=one")), systemctl("status", *UNITS)
    role.host.put("/run/cdi/second.json", spec("second"))
    assert eventually(lambda: mapped("example.com/second=one")), systemctl("status", *UNITS)
    role.host.exec(["rm", "/etc/cdi/first.json"])
    assert eventually(lambda: not mapped("example.com/first=one")), "a change just after the map was made"

    assert eventually(lambda: systemctl("is-active", UNITS[1], CHANGED) == "inactive\ninactive")
    role.host.exec(["rm", "-r", "/var/lib/fleetbox/gpu"])
    role.host.exec(["systemctl", "start", UNITS[1]])
    assert mapped("example.com/second=one"), "as at a boot"
    assert systemctl("show", "--property=WantedBy", "--value", UNITS[1]) == "multi-user.target"

    role.undo()
    assert systemctl("list-unit-files", "--no-legend", "fleetbox-gpu*") == ""
    assert systemctl("list-units", "--all", "--no-legend", "fleetbox-gpu*") == ""
    assert not role.has("/var/lib/fleetbox/gpu")
    assert "fleetbox-gpu" not in role.host.exec(["find", "/etc/systemd"]).stdout.decode()
    role.undo()
