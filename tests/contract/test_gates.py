"""One table of gates: what the launcher, the host program, the roles and the docs say comes from it."""

import re
from pathlib import Path

import pytest
import yaml

from fleetbox.hostside.detect import gates
from tests.support import gate_tables

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("path", "text"), gate_tables.generated().items(), ids=lambda value: getattr(value, "name", "")
)
def test_generated_words_are_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, "make generate"


@pytest.mark.parametrize("name", [*gates.GATES, *gates.COSTS])
def test_words_fit_on_one_line_and_say_what_to_do(name: str) -> None:
    words = (gates.GATES | gates.COSTS)[name]
    for text in (words.problem, words.remedy):
        assert text
        assert text.isascii()
        assert text.isprintable()
        assert not text.endswith(".")


def test_a_role_writes_the_settings_and_files_that_the_remedies_name() -> None:
    variables = yaml.safe_load((REPO / "roles/userns/vars/main.yml").read_text())
    written = {item["key"]: item for item in variables["__userns_sysctls"]}
    assert written.keys() == {gates.CLONE, *map(gates.maximum, gates.KINDS)}
    for key, item in written.items():
        assert item["file"] == gates.sysctl_file(key)
        assert gates.GATES[item["gate"]].role
    defaults = yaml.safe_load((REPO / "roles/userns/defaults/main.yml").read_text())
    assert defaults["userns_max_namespaces"] == gates.ENOUGH_NAMESPACES


def test_the_roles_words_for_a_missing_python_are_the_tables() -> None:
    text = " ".join((REPO / "roles/hostside/tasks/facts.yml").read_text().split())
    words = gates.GATES["python_missing"]
    assert f"cannot sandbox (python_missing): {words.problem} (" in text
    assert f"Remedy: {words.remedy}." in text


def test_the_launcher_names_no_gate_in_words_of_its_own() -> None:
    refusals = re.findall(r"\brefuse\(", (REPO / "launcher/gate.c").read_text())
    assert len(refusals) == 2, "one for every gate, one for what is no gate known"
