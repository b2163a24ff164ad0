"""What NVIDIA's library says of MIG instances; the one here is a stand-in, compiled by the test."""

import subprocess
import sys
from pathlib import Path

import pytest

from fleetbox.hostside import mig, stream
from fleetbox.hostside.gpu_map import Mig

SOURCE = Path(__file__).parent / "fake_nvml.c"
BEHAVIOURS = {"well": 0, "hangs": 1, "fails": 2, "lies": 3, "loses one": 4}
UUID = "MIG-00000000-0000-0000-0000-00000000000"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How the stand-in behaves → its path."""
    directory = tmp_path_factory.mktemp("nvml")
    made = {name: str(directory / f"{name}.so") for name in BEHAVIOURS}
    for name, number in BEHAVIOURS.items():
        options = ["-shared", "-fPIC", "-Wall", "-Werror", f"-DBEHAVIOUR={number}"]
        subprocess.run(["cc", *options, "-o", made[name], str(SOURCE)], check=True)
    return made


def test_every_instance_is_told_with_its_gpu_and_place(libraries: dict[str, str]) -> None:
    assert mig.instances(libraries["well"]) == (
        (Mig(f"{UUID}1", "0000:66:00.0", 3, 1), Mig(f"{UUID}0", "0000:66:00.0", 13, 0)),
        "",
    )


def test_a_gpu_that_is_lost_takes_no_other_along(libraries: dict[str, str]) -> None:
    found, problem = mig.instances(libraries["loses one"])
    assert found == mig.instances(libraries["well"])[0]
    assert "GPU 0: nvmlDeviceGetPciInfo_v3 answered 15; so policies" in problem


def test_eight_gpus_have_time_to_wake() -> None:
    assert mig.TIMEOUT_S >= 45


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("fails", "nvmlInit_v2 answered 999"),
        ("lies", "gave an answer that is none"),
        ("hangs", "did not end within 0.5 s"),
    ],
)
def test_a_library_that_is_of_no_use_is_a_reason(
    libraries: dict[str, str], behaviour: str, said: str
) -> None:
    """One that hangs does so for longer than a test may take."""
    found, problem = mig.instances(libraries[behaviour], timeout=0.5 if behaviour == "hangs" else 10)
    assert found == ()
    assert said in problem
    assert problem.isprintable()


def test_a_library_that_is_not_there_or_too_old_is_a_reason(tmp_path: Path) -> None:
    found, problem = mig.instances("libfleetbox-no-such.so.1")
    assert found == ()
    assert problem.startswith("libfleetbox-no-such.so.1: libfleetbox-no-such.so.1: cannot open shared object")
    found, problem = mig.instances("libc.so.6")
    assert found == ()
    assert "nvmlInit_v2" in problem


def test_a_streamed_program_can_ask_too(libraries: dict[str, str]) -> None:
    """Its modules are in memory only, and so is what is asked."""
    program = stream.script(["--version"])
    ask = "from fleetbox.hostside import mig\nprint(mig.instances(sys.argv[1]))\n"
    program = program.replace("from fleetbox.hostside.__main__ import main\n", ask).rpartition("sys.exit(")[0]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-", libraries["well"]],
        input=program,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{UUID}0" in done.stdout
