"""Shows on a machine with a real GPU what no other can: computing in the sandbox.

    python -m tests.real_gpu prepare DIRECTORY    here: launcher, bubblewrap, policies and their checks
    python3 -m tests.real_gpu run DIRECTORY       there, as root: CUDA and PyTorch, by a plain account
    python3 -m tests.real_gpu checks DIRECTORY    there, as an account with a home: exactly the GPU checks

There, Python 3.9, DIRECTORY and the checkout are enough: nothing of ours is installed. `run` prints what
docs/verified-on.md is to say, writes DIRECTORY/report.json, and ends with 1 when the sandbox fell short, 2
when there is no NVIDIA GPU to try. Every trial runs outside as well: what fails there says nothing about a
sandbox. `checks` ends with 1 when a check failed.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def main(argv: list[str]) -> int:
    """Only what the verb needs is imported: two of them run where fleetbox is not installed."""
    if len(argv) != 2 or argv[0] not in ("prepare", "run", "checks"):
        print(__doc__, file=sys.stderr)
        return 64
    verb = argv[0]
    status: int = getattr(import_module(f"tests.real_gpu.{verb}"), verb)(Path(argv[1]).resolve())
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
