"""A provisioned bwrap that is anything but one gives way to the packaged one; nothing ever runs outside."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import PACKAGED, WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

TRUE_HELP = f'[ "$1" != --help ] || exec {PACKAGED} --help'
RUNS_IT = 'until [ "$1" = -- ]; do shift; done; shift; exec "$@"'
PLANTED = "#!/bin/sh\ntouch /home/dev/planted-ran\n"


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("fakes")) as [box]:
        box.activate({"main": "filesystem: {rules: [{path: ~/secret, access: none}]}\n"})
        box.change("echo hidden > /home/dev/secret")
        yield box


@pytest.fixture(autouse=True)
def healed(box: Provisioned) -> Iterator[None]:
    yield
    box.change(f"rm -rf {paths.BWRAP} {WORKSPACE}; install -m 0755 {PACKAGED} {paths.BWRAP}")
    box.change(f"install -d -o dev -g dev {WORKSPACE}; rm -f /home/dev/planted-ran")


def fake(box: Provisioned, body: str) -> None:
    box.change(f"rm -rf {paths.BWRAP}")
    box.host.put(paths.BWRAP, f"#!/bin/sh\n{body}\n".encode(), mode=0o755)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sleep 3605", "does not answer --help within 5 seconds"),
        ("sleep 3605 & exit 0", "does not answer --help within 5 seconds"),
        ("exec yes", "has no end to its --help"),
        ("exec head -c 999 /dev/urandom", "does not answer --help as bubblewrap does"),
        ("exit 1", "does not answer --help as bubblewrap does"),
        ("echo ' --new-session --perms '", "has no --as-pid-1"),
        (f"{TRUE_HELP}; echo unknown option >&2; exit 1", "could not make the sandbox"),
    ],
)
def test_one_that_is_no_bwrap_gives_way_in_bounded_time(box: Provisioned, body: str, said: str) -> None:
    fake(box, body)
    begin = time.monotonic()
    done = box.sh("cat ~/secret; echo in", options=("--workspace", WORKSPACE))
    assert (done.returncode, done.stdout) == (0, "in\n"), done
    assert f"fleetbox-run: warning: {paths.BWRAP} {said}; trying {PACKAGED}\n" in done.stderr
    assert time.monotonic() - begin < 30, "a bound of time, not a measurement"
    assert not [line for line in box.host.processes() if "3605" in line]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ("mkdir {}", "is missing or not root's; using"),
        ("ln -s /nowhere {}", "is missing or not root's; using"),
        ("ln -s {} {}", "is missing or not root's; using"),
        ("mkfifo -m 0755 {}", "is missing or not root's; using"),
        ("printf 'no program' > {0}; chmod 755 {0}", "cannot be run: Exec format error; trying"),
        ("printf '#!/nowhere' > {0}; chmod 755 {0}", "cannot be run: No such file or directory; trying"),
    ],
)
def test_what_cannot_be_run_gives_way(box: Provisioned, make: str, said: str) -> None:
    box.change(f"rm {paths.BWRAP}; {make.format(paths.BWRAP, paths.BWRAP)}")
    done = box.sh("cat ~/secret; echo in", options=("--workspace", WORKSPACE))
    assert (done.returncode, done.stdout) == (0, "in\n"), done
    assert f"{paths.BWRAP} {said} {PACKAGED}\n" in done.stderr


def test_one_that_makes_no_sandbox_runs_no_workload(box: Provisioned) -> None:
    """It is root's own, so this is a broken one, not an attack; still nothing runs with less than asked."""
    box.change(f"cp {PACKAGED} {PACKAGED}.kept")
    try:
        for body in (RUNS_IT, f"umask 0; {RUNS_IT}"):
            fake(box, f"{TRUE_HELP}; {body}")
            box.change(f"cp {paths.BWRAP} {PACKAGED}; sed -i s,{PACKAGED},{PACKAGED}.kept, {PACKAGED}")
            done = box.launch("/bin/sh", "-c", "cat ~/secret; touch ran /home/dev/ran")
            assert (done.returncode, done.stdout) == (125, ""), done
            assert box.run("ls", f"{WORKSPACE}/ran", "/home/dev/ran").stdout == ""
    finally:
        box.change(f"mv {PACKAGED}.kept {PACKAGED}")


def test_a_replaced_one_is_asked_again(box: Provisioned) -> None:
    """Features are remembered by device, inode, time, size and mode."""

    def asked() -> bool:
        return (
            "--disable-userns" in box.launch("true", options=("--workspace", WORKSPACE, "--dry-run")).stdout
        )

    older = (
        f"[ $1 = --help ] && exec sh -c '{PACKAGED} --help | grep -v disable-userns'; exec {PACKAGED} \"$@\""
    )
    assert asked()
    fake(box, older)
    assert not asked(), "another file"
    fake(box, f'exec {PACKAGED} "$@"')
    assert asked(), "and back"
    box.host.exec(["dd", f"of={paths.BWRAP}"], data=f"#!/bin/sh\n{older}\n".encode())
    assert not asked(), "the same file, written again"


@pytest.mark.parametrize(
    "path",
    ["ws", "ws:/usr/bin", "./ws:/usr/bin", ":/usr/bin", "::/usr/bin:", "/usr/bin:", "{home}/open:/usr/bin"],
)
def test_only_absolute_entries_of_path_that_nobody_else_can_write_count(box: Provisioned, path: str) -> None:
    """As a user types it: without a provisioned one, from a directory that holds a planted one."""
    box.change(f"rm {paths.BWRAP}; install -d -m 0777 /home/dev/open")
    for place in (WORKSPACE, "/home/dev/open", "/home/dev"):
        box.host.put(f"{place}/bwrap", PLANTED.encode(), mode=0o755, owner="dev")
    environment = {"PATH": path.format(home="/home/dev")}
    done = box.launch("/bin/sh", "-c", "cat ~/secret; echo in", env=environment)
    if "/usr/bin" in path:
        assert (done.returncode, done.stdout) == (0, "in\n"), done
        assert f"{paths.BWRAP} is missing or not root's; using {PACKAGED}" in done.stderr
    else:
        assert done.returncode == 125
        assert "there is no usable bwrap on PATH" in done.stderr
        assert "  hint: install it: apt-get install bubblewrap" in done.stderr
    box.change("rm -f /home/dev/bwrap")
    assert box.run("ls", "/home/dev/planted-ran").returncode != 0


def test_with_neither_nothing_runs(box: Provisioned) -> None:
    box.change(f"rm {paths.BWRAP}; mv {PACKAGED} {PACKAGED}.away")
    try:
        for body in (None, "exit 1"):
            if body:
                fake(box, body)
            done = box.launch("/bin/sh", "-c", "touch ran; echo ran")
            assert (done.returncode, done.stdout) == (125, "")
            assert done.stderr.splitlines()[-1].startswith("  hint: install")
            assert box.run("ls", "-A", WORKSPACE).stdout == ""
    finally:
        box.change(f"mv {PACKAGED}.away {PACKAGED}")
