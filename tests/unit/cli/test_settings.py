"""Settings: who wins, what is refused."""

from pathlib import Path

import pytest

from fleetbox.cli import settings
from fleetbox.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty world: no variables, no files but those that a test writes."""
    for name in ("INVENTORY", "STATE_DIR", "FORKS"):
        monkeypatch.delenv(f"FLEETBOX_{name}", raising=False)
    folder = tmp_path / "here"
    folder.mkdir(mode=0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(settings, "_SYSTEM", tmp_path / "etc" / "config.toml")
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, exist_ok=True, parents=True)
    path.write_text(text)


def test_without_any_source_ansible_decides_the_inventory(tmp_path: Path) -> None:
    found = settings.load()
    assert (found.inventory, found.forks, found.state_dir) == ((), 25, tmp_path / "state" / "fleetbox")


def test_each_source_wins_over_the_next(here: Path, tmp_path: Path, monkeypatch) -> None:
    _write(tmp_path / "etc" / "config.toml", "forks = 1")
    assert settings.load().forks == 1
    _write(tmp_path / "config" / "fleetbox" / "config.toml", "forks = 2")
    assert settings.load().forks == 2
    _write(here / "fleetbox.toml", "forks = 3")
    assert settings.load().forks == 3
    monkeypatch.setenv("FLEETBOX_FORKS", "4")
    assert settings.load().forks == 4
    assert settings.load(forks=5).forks == 5


def test_paths_of_a_file_are_relative_to_it_and_a_host_list_is_no_path(here: Path, tmp_path: Path) -> None:
    _write(
        tmp_path / "config" / "fleetbox" / "config.toml",
        'inventory = ["hosts.yml", "h1,h2"]\nstate_dir = "s"',
    )
    found = settings.load()
    folder = tmp_path / "config" / "fleetbox"
    assert found.inventory == (str(folder / "hosts.yml"), "h1,h2")
    assert found.state_dir == folder / "s"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("fork = 3", "there is no setting 'fork'"),
        ("forks = 0", "forks: "),
        ('forks = "many"', "forks: "),
        ("forks = ", "is not TOML"),
    ],
)
def test_a_setting_nobody_reads_or_can_read_is_an_error(here: Path, text: str, refusal: str) -> None:
    _write(here / "fleetbox.toml", text)
    with pytest.raises(UsageError, match=refusal):
        settings.load()


@pytest.mark.parametrize("what", [".", "fleetbox.toml"])
def test_what_everybody_can_write_is_not_believed(here: Path, what: str) -> None:
    _write(here / "fleetbox.toml", "forks = 3")
    (here / what).chmod(0o777)
    with pytest.raises(UsageError, match="can be written by everybody"):
        settings.load()
