"""Calling GPU libraries, as they are called in a sandbox: by the program that is sent there as text.

The libraries are stand-ins, compiled here; nothing was seen with a real one yet (docs/verified-on.md).
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside.probes import launch
from fleetbox.hostside.probes.gpu import computed
from fleetbox.hostside.probes.gpu.computed import Computed
from fleetbox.hostside.probes.launch import Account, Installation, Launches
from fleetbox.hostside.probes.outcome import Attempt, Outcome
from fleetbox.hostside.probes.rounds import parsed_outcome
from tests.support import gpu
from tests.support.gpu import Row

UUID = "5a1b2c3d-0000-1111-2222-333344440000"
NVIDIA = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia0")


class Machine:
    """Files that play a machine's nodes, and the stand-ins for its libraries."""

    def __init__(self, root: Path, libraries: Path) -> None:
        self.root = root
        self.environment = {"LD_LIBRARY_PATH": str(libraries), "FLEETBOX_STANDIN": str(root)}

    def plant(self, *names: str) -> None:
        for name in names:
            path = self.root / "dev" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def has(self, *rows: Row) -> None:
        path = self.root / gpu.LIST[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(gpu.listed(rows))

    def try_(self, operation: str, **arguments: Any) -> Outcome:
        [outcome] = self.try_all([Attempt(operation, arguments)])
        return outcome

    def try_all(self, attempts: Sequence[Attempt], **options: Any) -> list[Outcome]:
        launches = Launches(Installation(), Account.current())
        done = launches.execute([], attempts, environment=self.environment, **options)
        assert done.code == 0, done.stderr.decode()
        return [parsed_outcome(outcome) for outcome in json.loads(done.stdout)]

    def compute(self, vendor: str) -> Computed:
        answer = computed.parsed(self.try_("compute", vendor=vendor))
        assert answer
        return answer


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    for name in gpu.NAMES:
        gpu.build(name, folder)
    return folder


@pytest.fixture
def machine(tmp_path: Path, libraries: Path) -> Machine:
    return Machine(tmp_path, libraries)


def test_cuda_computes_on_every_gpu_that_it_shows(machine: Machine) -> None:
    machine.plant(*NVIDIA, "nvidia1")
    machine.has(Row("/dev/nvidia0", UUID, "0000:01:00.0", "H100"), Row("/dev/nvidia1"), Row("/dev/nvidia2"))
    answer = machine.compute("nvidia")
    assert (answer.library, answer.version, answer.failed) == ("libcuda.so.1", "12.8", None)
    assert answer.devices[0] == (UUID, "0000:01:00.0", "H100", 80 * 1024)
    assert len(answer.devices) == 2


@pytest.mark.parametrize(
    ("missing", "number", "means"),
    [
        ("nvidiactl", 100, "a node is missing"),
        ("nvidia0", 100, "a node is missing"),
        ("nvidia-uvm-tools", 304, "/dev/nvidia-uvm-tools"),
        ("nvidia-uvm", 999, "nvidia-uvm is not loaded"),
    ],
)
def test_a_node_that_is_missing_is_an_error_with_its_number_its_name_and_what_it_means(
    machine: Machine, missing: str, number: int, means: str
) -> None:
    machine.plant(*(name for name in NVIDIA if name != missing))
    machine.has(Row("/dev/nvidia0"))
    answer = machine.compute("nvidia")
    assert answer.failed
    assert answer.failed[:2] == ("cuInit", number)
    assert f"cuInit: {number} CUDA_ERROR_" in answer.error()
    assert means in answer.error()


def test_a_node_that_is_refused_is_another_error_than_one_that_is_missing(machine: Machine) -> None:
    machine.plant(*NVIDIA[1:])
    (machine.root / "dev/nvidiactl").mkdir()
    assert machine.compute("nvidia").failed == ("cuInit", 304, "CUDA_ERROR_OPERATING_SYSTEM")


def test_memory_that_forgets_does_not_compute(machine: Machine) -> None:
    machine.plant(*NVIDIA)
    machine.has(Row("/dev/nvidia0"))
    machine.environment["FLEETBOX_STANDIN_FORGETS"] = "1"
    assert machine.compute("nvidia").error() == "round trip: other bytes came back"


def test_wsl_and_jetson_are_cuda_with_nodes_of_their_own(machine: Machine) -> None:
    machine.plant("dxg")
    machine.has(Row("/dev/dxg", name="RTX"), Row("/dev/nvmap", name="Orin"))
    assert [seen.name for seen in machine.compute("wsl").devices] == ["RTX"]
    (machine.root / "dev/dxg").unlink()
    machine.plant("nvmap")
    assert [seen.name for seen in machine.compute("jetson").devices] == ["Orin"]


def test_hip_needs_the_node_of_all_gpus_and_one_of_each(machine: Machine) -> None:
    machine.plant("dri/renderD128", "dri/renderD129")
    machine.has(Row("/dev/dri/renderD128", pci="0000:23:00.0"), Row("/dev/dri/renderD130"))
    assert machine.compute("amd").error().startswith("hipInit: 100 hipErrorNoDevice (no device")
    machine.plant("kfd")
    answer = machine.compute("amd")
    assert (answer.version, [seen.pci for seen in answer.devices]) == ("6.3.42131", ["0000:23:00.0"])


def test_level_zero_counts_gpus_and_nothing_else(machine: Machine) -> None:
    assert machine.compute("intel").error().startswith("zeInit: 2013265921 ZE_RESULT_ERROR_UNINITIALIZED")
    machine.plant("dri/renderD128", "accel/accel0")
    machine.has(Row("/dev/accel/accel0"), Row("/dev/dri/renderD128", name="Arc"))
    assert [seen.name for seen in machine.compute("intel").devices] == ["Arc"]


@pytest.mark.parametrize("vendor", ["nvidia", "amd", "intel"])
def test_a_library_that_is_not_there_is_told_apart_from_one_that_fails(machine: Machine, vendor: str) -> None:
    machine.environment["LD_LIBRARY_PATH"] = ""
    answer = machine.compute(vendor)
    assert answer.missing
    assert answer.error().startswith("library missing: lib")


def test_a_library_that_hangs_is_ended_and_said_to_hang(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = "sys.modules[{main!r}].main("
    impatient = launch._PROGRAM.replace(main, f"sys.modules[{{main!r}}].LIMITS.update(compute=0.5)\n{main}")
    monkeypatch.setattr(launch, "_PROGRAM", impatient)
    machine.plant(*NVIDIA)
    machine.has(Row("hang"))
    attempts = [Attempt("compute", {"vendor": "nvidia"})] * 2
    first, second, other = machine.try_all([*attempts, Attempt("own_child", {})])
    assert first.errno == second.errno == "ETIMEDOUT"
    assert computed.describe(first) == "hung and was killed"
    assert second.ms < 100 < first.ms, "where one has hung nobody waits for the next"
    assert other.ok


def test_a_library_has_more_time_than_other_attempts(machine: Machine) -> None:
    machine.plant(*NVIDIA)
    machine.has(Row("/dev/nvidia0"))
    [outcome] = machine.try_all([Attempt("compute", {"vendor": "nvidia"})], limit=0.0)
    assert computed.parsed(outcome)


def test_the_process_that_used_a_gpu_goes_on_with_other_attempts(machine: Machine) -> None:
    machine.plant(*NVIDIA)
    machine.has(Row("/dev/nvidia0"))
    attempts = [["own_socketpair", {}], ["open_device", {"path": "/dev/not-there"}]]
    answer = json.loads(machine.try_("after_compute", vendor="nvidia", tried=attempts).value)
    assert len(answer["computed"]["devices"]) == 1
    assert answer["tried"] == [{"ok": True, "value": ""}, {"ok": False, "errno": "ENOENT"}]


@pytest.mark.parametrize(
    "operation", ["name_thread", "share_memory", "listen_abstract", "keep_kernels", "list_bus"]
)
def test_what_libraries_need_is_there_outside(machine: Machine, operation: str, tmp_path: Path) -> None:
    machine.environment["HOME"] = str(tmp_path)
    assert machine.try_(operation).ok


def test_a_node_that_was_left_open_is_opened_anew_through_its_descriptor() -> None:
    """Also one that was never opened to be read: what counts is that the descriptor is there."""
    kept = os.open("/dev/null", os.O_PATH)
    launches, tried = (
        Launches(Installation(), Account.current()),
        Attempt("reopen_device", {"path": "/dev/null"}),
    )
    outcomes = [
        parsed_outcome(json.loads(launches.execute([], [tried], descriptors=passed).stdout)[0])
        for passed in ([kept], [])
    ]
    os.close(kept)
    assert [(outcome.ok, outcome.errno) for outcome in outcomes] == [(True, ""), (False, "EBADF")]


@pytest.mark.parametrize(
    "said", ["", "[]", "{}", '{"library": "", "version": "", "failed": 1, "devices": []}', "x"]
)
def test_what_is_no_answer_is_nobody_s_gpu(said: str) -> None:
    assert computed.parsed(Outcome(True, value=said)) is None
