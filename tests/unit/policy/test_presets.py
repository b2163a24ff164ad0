"""The shipped policies: they load, protect what they say, and compile for Linux as they are."""

from pathlib import PurePath

import pytest

from fleetbox.policy import Access, Mode, load_preset, presets
from fleetbox.policy.explain import explain
from fleetbox.targets import TARGETS

HOME = PurePath("/home/me")


def access(name: str, path: str) -> Access:
    return explain(load_preset(name), path, workspace=HOME / "work", home=HOME).access


def test_five_policies_are_shipped() -> None:
    assert presets.names() == ("base", "baseline", "gpu-workstation", "offline", "read-only")


@pytest.mark.parametrize("name", presets.names())
@pytest.mark.parametrize(
    "path",
    [
        "~/.ssh/id_ed25519", "~/.aws/credentials", "~/.gnupg/private-keys-v1.d", "~/.config/gcloud/x",
        "~/.azure", "~/.kube/config", "~/.docker/config.json", "~/.netrc", "~/.npmrc", "~/.pypirc",
        "~/.config/gh/hosts.yml", "~/.git-credentials", "~/.mozilla/firefox/x/logins.json",
        "~/.config/google-chrome/Default/Cookies", "~/.local/share/keyrings/login.keyring",
        "~/.bash_history", "~/.zsh_history", "~/.python_history", "~/.password-store/x.gpg",
    ],
)  # fmt: skip
def test_secrets_of_the_user_cannot_be_read(name: str, path: str) -> None:
    assert access(name, path) is Access.NONE


@pytest.mark.parametrize("name", [name for name in presets.names() if name != "baseline"])
@pytest.mark.parametrize(
    "path", ["~/.bashrc", "/etc/passwd", ".git/hooks/pre-commit", "~/.codex/config.toml"]
)
def test_settings_can_be_read_and_not_written(name: str, path: str) -> None:
    assert access(name, path) is Access.READ


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_compiles_for_linux_with_no_network(name: str) -> None:
    policy = load_preset(name)
    assert policy.name == name
    assert policy.network.mode == "none"
    assert TARGETS["bubblewrap"].compile(policy)


@pytest.mark.parametrize("path", ["~/.bashrc", "~/anything", "src", ".env", "/srv/data"])
def test_the_baseline_shows_nothing_of_a_person_and_nothing_in_the_workspace(path: str) -> None:
    assert access("baseline", path) is Access.NONE


def test_the_workspace_is_writable_except_in_read_only() -> None:
    assert access("base", "src") is Access.WRITE
    assert access("read-only", "src") is Access.READ
    assert load_preset("read-only").mode is Mode.READ_ONLY


def test_gpu_workstation_keeps_caches_and_takes_what_needs_no_naming() -> None:
    assert access("gpu-workstation", "~/.cache/huggingface/hub") is Access.WRITE
    assert load_preset("gpu-workstation").devices.gpu.vendors == ("amd", "apple", "intel", "nvidia", "wsl")
    assert load_preset("offline").devices.gpu.mode == "none"
    assert load_preset("read-only").devices.gpu.mode == "none"
