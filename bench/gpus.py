"""What GPUs add to a launch: `fleetbox-run -- true` where eight of them show, beside raw bubblewrap.

The machine is that of the tests (tests/support/hosts/gpus.py, nvidia8): forty nodes without a driver,
NVIDIA's /proc and a bus, bound over this machine's in a mount namespace of the bench. So opening a node costs
less than with a driver; finding, choosing and binding them costs what it costs everywhere. Raw bubblewrap
binds the same nodes, which it is told: it looks for none. With AF_UNIX, which a GPU needs, host sockets are
masked too: "no GPU, AF_UNIX" is the row to compare with. bench/launch.py says how rows are measured.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from bench.launch import (  # noqa: E402  (the path is made just above)
    UID,
    Scene,
    become_unprivileged,
    bench_plan,
    measure_in_child,
    raw_command,
)
from bench.rows import Row, interleave, table  # noqa: E402
from tests.support.hosts import driver, gpus, hooks, namespaces  # noqa: E402
from tests.support.hosts.spec import Gpu, HostSpec  # noqa: E402
from tests.support.plans import Op, Plan  # noqa: E402

MACHINE = HostSpec.of("bench", gpu="nvidia8")
FIRST = gpus.MACHINES[Gpu.NVIDIA8].nvidia[0].uuid


def show_machine(folder: Path) -> None:
    """In a mount namespace of this process alone."""
    namespaces.unshare(namespaces.NEWNS)
    namespaces.make_private()
    binds, dev, proc = folder / "binds", folder / "dev", folder / "proc"
    for place in (binds, dev, proc):
        place.mkdir()
    driver.write(gpus.MACHINES[MACHINE.gpu], binds)
    namespaces.mount("proc", str(proc), "proc")  # an untouched one, or no sandbox may mount its own
    os.chdir("/")
    driver.show(gpus.MACHINES[MACHINE.gpu], str(binds))
    namespaces.mount("tmpfs", str(dev), "tmpfs")
    hooks.devices(MACHINE, dev)
    dev.chmod(0o755)
    namespaces.bind(str(dev), "/dev")


def launch(scene: Scene, name: str, ops: Sequence[Op], head: dict[str, str]) -> list[str]:
    plain = bench_plan()
    plan = Plan([*ops, *plain.ops], head, filter=plain.filter).write(scene.home / f"plan-{name}", UID)
    return [str(scene.program), "--plan", str(plan)]


def compare(scene: Scene, rounds: int) -> None:
    nvidia: Op = ("gpu-vendor", "nvidia")
    compute: list[Op] = [nvidia, ("gpu-profile", "compute")]
    auto = {"gpu": "auto", "unix-sockets": "auto"}
    cases = {
        "no GPU, no AF_UNIX": launch(scene, "none", [], {}),
        "no GPU, AF_UNIX": launch(scene, "sockets", [], {"unix-sockets": "private"}),
        "eight GPUs": launch(scene, "eight", compute, auto),
        "one of eight GPUs": launch(scene, "one", [*compute, ("gpu-select", FIRST)], auto),
        "eight GPUs, graphics": launch(scene, "drawing", [nvidia, ("gpu-profile", "graphics")], auto),
    }
    for name, words in cases.items():
        raw = raw_command(f"bwrap: {name}", words, scene.workspace, scene.env)
        print(f"\n{name}: {raw.argv.count('--dev-bind')} nodes")
        rows = [raw, Row(f"fleetbox-run: {name}", [*words, "--", "true"], scene.env)]
        interleave(rows, rounds, scene.workspace)
        table(rows, raw)
    sys.stdout.flush()


def measure(folder: Path, program: Path, rounds: int) -> int:
    """In a child, because it becomes the unprivileged user for good."""
    show_machine(folder)
    home = folder / "home"
    home.mkdir()
    folder.chmod(0o755)
    scene = Scene(home, program)
    scene.make()
    become_unprivileged(home)
    compare(scene, rounds)
    return 0


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise SystemExit("bench.gpus makes device nodes: run it as root")
    measure_in_child(__doc__.splitlines()[0], measure)
