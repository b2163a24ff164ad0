"""host.json is read strictly: it names the account that checks run as."""

import os
from pathlib import Path

import pytest

from fleetbox.hostside import config, paths
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places


@pytest.fixture
def host(tmp_path: Path) -> Places:
    (tmp_path / "etc/fleetbox").mkdir(parents=True)
    return Places(str(tmp_path))


def write(host: Places, text: str) -> Path:
    path = Path(host.under(paths.HOST_CONFIG))
    path.write_text(text)
    path.chmod(0o644)
    return path


def problem(host: Places) -> str:
    with pytest.raises(HostError) as refusal:
        config.load(host)
    return refusal.value.message


def test_the_configured_account_is_read(host: Places) -> None:
    write(host, '{"workload_user": "fleetbox-workload"}\n')
    assert config.load(host).workload_user == "fleetbox-workload"


@pytest.mark.parametrize("text", ["{}", '{"workload_user": null}'])
def test_no_account_is_allowed(host: Places, text: str) -> None:
    write(host, text)
    assert config.load(host).workload_user is None


def test_whom_the_host_takes_what_from_is_read(host: Places) -> None:
    assert config.load(host).teams == ("default",)
    write(host, '{"host_id": "host-1.example.org", "teams": ["blue", "red"], "max_stale_days": 30}')
    read = config.load(host)
    assert (read.host_id, read.teams, read.max_stale_days) == ("host-1.example.org", ("blue", "red"), 30)


def test_all_that_is_wrong_is_said_at_once(host: Places) -> None:
    write(host, '{"host_id": "/", "teams": [], "workload_user": 0}')
    assert all(name in problem(host) for name in ("host_id", "teams", "workload_user"))


def test_a_missing_file_means_defaults(host: Places) -> None:
    assert config.load(host).workload_user is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"workload_user": 0}',
        '{"workload_user": "0"}',
        '{"workload_user": "-x"}',
        '{"workload_user": "a b"}',
        '{"workload_user": "a\\n"}',
        '{"workload_usr": "a"}',
        '{"host_id": ""}',
        '{"host_id": "../x"}',
        '{"teams": []}',
        '{"teams": "red"}',
        '{"teams": ["Red"]}',
        '{"max_stale_days": 0}',
        '{"max_stale_days": true}',
        '{"max_stale_days": "7"}',
        "[" * 100_000,
        '{"workload_user": "a"}' + " " * 70_000,
    ],
)
def test_anything_else_is_refused_by_name(host: Places, text: str) -> None:
    write(host, text)
    assert paths.HOST_CONFIG in problem(host)


def test_a_file_that_others_can_write_is_refused(host: Places) -> None:
    write(host, "{}").chmod(0o666)
    if os.geteuid() != 0:
        pytest.skip("needs root: only then does the configuration have to be root's")
    assert "can be written by others" in problem(host)


def test_a_link_is_refused(host: Places) -> None:
    Path(host.under(paths.HOST_CONFIG)).symlink_to("/etc/hostname")
    assert "symbolic links" in problem(host)
