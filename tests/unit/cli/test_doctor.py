"""`fleetbox doctor` in words, from facts that were given."""

import json
from argparse import Namespace
from io import BytesIO

from fleetbox import facts
from fleetbox.cli.doctor import _gpus
from fleetbox.hostside import detect
from fleetbox.hostside.detect.gpu import advisories
from fleetbox.hostside.paths import Places


def test_what_is_known_against_a_driver_is_a_warning_with_a_remedy() -> None:
    printed = {"schema_version": 1, **detect.facts(Places(""), Namespace(), BytesIO())}
    against = [found._asdict() for found in advisories.of("570.172.08")]
    printed["gpu"] = {"kind": "none", "driver": None, "devices": [], "nodes": [], "advisories": against}
    *_, warning = _gpus(facts.read(json.dumps(printed).encode()))
    assert warning.ok
    assert "CVE-2025-23280" in warning.words
    assert "570.195.03" in warning.remedy
