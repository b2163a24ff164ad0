"""What two places must say alike: packages, dependencies and their reasons, exit codes, paths."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from fleetbox.errors import ExitCode
from fleetbox.hostside import paths

REPO = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True)
    return [REPO / name for name in listed.stdout.split("\0") if name]


def pyproject() -> dict[str, object]:
    return tomllib.loads((REPO / "pyproject.toml").read_text())


def test_the_readme_names_every_debian_package_that_make_installs() -> None:
    makefile = (REPO / "Makefile").read_text()
    packages = set(re.findall(r"^(?:DEMO|TEST)_PACKAGES := (.*)$", makefile, re.M)[0].split())
    packages |= set(re.findall(r"^TEST_PACKAGES := \S+ (.*)$", makefile, re.M)[0].split())
    readme = (REPO / "README.md").read_text()
    assert {package for package in packages if f"`{package}`" not in readme} == set()


def test_every_dependency_has_its_reason_written_down() -> None:
    project = pyproject()["project"]
    assert isinstance(project, dict)
    wanted = list(project["dependencies"])
    wanted += [entry for extra in project["optional-dependencies"].values() for entry in extra]
    names = {re.split(r"[=<>]", entry)[0] for entry in wanted if not entry.startswith("types-")}
    text = (REPO / "docs" / "dependencies.md").read_text().lower()
    assert {name for name in names if name.lower().split("-core")[0] not in text} == set()


def test_every_exit_code_is_documented() -> None:
    documented = set(re.findall(r"^\| (\d+) \|", (REPO / "docs" / "exit-codes.md").read_text(), re.M))
    assert documented == {str(int(code)) for code in ExitCode}


@pytest.mark.parametrize(
    ("macro", "value"),
    [
        ("PREFIX", paths.PREFIX),
        ("BWRAP", paths.BWRAP),
        ("STATE", paths.STATE),
        ("STORE", paths.STORE),
        ("CURRENT", paths.CURRENT),
        ("LINUX_DIR", paths.LINUX_DIR),
        ("LAUNCH_PLAN", paths.LAUNCH_PLAN),
        ("POLICIES_DIR", paths.POLICIES_DIR),
        ("GPU_DIR", paths.GPU_DIR),
        ("GPU_MAP", paths.GPU_MAP),
        ("GPU_LOCKS", paths.GPU_LOCKS),
        ("TRYOUT_GPU_MAP", paths.TRYOUT_GPU_MAP),
        ("REFUSALS", paths.REFUSALS),
    ],
)
def test_the_launcher_uses_the_same_paths(macro: str, value: str) -> None:
    header = (REPO / "launcher" / "paths.h").read_text()
    defined: dict[str, str] = {}
    for name, words in re.findall(r"^#define FLEETBOX_(\w+)[ \t]+(.+)$", header, re.M):
        defined[name] = "".join(
            quoted or defined[reference.removeprefix("FLEETBOX_")]
            for quoted, reference in re.findall(r'"([^"]*)"|(\w+)', words)
        )
    assert defined[macro] == value


def test_no_tracked_file_holds_a_path_of_the_machine_it_was_written_on() -> None:
    homes = re.compile(rb"/(?:work|root|home/[a-z]+)/(?:main|shared|\.pyenv)\b")
    assert [path for path in tracked() if path.is_file() and homes.search(path.read_bytes())] == []
