"""What is said of one GPU."""

from __future__ import annotations

from typing import NamedTuple

OK = "ok"
NO_DRIVER = "no driver"
MODULE_NOT_LOADED = "module not loaded"
NODE_MISSING = "node missing"
NODE_UNREADABLE = "node unreadable"
NODE_WITHOUT_DRIVER = "node without driver"
LIBRARY_MISSING = "library missing"

TEXT_MAX = 100


class Mig(NamedTuple):
    """One MIG compute instance; `nodes` are the two capabilities that open it, beside its GPU's own.

    uuid: "" where `fleetbox-host gpu` has not learned it; nothing in /proc says it.
    """

    gpu_instance: int
    compute_instance: int
    nodes: list[str]
    uuid: str = ""


class Gpu(NamedTuple):
    """One GPU, or what shows as one.

    vendor: nvidia, amd, intel, wsl or jetson. model, uuid, driver: "" where nothing says it. pci: its address
    as Linux writes it, "" where it has none. minor: of /dev/nvidiaN, which is no index. nodes: what a program
    that computes must open, whether they are there or not. health: one of the words above, for the account
    that workloads run as; means: which module, node or library, "" with `ok`; remedy: what to do.
    """

    vendor: str
    model: str
    uuid: str
    pci: str
    minor: int | None
    driver: str
    nodes: list[str]
    health: str
    means: str
    remedy: str
    mig: list[Mig]
