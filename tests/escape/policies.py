"""What the attempts run under: the shipped presets, and small policies that open one thing each."""

import tempfile
from pathlib import Path

from fleetbox import bundle
from fleetbox.conformance import expect
from fleetbox.policy import load_policy
from tests.conftest import REPO
from tests.support.provision import HEAD

PRESETS = ("base", "gpu-workstation", "offline", "read-only")
SMALL = {
    "denied-below": "filesystem: {rules: [{path: $WORKSPACE/a/b, access: none}]}\n",
    "few-processes": "process: {limits: {pids: 50}}\n",
    "host-tmp": "filesystem: {tmp: host}\n",
    "little-memory": "process: {limits: {memory: 128MiB}}\n",
    "little-time": "process: {limits: {wall: 1s}}\n",
    "nested": "process: {nested_sandboxes: true}\n",
    "no-landlock": "landlock: off\n",
    "no-settings": 'filesystem: {rules: [{path: "$WORKSPACE/**/.env", access: none}]}\n',
    "private": "process: {unix_sockets: private}\n",
    "python-only": "process: {allowed_binaries: [python3]}\n",
    "unprotected": "filesystem: {unprotect: [.codex]}\n",
}


def built() -> bundle.Bundle:
    """All of them, base being the default."""
    with tempfile.TemporaryDirectory() as folder:
        files = [REPO / "policies" / f"{name}.yml" for name in PRESETS]
        for name, body in SMALL.items():
            file = Path(folder) / f"{name}.yml"
            file.write_text(HEAD.format(name=name) + "extends: [base]\n" + body)
            files.append(file)
        resolved = [load_policy(file) for file in files]
    return bundle.build(resolved, {policy.name: expect.checks_for(policy) for policy in resolved})
