"""Shows on a machine with a real NVIDIA GPU what no other can: CUDA and PyTorch in the sandbox.

    python -m tests.real_gpu prepare DIRECTORY    here: launcher, bubblewrap and compiled policies
    python -m tests.real_gpu run DIRECTORY        there, as root: everything, as a plain account, twice

`run` needs Python 3.9, DIRECTORY and the checkout, and nothing of ours installed. It prints what
docs/verified-on.md is to say, writes DIRECTORY/report.json, and ends with 1 when the sandbox fell short, 2
when there is no GPU to try. Every trial runs outside as well: what fails there says nothing about a sandbox.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def main(argv: list[str]) -> int:
    """Only what the verb needs is imported: `run` works where fleetbox is not installed."""
    if len(argv) != 2 or argv[0] not in ("prepare", "run"):
        print(__doc__, file=sys.stderr)
        return 64
    verb = argv[0]
    status: int = getattr(import_module(f"tests.real_gpu.{verb}"), verb)(Path(argv[1]).resolve())
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
