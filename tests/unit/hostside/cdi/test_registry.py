"""All specs of a host: whom they may belong to, which of them wins, and what is said of the rest."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml  # noqa: F401  # as on the control machine; hosts have the distribution's

from fleetbox.hostside.cdi import folder, registry, yaml_text
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.gpu_map import Device, GpuMap, Refused, Source, decode, encode
from fleetbox.hostside.paths import Places

REPO = Path(__file__).resolve().parents[4]


def spec(name: str, node: str, kind: str = "a.com/b") -> str:
    edits = {"deviceNodes": [{"path": node}]}
    return json.dumps(
        {"cdiVersion": "0.5.0", "kind": kind, "devices": [{"name": name, "containerEdits": edits}]}
    )


class Tree:
    """A host's two directories of CDI."""

    def __init__(self, root: Path) -> None:
        self.places = Places(str(root))
        for path in ("/etc/cdi", "/var/run/cdi"):
            self.at(path).mkdir(parents=True)

    def at(self, path: str) -> Path:
        return Path(self.places.under(path))

    def plant(self, path: str, text: str, mode: int = 0o644) -> Path:
        file = self.at(path)
        file.write_text(text)
        file.chmod(mode)
        return file

    def read(self) -> registry.Registry:
        return registry.read(self.places, owner=os.geteuid())

    def nodes(self) -> dict[str, str]:
        """Device → its first node, or why it is refused."""
        return {
            entry.name: entry.nodes[0].path if isinstance(entry, Device) else entry.reason
            for entry in self.read().devices
        }


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_host_without_specs_has_no_devices(tmp_path: Path, tree: Tree) -> None:
    assert tree.read() == registry.read(Places(str(tmp_path / "absent"))) == registry.Registry((), (), (), ())


def test_specs_of_both_formats_are_read_and_the_later_directory_wins(tree: Tree) -> None:
    tree.plant("/etc/cdi/a.json", spec("x", "/dev/nvidia8"))
    tree.plant("/etc/cdi/b.json", spec("y", "/dev/nvidia1"))
    tree.plant("/var/run/cdi/c.yaml", spec("x", "/dev/nvidia9"))
    tree.plant("/etc/cdi/d.txt", spec("z", "/dev/nvidia2"))
    (tree.at("/etc/cdi") / "sub").mkdir()
    tree.plant("/etc/cdi/sub/e.json", spec("z", "/dev/nvidia2"))
    assert tree.nodes() == {"a.com/b=x": "/dev/nvidia9", "a.com/b=y": "/dev/nvidia1"}


def test_every_spec_is_a_source_with_size_and_checksum(tree: Tree) -> None:
    whole = spec("x", "/dev/nvidia0")
    tree.plant("/var/run/cdi/a.json", whole)
    tree.plant("/etc/cdi/broken.yaml", "{")
    tree.plant("/etc/cdi/closed.json", whole, mode=0o600)
    tree.plant("/etc/cdi/large.json", " " * (folder.SPEC_MAX + 5))
    (tree.at("/etc/cdi") / "link.json").symlink_to("broken.yaml")
    (tree.at("/etc/cdi") / "directory.json").mkdir()
    assert tree.read().sources == (
        Source("/etc/cdi/broken.yaml", 1, f"{zlib.crc32(b'{'):08x}"),
        Source("/etc/cdi/closed.json", len(whole), "-"),
        Source("/etc/cdi/large.json", folder.SPEC_MAX + 5, f"{zlib.crc32(b' ' * folder.SPEC_MAX):08x}"),
        Source("/var/run/cdi/a.json", len(whole), f"{zlib.crc32(whole.encode()):08x}"),
    )


def test_a_spec_without_a_name_before_its_ending_is_one(tree: Tree) -> None:
    tree.plant("/etc/cdi/.json", spec("x", "/dev/nvidia0"))
    found = tree.read()
    assert [source.path for source in found.sources] == ["/etc/cdi/.json"]
    assert decode(encode(GpuMap(sources=found.sources, devices=found.devices))).devices == found.devices


def test_a_broken_spec_takes_nothing_else_with_it(tree: Tree) -> None:
    tree.plant("/etc/cdi/a.json", spec("x", "/dev/nvidia0"))
    tree.plant("/etc/cdi/b.json", '{"devices": 1}')
    found = tree.read()
    assert tree.nodes() == {"a.com/b=x": "/dev/nvidia0"}
    [broken] = found.broken
    assert (broken.path, len(broken.problems)) == ("/etc/cdi/b.json", 4)
    assert found.notes == ("/etc/cdi/b.json: cdiVersion: is missing (and 3 more)",)


def test_two_specs_of_one_directory_that_define_one_device_refuse_it(tree: Tree) -> None:
    tree.plant("/var/run/cdi/a.json", spec("x", "/dev/nvidia0"))
    tree.plant("/var/run/cdi/b.json", spec("x", "/dev/nvidia0"))
    tree.plant("/etc/cdi/c.json", spec("x", "/dev/nvidia0"))
    both = "/var/run/cdi/a.json and /var/run/cdi/b.json both define it; remove it from one"
    assert tree.nodes() == {"a.com/b=x": both}


def test_a_refused_device_hides_the_one_below(tree: Tree) -> None:
    tree.plant("/etc/cdi/a.json", spec("x", "/dev/nvidia0"))
    tree.plant("/var/run/cdi/a.json", spec("x", "/dev/mem"))
    [entry] = tree.read().devices
    assert isinstance(entry, Refused)


def writable_file(tree: Tree) -> None:
    tree.at("/etc/cdi/a.json").chmod(0o664)


def writable_directory(tree: Tree) -> None:
    tree.at("/etc/cdi").chmod(0o777)


def give_away(name: str) -> Callable[[Tree], None]:
    def give(tree: Tree) -> None:
        try:
            os.chown(tree.at(name), 12345, -1)
        except PermissionError:
            pytest.skip("needs root to give a file away")

    return give


def link(tree: Tree) -> None:
    tree.at("/etc/cdi/a.json").rename(tree.at("/etc/cdi/a.txt"))
    tree.at("/etc/cdi/a.json").symlink_to("a.txt")


def fifo(tree: Tree) -> None:
    tree.at("/etc/cdi/a.json").unlink()
    os.mkfifo(tree.at("/etc/cdi/a.json"))


def linked_directory(tree: Tree) -> None:
    tree.at("/etc/cdi").rename(tree.at("/etc/real"))
    tree.at("/etc/cdi").symlink_to("real")


def odd_name(tree: Tree) -> None:
    tree.at("/etc/cdi/a.json").rename(tree.at("/etc/cdi/a\n.json"))


MISTRUSTED: dict[str, tuple[Callable[[Tree], None], str]] = {
    "writable file": (writable_file, "/etc/cdi/a.json: it can be written by others (mode 0664)"),
    "writable directory": (
        writable_directory,
        "a.json: the directory /etc/cdi can be written by others (mode 0777)",
    ),
    "foreign file": (give_away("/etc/cdi/a.json"), "/etc/cdi/a.json: it belongs to uid 12345, not to 0"),
    "foreign directory": (
        give_away("/etc/cdi"),
        "a.json: the directory /etc/cdi belongs to uid 12345, not to 0",
    ),
    "link": (link, "/etc/cdi/a.json: it is a link, or no regular file"),
    "fifo": (fifo, "/etc/cdi/a.json: it is a link, or no regular file"),
    "linked directory": (linked_directory, "/etc/cdi is not read: it is a link or a file"),
    "closed file": (
        lambda tree: tree.at("/etc/cdi/a.json").chmod(0o640),
        "not everybody can read it; chmod 644",
    ),
    "closed directory": (
        lambda tree: tree.at("/etc/cdi").chmod(0o750),
        "not everybody can list it; chmod 755",
    ),
    "odd name": (odd_name, r"/etc/cdi/a\n.json: its name has characters that cannot be shown"),
}


@pytest.mark.parametrize("case", MISTRUSTED)
def test_what_others_could_have_written_is_not_read(tree: Tree, case: str) -> None:
    tree.plant("/etc/cdi/a.json", spec("x", "/dev/nvidia0"))
    assert list(tree.nodes()) == ["a.com/b=x"]
    change, said = MISTRUSTED[case]
    change(tree)
    found = tree.read()
    assert found.devices == ()
    [note] = found.notes
    assert said in note


def test_a_spec_is_trusted_only_if_it_is_roots(tree: Tree) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give a file away")
    tree.plant("/etc/cdi/a.json", spec("x", "/dev/nvidia0"))
    assert registry.read(tree.places).devices
    os.chown(tree.at("/etc/cdi/a.json"), 12345, 12345)
    assert not registry.read(tree.places).devices


def test_endless_directories_are_refused(tree: Tree) -> None:
    for number in range(folder.FILES_MAX + 1):
        tree.plant(f"/etc/cdi/{number}.json", "{}")
    with pytest.raises(HostError, match="257 CDI specs"):
        tree.read()


def test_without_a_reader_of_yaml_the_remedy_is_said(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "_module", lambda: None)
    tree.plant("/etc/cdi/a.yaml", spec("x", "/dev/nvidia0"))
    [broken] = tree.read().broken
    assert broken.problems == (
        "the spec: is YAML, and this host cannot read it; role fleetbox.sandbox.gpu installs python3-yaml",
    )


LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
from fleetbox.hostside.cdi import spec, yaml_text
before = list(sys.path)
try:
    print(spec.parse(open(sys.argv[2], "rb").read(), "a.yaml").devices[0].name, sys.modules["yaml"].__file__)
except spec.SpecInvalid as refusal:
    print(refusal.problems[0].hint)
assert sys.path == before
"""


def test_the_distributions_yaml_is_found_where_no_site_is_loaded() -> None:
    """As hosts run it: -I -S, so that nothing but the standard library is on the path."""
    good = Path(__file__).parent / "good" / "nvidia.yaml"
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c", LOAD, str(REPO), str(good)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    installed = Path("/usr/lib/python3/dist-packages/yaml/__init__.py")
    wanted = f"nvidia.com/gpu=0 {installed}" if installed.exists() else yaml_text.REMEDY
    assert done.stdout.strip() == wanted


def test_a_yaml_that_others_can_write_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "yaml"
    planted.mkdir()
    (planted / "__init__.py").write_text("raise SystemExit('imported')")
    (planted / "__init__.py").chmod(0o666)
    monkeypatch.setattr(yaml_text.site, "getsitepackages", lambda: [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "yaml")
    assert yaml_text._module() is None
    (planted / "__init__.py").chmod(0o644)
    assert yaml_text._is_roots(str(planted / "__init__.py")) == (os.geteuid() == 0)
