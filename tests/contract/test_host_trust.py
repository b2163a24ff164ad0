"""Every reason to refuse is documented, has a way out, and is one that a test has seen."""

import re
from pathlib import Path

from fleetbox.hostside.trust_words import REFUSALS

REPO = Path(__file__).resolve().parents[2]


def test_every_refusal_is_documented_and_no_other() -> None:
    page = (REPO / "docs" / "host-trust.md").read_text()
    table = page.partition("## Refusals")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z_]+)` \|", table, re.M) == list(REFUSALS)


def test_every_refusal_is_made_somewhere_and_seen_by_a_test_of_attacks() -> None:
    program = "".join(path.read_text() for path in (REPO / "fleetbox" / "hostside").glob("*.py"))
    attacks = (REPO / "tests/integration/hostside/test_trust_refused.py").read_text()
    assert {code for code in REFUSALS if program.count(f'"{code}"') < 2} == set()
    assert {code for code in REFUSALS if f'"{code}"' not in attacks} == set()
