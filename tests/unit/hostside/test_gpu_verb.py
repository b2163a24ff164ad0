"""Verb `gpu`: a host's map and lock files, made from planted trees and a stand-in for NVIDIA's library."""

import io
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import gpu_map, mig
from fleetbox.hostside.__main__ import main
from fleetbox.hostside.gpu_map import Device, GpuMap, Mig, Node, Refused, Source
from fleetbox.hostside.paths import Places

HERE = Path(__file__).parent
INSTANCES = (
    Mig("MIG-00000000-0000-0000-0000-000000000001", "0000:66:00.0", 3, 1),
    Mig("MIG-00000000-0000-0000-0000-000000000000", "0000:66:00.0", 13, 0),
)
Answer = dict[str, Any]


class Host:
    """A directory that plays a host, and the verb on it."""

    def __init__(self, root: Path, said: Callable[[], str]) -> None:
        self.root = root
        self.state = root / "var/lib/fleetbox"
        self.map = self.state / "gpu/map"
        self.locks = self.state / "gpu/locks"
        self.state.parent.mkdir(parents=True)
        self._said = said

    def run(self, *options: str) -> tuple[int, Answer]:
        code = main(["gpu", *options], stdin=io.BytesIO(), places=Places(str(self.root)))
        return code, json.loads(self._said())

    def answer(self, *options: str) -> Answer:
        code, answer = self.run(*options)
        assert code == 0, answer
        return answer

    def content(self) -> GpuMap:
        return gpu_map.decode(self.map.read_bytes())

    def plant(self, path: str, text: str = "") -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def nvidia(self, *addresses: str) -> None:
        for minor, address in enumerate(addresses):
            words = f"Model: A100\nBus Location: {address.upper()}\nDevice Minor: {minor}\n"
            self.plant(f"/proc/driver/nvidia/gpus/{address}/information", words)

    def with_mig(self) -> None:
        self.nvidia("0000:65:00.0", "0000:66:00.0")
        minors = (
            "gpu1/gi3/access 30\ngpu1/gi3/ci1/access 31\ngpu1/gi13/access 130\ngpu1/gi13/ci0/access 131\n"
        )
        self.plant("/proc/driver/nvidia-caps/mig-minors", minors)
        for place in ("gi3/ci1", "gi13/ci0"):
            self.plant(f"/proc/driver/nvidia/capabilities/gpu1/mig/{place}/access")


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(tmp_path, lambda: capsys.readouterr().out)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The stand-in for libnvidia-ml.so.1 of test_mig.py."""
    path = str(tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, str(HERE / "fake_nvml.c")], check=True)
    return path


def test_a_host_without_gpus_has_an_empty_map(host: Host) -> None:
    nothing: Answer = {
        "schema_version": 1, "changed": True, "mig": [], "mig_problem": "", "devices": [], "refused": [],
        "notes": [], "locks": [],
    }  # fmt: skip
    assert host.answer() == nothing
    assert host.content() == GpuMap()
    assert host.answer() == {**nothing, "changed": False}


def test_instances_devices_and_locks_are_written_down(
    host: Host, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mig, "LIBRARY", library)
    host.with_mig()
    if os.geteuid() != 0:
        pytest.skip("needs root: specs of others are not read")
    node = {"deviceNodes": [{"path": "/dev/nvidia0"}]}
    devices = [
        {"name": "y", "containerEdits": {"deviceNodes": [{"path": "/dev/mem"}]}},
        {"name": "x", "containerEdits": node},
    ]
    text = json.dumps({"cdiVersion": "0.5.0", "kind": "a.com/b", "devices": devices})
    host.plant("/etc/cdi/a.json", text)
    host.plant("/etc/cdi/b.json", "{")
    answer = host.answer()
    why = "node /dev/mem: no node of a GPU or an accelerator"
    broken = "line 1, column 2: is not JSON: Expecting property name enclosed in double quotes"
    content = host.content()
    assert content == GpuMap(
        INSTANCES,
        (
            Source("/etc/cdi/a.json", len(text), content.sources[0].crc),
            Source("/etc/cdi/b.json", 1, "15d54739"),
        ),
        (Device("a.com/b=x", (Node("/dev/nvidia0", "/dev/nvidia0", None, None),)), Refused("a.com/b=y", why)),
        (f"/etc/cdi/b.json: {broken}",),
    )
    assert answer == {
        "schema_version": 1,
        "changed": True,
        "mig": [one._asdict() for one in INSTANCES],
        "mig_problem": "",
        "devices": ["a.com/b=x"],
        "refused": [
            {"name": "a.com/b=y", "reasons": [why]},
            {"name": "/etc/cdi/b.json", "reasons": [broken]},
        ],
        "notes": [f"/etc/cdi/b.json: {broken}"],
        "locks": ["0000:65:00.0", "0000:66:00.0", "0000:66:00.0-gi13", "0000:66:00.0-gi3"],
    }
    assert sorted(path.name for path in host.locks.iterdir()) == answer["locks"]
    assert host.answer()["changed"] is False
    host.plant("/etc/cdi/b.json", "}")
    assert host.answer()["changed"] is True


def test_a_library_that_fails_costs_the_uuids_alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mig, "LIBRARY", "libfleetbox-no-such.so.1")
    host.with_mig()
    answer = host.answer()
    assert (answer["mig"], len(answer["locks"])) == ([], 4)
    assert "libfleetbox-no-such.so.1" in answer["mig_problem"]
    assert host.content() == GpuMap()


def test_what_the_last_map_knew_stays_while_a_library_fails_and_the_rights_are_there(
    host: Host, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mig, "LIBRARY", library)
    host.with_mig()
    host.answer()
    monkeypatch.setattr(mig, "LIBRARY", "libfleetbox-no-such.so.1")
    answer = host.answer()
    assert (answer["changed"], host.content().mig) == (False, INSTANCES)
    assert "libfleetbox-no-such.so.1" in answer["mig_problem"]
    (host.root / "proc/driver/nvidia/capabilities/gpu1/mig/gi3/ci1/access").unlink()
    assert (host.answer()["changed"], host.content().mig) == (True, INSTANCES[1:])
    monkeypatch.setattr(mig, "LIBRARY", library)
    assert (host.answer()["mig_problem"], host.content().mig) == ("", INSTANCES)


def test_compute_instances_of_one_gpu_instance_have_one_lock(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mig, "LIBRARY", "libfleetbox-no-such.so.1")
    host.nvidia("0000:65:00.0")
    minors = "gpu0/gi3/access 30\ngpu0/gi3/ci0/access 31\ngpu0/gi3/ci1/access 32\n"
    host.plant("/proc/driver/nvidia-caps/mig-minors", minors)
    for instance in ("ci0", "ci1"):
        host.plant(f"/proc/driver/nvidia/capabilities/gpu0/mig/gi3/{instance}/access")
    assert host.answer()["locks"] == ["0000:65:00.0", "0000:65:00.0-gi3"]


def test_no_library_is_asked_where_there_is_no_instance(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mig, "instances", lambda _: pytest.fail("the library was asked"))
    host.nvidia("0000:65:00.0")
    assert host.answer()["locks"] == ["0000:65:00.0"]


def test_check_says_what_would_change_and_changes_nothing(host: Host) -> None:
    host.nvidia("0000:65:00.0")
    assert host.answer("--check")["changed"] is True
    assert not host.state.exists()
    host.answer()
    assert host.answer("--check")["changed"] is False
    host.nvidia("0000:65:00.0", "0000:66:00.0")
    assert host.answer("--check")["changed"] is True
    assert [path.name for path in host.locks.iterdir()] == ["0000:65:00.0"]


def test_every_user_can_read_it_and_nobody_else_write(host: Host) -> None:
    host.nvidia("0000:65:00.0")
    umask = os.umask(0o077)
    try:
        host.answer()
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (host.map, host.locks, host.map.parent)}
    assert modes == {"map": 0o644, "locks": 0o755, "gpu": 0o755}
    lock = host.locks / "0000:65:00.0"
    assert (stat.S_IMODE(lock.stat().st_mode), lock.read_bytes()) == (0o644, b"")


def test_a_lock_is_never_made_anew_or_removed(host: Host) -> None:
    host.nvidia("0000:65:00.0")
    host.answer()
    before = (host.locks / "0000:65:00.0").stat()
    (host.root / "proc/driver/nvidia/gpus/0000:65:00.0/information").unlink()
    (host.root / "proc/driver/nvidia/gpus/0000:65:00.0").rmdir()
    assert host.answer()["locks"] == []
    host.nvidia("0000:65:00.0")
    host.answer()
    assert (host.locks / "0000:65:00.0").stat() == before


@pytest.mark.parametrize("name", ["gpu", "gpu/locks", "gpu/locks/0000:65:00.0", "gpu/map"])
def test_modes_that_shut_launches_out_are_repaired(host: Host, name: str) -> None:
    host.nvidia("0000:65:00.0")
    host.answer()
    path = host.state / name
    before = path.stat()
    path.chmod(0o700 if path.is_dir() else 0o600)
    assert host.answer("--check")["changed"] is True
    assert host.answer()["changed"] is True
    assert path.stat().st_mode == before.st_mode
    assert name == "gpu/map" or path.stat().st_ino == before.st_ino, "a launch may hold it"
    assert host.answer("--check")["changed"] is False


@pytest.mark.parametrize("damage", ["link", "dangling", "pipe", "another's"])
def test_a_lock_that_is_no_file_of_ours_is_made_one(host: Host, tmp_path: Path, damage: str) -> None:
    host.nvidia("0000:65:00.0")
    host.answer()
    lock, victim = host.locks / "0000:65:00.0", tmp_path / "victim"
    if damage == "another's":
        if os.geteuid() != 0:
            pytest.skip("needs root to give a file away")
        os.chown(lock, 12345, 12345)
    else:
        lock.unlink()
        if damage == "pipe":
            os.mkfifo(lock)
        else:
            victim.touch() if damage == "link" else None
            lock.symlink_to(victim)
    assert host.answer("--check")["changed"] is True
    assert host.answer()["changed"] is True
    status = lock.lstat()
    assert (status.st_uid, status.st_mode) == (os.geteuid(), stat.S_IFREG | 0o644)
    assert host.answer()["changed"] is False
    assert victim.exists() == (damage == "link")


@pytest.mark.parametrize("damage", ["cut off", "writable", "link", "missing", "left over"])
def test_a_map_that_is_not_whole_is_replaced(host: Host, tmp_path: Path, damage: str) -> None:
    host.answer()
    whole = host.map.read_bytes()
    victim = tmp_path / "victim"
    victim.write_bytes(whole)
    if damage == "cut off":
        host.map.write_bytes(whole[:-1])
    elif damage == "writable":
        host.map.chmod(0o666)
    elif damage == "left over":
        host.map.unlink()
        (host.map.parent / ".map.new").symlink_to(victim)
    else:
        host.map.unlink()
        if damage == "link":
            host.map.symlink_to(victim)
    assert host.answer("--check")["changed"] is True
    assert host.answer()["changed"] is True
    assert (host.map.read_bytes(), host.map.is_symlink()) == (whole, False)
    assert stat.S_IMODE(host.map.stat().st_mode) == 0o644
    assert sorted(path.name for path in host.map.parent.iterdir()) == ["locks", "map"]


@pytest.mark.parametrize("name", ["gpu", "gpu/locks"])
def test_a_directory_that_others_can_write_is_refused(host: Host, name: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: only its directories are checked")
    host.answer()
    (host.state / name).chmod(0o777)
    code, answer = host.run()
    assert (code, answer["error"]["code"]) == (5, "unsafe_state")
    assert f"/var/lib/fleetbox/{name}" in answer["error"]["message"]


@pytest.mark.parametrize(("node", "lock"), [("/dev/dxg", "dxg"), ("/dev/nvmap", "tegra")])
def test_a_gpu_without_an_address_has_a_lock_of_its_kind(host: Host, node: str, lock: str) -> None:
    host.plant("/sys/devices/soc0/family" if lock == "tegra" else "/dev/null", "Tegra\n")
    host.plant(f"{node}.d/x")
    try:
        os.mknod(host.root / node.lstrip("/"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs root to make device nodes")
    assert host.answer()["locks"] == [lock]


def test_more_than_a_map_holds_is_an_error_that_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    small = gpu_map.GPU_MAP._replace(limit=10)
    monkeypatch.setattr(gpu_map, "GPU_MAP", small)
    code, answer = host.run()
    assert (code, answer["error"]["code"]) == (5, "gpu_map_too_large")
