"""The program for machines with a real GPU, as far as one without can run it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import WORKLOAD_UID
from tests.real_gpu.__main__ import main
from tests.real_gpu.trials import NODES, POLICIES

HERE = any(os.path.exists(node) for node in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))


@pytest.fixture
def kit(launcher: Path) -> Iterator[Path]:
    """Prepared, and the account's own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name) / "kit"
        assert main(["prepare", str(folder)]) == 0
        (Path(name) / "ws").mkdir()
        Path(name).chmod(0o755)
        for path in (Path(name), *Path(name).rglob("*")):
            os.chown(path, WORKLOAD_UID, WORKLOAD_UID)
        for policy in POLICIES:
            (folder / policy).chmod(0o700)
        yield folder


def look(kit: Path, policy: str) -> "subprocess.CompletedProcess[str]":
    become = ["setpriv", f"--reuid={WORKLOAD_UID}", f"--regid={WORKLOAD_UID}", "--clear-groups"]
    launch = [str(kit / "fleetbox-run"), "--plan", str(kit / policy / "launch.plan"), "--"]
    return subprocess.run(
        [*become, *launch, "python3", "-c", NODES],
        cwd=kit.parent / "ws", capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.skipif(HERE, reason="a GPU is here: python -m tests.real_gpu run shows more")
def test_what_it_prepares_launches_by_itself(kit: Path) -> None:
    for policy in ("all", "none"):
        done = look(kit, policy)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["nodes"] == []
    assert "the policy requires a GPU: " in look(kit, "first").stderr


@pytest.mark.skipif(HERE, reason="a GPU is here: python -m tests.real_gpu run shows more")
def test_without_a_gpu_it_shows_nothing_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path)]) == 2
    assert "there is no NVIDIA GPU here" in capsys.readouterr().err
