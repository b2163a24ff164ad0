"""The strictest baseline: what a host goes back to where going back further would open what was just closed.

A bundle like any other, compiled when fleetbox is built (`fleetbox/bundle/baseline.py`) and installed with
the host program, so that it is at hand when nothing can be asked for.
"""

from __future__ import annotations

import os

from fleetbox.hostside import bundle, store
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.manifest import BUNDLE_LIMIT
from fleetbox.hostside.state import State

FILE = "baseline.tar"


def read() -> tuple[str, bytes]:
    """Its digest and its bytes. Raises `HostError` `no_baseline`."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), FILE)
    try:
        with open(path, "rb") as file:
            data = file.read(BUNDLE_LIMIT)
    except OSError as problem:
        raise HostError(
            "no_baseline",
            f"the strictest baseline cannot be read: {problem}",
            hint="install the host program again: ansible-playbook site.yml",
        ) from None
    return bundle.digest_of(data), data


def put(state: State) -> str:
    """Have it in the store; its digest."""
    digest, data = read()
    store.put(state, digest, bundle.read(data, digest))
    return digest


def is_it(digest: str) -> bool:
    """Whether a bundle is this baseline; False where there is none to compare with."""
    try:
        return read()[0] == digest
    except HostError:
        return False
