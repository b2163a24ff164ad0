"""Roles, specifications, READMEs and the host program say the same; playbooks only list roles."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import fleetbox
from fleetbox.hostside import paths, release
from fleetbox.hostside.config import HostConfig
from tests.support import role_tables

REPO = Path(__file__).resolve().parents[2]
ROLES = role_tables.roles()
PLAYBOOKS = sorted((REPO / "playbooks").glob("*.yml"))

# Where fleetbox puts things on a host; system folders that roles also write to are not its own.
OURS = re.compile(r"/(?:usr/local|var/lib|var/log|etc/fleetbox|etc/ansible)(?:/[\w.-]+)+")

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _entry_points(role: Path) -> set[str]:
    return set(_yaml(role / "meta/argument_specs.yml")["argument_specs"])


def _texts(role: Path) -> dict[Path, str]:
    """Everything Ansible reads in a role, its own descriptions left out."""
    folders = ("defaults", "vars", "tasks", "handlers", "templates", "files")
    found = (path for folder in folders for path in (role / folder).glob("*"))
    return {path: path.read_text() for path in sorted(found)}


def test_there_is_a_role_for_every_capability() -> None:
    assert {role.name for role in ROLES} == {
        *("bubblewrap", "conformance", "gpu", "hostside", "launcher", "policy", "userns", "wsl")
    }


@each_role
def test_defaults_and_specification_name_the_same_variables_and_values(role: Path) -> None:
    specified = {name: option["default"] for name, option in role_tables.options(role).items()}
    assert _yaml(role / "defaults/main.yml") == specified


@each_role
def test_every_default_is_used(role: Path) -> None:
    used = "\n".join(text for path, text in _texts(role).items() if path.parent.name != "defaults")
    # The contents page and handlers count; a variable that only the README knows does not.
    assert [name for name in role_tables.options(role) if name not in used] == []


@each_role
def test_every_entry_point_exists_and_describes_itself(role: Path) -> None:
    specs = _yaml(role / "meta/argument_specs.yml")["argument_specs"]
    for entry_point, spec in specs.items():
        assert (role / f"tasks/{entry_point}.yml").exists()
        assert spec["short_description"]


@each_role
def test_the_readme_is_up_to_date(role: Path) -> None:
    readme = role / "README.md"
    assert readme.read_text() == role_tables.generated()[readme], "run `make generate`"


@each_role
def test_the_readme_says_what_changes_and_how_to_undo_it(role: Path) -> None:
    headings = re.findall(r"^## (.*)$", (role / "README.md").read_text(), re.MULTILINE)
    assert headings[:4] == [
        "What the host has afterwards",
        "What is changed",
        "Variables",
        "How to undo it",
    ]


@each_role
def test_paths_are_those_of_the_host_program(role: Path) -> None:
    known = {value for name, value in vars(paths).items() if name.isupper() and isinstance(value, str)}
    known |= {str(Path(path).parent) for path in known}
    named = {
        match
        for text in _texts(role).values()
        # `{{ __policy_state }}/store` is only a path once its variables are filled in.
        for match in OURS.findall(_filled(text, role))
    }
    assert sorted(named - known) == []


def _filled(text: str, role: Path) -> str:
    variables = _yaml(role / "vars/main.yml") if (role / "vars/main.yml").exists() else {}
    plain = {name: value for name, value in variables.items() if isinstance(value, str) and "{{" not in value}
    return re.sub(r"\{\{ (\w+) \}\}", lambda match: plain.get(match[1], match[0]), text)


@each_role
def test_every_task_that_may_fail_is_allowed_to(role: Path) -> None:
    for path, text in _texts(role).items():
        for forbidden in ("ignore_errors", "ignore_unreachable", "|| true", "ansible.builtin.shell"):
            assert forbidden not in text, path


@each_role
def test_what_a_role_makes_it_also_removes(role: Path) -> None:
    # wsl edits a file of the distribution and leaves its former content beside it.
    assert "uninstall" in _entry_points(role) or role.name == "wsl"


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_is_a_list_of_roles_and_nothing_else(playbook: Path) -> None:
    for play in _yaml(playbook):
        if "ansible.builtin.import_playbook" in play:
            assert set(play) == {"name", "ansible.builtin.import_playbook"}
            continue
        assert set(play) <= {"name", "hosts", "gather_facts", "become", "roles", "tasks"}
        assert play["gather_facts"] is False, "the host program's facts are used instead"
        for task in play.get("tasks", []):
            assert set(task) <= {"name", "ansible.builtin.import_role", "tags"}
        for role in [*play.get("roles", []), *_imported(play)]:
            assert role["tags"] == ["always"] or role["tags"] == [role["role"]], "a role's tag is its name"


def _imported(play: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": task["ansible.builtin.import_role"]["name"], "tags": task["tags"]}
        for task in play.get("tasks", [])
    ]


def test_site_and_uninstall_cover_every_role() -> None:
    parts = ("prepare", "policy", "conformance")
    listed = [(REPO / f"playbooks/{name}.yml").read_text() for name in parts]
    for role in ROLES:
        assert any(f"- role: {role.name}\n" in text for text in listed), role.name
        if "uninstall" in _entry_points(role):
            assert f"name: {role.name}\n" in (REPO / "playbooks/uninstall.yml").read_text()


def test_the_collection_has_the_package_s_version() -> None:
    assert _yaml(REPO / "galaxy.yml")["version"] == fleetbox.__version__


@pytest.mark.parametrize(
    ("role", "variable", "pattern"),
    [
        ("conformance", "__conformance_host_id", release.HOST_ID),
        ("conformance", "__conformance_team", release.TEAM),
        ("policy", "__policy_host_id", release.HOST_ID),
    ],
)
def test_roles_take_the_names_that_the_host_program_takes(
    role: str, variable: str, pattern: re.Pattern[str]
) -> None:
    assert _yaml(REPO / f"roles/{role}/vars/main.yml")[variable] == rf"{pattern.pattern}\Z"


def test_the_configuration_has_the_host_program_s_fields_and_defaults() -> None:
    text = (REPO / "roles/conformance/tasks/configure.yml").read_text()
    fields = dataclasses.fields(HostConfig)
    assert re.findall(r"'(\w+)': ", text) == [field.name for field in fields]
    defaults = _yaml(REPO / "roles/conformance/defaults/main.yml")
    for name in ("teams", "max_stale_days"):
        default = getattr(HostConfig(), name)
        assert defaults[f"fleetbox_{name}"] == (list(default) if isinstance(default, tuple) else default)
