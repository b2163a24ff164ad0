"""The host prints facts, the control machine validates them: the two must name the same things."""

import json
from argparse import Namespace
from io import BytesIO
from typing import Any

import pytest

from fleetbox import facts
from fleetbox.errors import ApplyFailed
from fleetbox.hostside import detect
from fleetbox.hostside.detect import gates
from fleetbox.hostside.detect.gpu import advisories
from fleetbox.hostside.detect.gpu.model import Gpu, Mig
from fleetbox.hostside.paths import Places


@pytest.fixture(scope="module")
def printed() -> dict[str, Any]:
    """The facts of this machine, as the host program prints them."""
    return {"schema_version": 1, **detect.facts(Places(), Namespace(), BytesIO())}


def test_what_this_machine_says_is_what_the_model_takes(printed: dict[str, Any]) -> None:
    read = facts.read(json.dumps(printed).encode())
    assert read.model_dump() == printed


def test_a_host_with_everything_is_taken_too(printed: dict[str, Any]) -> None:
    gate = gates.gate("userns_max_zero", "said")
    caps = ["/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13"]
    words = ("nvidia", "A100", "GPU-1", "0000:01:00.0")
    state = ("node missing", "/dev/nvidia-uvm", "make it")
    device = Gpu(*words, 0, "570.1", ["/dev/nvidia0"], *state, [])._asdict()
    device["mig"] = [Mig(1, 0, caps)._asdict()]
    against = [found._asdict() for found in advisories.of("570.1")]
    rich = {
        **printed,
        "userns": {"usable": False, "gate": gate, "sysctls": {gates.maximum("user"): 0}},
        "gates": [gate],
        "costs": [gates.gate("inner_no_caps", "setuid")],
        "gpu": {
            "kind": "nvidia",
            "driver": "570.1",
            "devices": [device],
            "nodes": ["/dev/nvidia0"],
            "advisories": against,
        },
        "launcher": {"path": "/usr/local/bin/fleetbox-run", "version": "0.1.0"},
        "fleetbox": {"generation": 3, "digest": f"sha256:{'0' * 64}"},
    }
    assert facts.read(json.dumps(rich).encode()).model_dump() == rich


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"surprise": 1}, "answer"),
        ({"wsl": {"version": 7}}, "wsl.version"),
        ({"wsl": {"version": "2"}}, "wsl.version"),
        ({"host_id": "../../etc"}, "host_id"),
        ({"os": {"id": "\x1b]0;owned\x07"}}, "os.id"),
        ({"gates": [{"id": "invented"}]}, "gates.0.id"),
        ({"python": {"version": "3" * 1000}}, "python.version"),
    ],
)
def test_a_lying_host_is_refused_without_repeating_its_words(
    printed: dict[str, Any], change: dict[str, Any], where: str
) -> None:
    with pytest.raises(ApplyFailed) as refusal:
        facts.read(json.dumps({**printed, **change}).encode())
    assert f": {where}: " in refusal.value.message
    assert refusal.value.message.isprintable()


def test_an_endless_answer_is_refused_unread() -> None:
    with pytest.raises(ApplyFailed, match="bytes"):
        facts.read(b" " * (facts.SIZE_LIMIT + 1))
