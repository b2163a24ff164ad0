"""The inventory through the real ansible-inventory: what is selected, and that nothing is never success."""

from pathlib import Path

import pytest

from fleetbox.errors import UsageError
from fleetbox.fleet.inventory import Host, load

HOSTS = """
all:
  vars:
    ansible_user: deploy
    secret: hunter2
  children:
    sites:
      children:
        gpu_vms:
          hosts:
            h1: {ansible_host: 10.0.0.1, ansible_port: 2222, ansible_ssh_common_args: '-o "User N=x" -J hop'}
            h2: {ansible_connection: local}
    macs:
      hosts:
        h3: {fleetbox_workload_user: agent, ansible_python_interpreter: /opt/python3}
  hosts:
    h4:
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(HOSTS)
    return path


def test_hosts_have_what_reaching_them_takes_and_nothing_else(source: Path) -> None:
    h1, h2, h3, h4 = load([source])
    assert h1 == Host(
        name="h1",
        address="10.0.0.1",
        port=2222,
        user="deploy",
        ssh_args=("-o", "User N=x", "-J", "hop"),
        groups=("gpu_vms", "sites"),
    )
    assert h2.connection == "local"
    assert (h3.workload_user, h3.python, h3.groups) == ("agent", "/opt/python3", ("macs",))
    assert (h4.address, h4.groups) == ("h4", ())
    assert "hunter2" not in repr((h1, h2, h3, h4))


@pytest.mark.parametrize(
    ("limit", "names"), [("sites", ["h1", "h2"]), ("h*:!macs:!h4", ["h1", "h2"]), ("h3,h4", ["h3", "h4"])]
)
def test_patterns_are_those_of_ansible(source: Path, limit: str, names: list[str]) -> None:
    assert [host.name for host in load([source], limit)] == names


@pytest.mark.parametrize("limit", ["h9", "h1,h9", "gpu_wms", "gpu_vms:&macs", "h1:!h1", "h1:&gpu_wms"])
def test_a_pattern_of_which_any_part_matches_nothing_is_a_usage_error(source: Path, limit: str) -> None:
    with pytest.raises(UsageError) as refused:
        load([source], limit)
    assert repr(limit) in refused.value.message


def test_a_source_that_is_not_there_is_a_usage_error_although_another_is(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="missing"):
        load([source, tmp_path / "missing.yml"])


def test_a_source_that_is_no_yaml_is_a_usage_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("all:\n  hosts: [h1\n")
    with pytest.raises(UsageError, match=rf"{path}:\d+:\d+"):
        load([path])


def test_an_inventory_without_hosts_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("all:\n  children:\n    macs: {}\n")
    with pytest.raises(UsageError, match="no host"):
        load([path])


VAULT = "!vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        6162\n"


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("ansible_host: \"{{ lookup('env', 'X') }}\"", "h1: the variable ansible_host is templated"),
        (f"ansible_user: {VAULT}", "h1: the variable ansible_user is vaulted"),
        ("ansible_port: many", "h1: the variable ansible_port"),
        ("ansible_port: 70000", "h1: the variable ansible_port"),
        ("ansible_connection: docker", "h1: ansible_connection 'docker' is not supported"),
        ("ansible_become_method: su", "h1: ansible_become_method 'su' is not sudo"),
        ("ansible_become_user: admin", "h1: ansible_become_user 'admin' is not root"),
        ('ansible_ssh_common_args: "-o \'x"', "h1: the ssh arguments cannot be split"),
    ],
)
def test_a_connection_variable_nobody_can_honour_is_refused_by_name(
    tmp_path: Path, line: str, refusal: str
) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(f"all:\n  hosts:\n    h1:\n      {line}\n")
    with pytest.raises(UsageError) as refused:
        load([path])
    assert refused.value.message.startswith(refusal)


def test_a_template_in_a_variable_of_a_role_is_not_our_business(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("all:\n  hosts:\n    h1: {fleetbox_bwrap_package: '{{ x }}'}\n")
    assert [host.name for host in load([path])] == ["h1"]
