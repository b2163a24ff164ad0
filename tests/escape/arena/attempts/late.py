"""What appears on the host after the launch."""

from __future__ import annotations

import os
import subprocess

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.attempts.secrets import ssh_key
from tests.escape.arena.oracle import changed, token_came_out
from tests.escape.arena.world import World

NO_LAUNCHER = frozenset({"launcher"})


def _mountpoint(world: World) -> None:
    """systemd makes every mount shared; a sandbox that is a slave of it receives what comes later."""
    _shared(world)
    world.make("usb")
    world.params["place"] = str(world.at("usb"))


def _shared(world: World) -> None:
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    world.stack.callback(subprocess.run, ["mount", "--make-rprivate", "/"], check=True)


def _mount(world: World) -> bool:
    place = str(world.params["place"])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0777", "stick", place], check=True)
    world.stack.callback(subprocess.run, ["umount", place], check=True)
    world.file(f"{place}/secret", f"{world.token}\n")
    world.victim(f"{place}/victim")
    return False


def _over_the_home(world: World) -> None:
    ssh_key(world)
    _shared(world)


def _mount_the_home(world: World) -> bool:
    """An automounter, or pam_mount: the home is mounted over itself, and no mask is on that mount."""
    subprocess.run(["mount", "--bind", str(world.home), str(world.home)], check=True)
    world.stack.callback(subprocess.run, ["umount", "--lazy", str(world.home)], check=True)
    return False


def _rewritten(world: World) -> None:
    world.secret(".netrc")
    world.mask(".netrc")


def _rewrite(world: World) -> bool:
    """As editors and tools save: a new file, renamed over the old one."""
    world.secret(".netrc.new")
    os.rename(world.at(".netrc.new"), world.at(".netrc"))
    return False


def _nothing_yet(world: World) -> None:
    world.params["secret"] = str(world.at(".npmrc"))
    world.mask(".npmrc")


def _log_in(world: World) -> bool:
    """npm login, or cargo login, in another window."""
    world.secret(".npmrc")
    return False


def _new_history(world: World) -> None:
    world.params["secret"] = str(world.at(".psql_history"))


def _write_history(world: World) -> bool:
    world.secret(".psql_history")
    return False


def _denied_directory(world: World) -> None:
    ssh_key(world)
    world.params["secret"] = str(world.at(".ssh/later"))


def _add_a_key(world: World) -> bool:
    world.secret(".ssh/later")
    return False


def _add_a_named_key(world: World) -> bool:
    world.secret(f".ssh/{world.token}")
    return False


def _denied_below_another(world: World) -> None:
    world.secret(".config/gh/hosts.yml")
    world.mask(".config/gh")


def _replace_the_directory(world: World) -> bool:
    """As an installer that sets the old one aside."""
    os.rename(world.at(".config/gh"), world.at(".config/gh.old"))
    world.secret(".config/gh/hosts.yml")
    return False


def _no_settings_yet(world: World) -> None:
    world.params["secret"] = str(world.at("ws/app/.env"))
    world.make("ws/app")
    world.mask("ws/app/.env")


def _write_settings(world: World) -> bool:
    """By the person who works in the same project."""
    world.secret("ws/app/.env")
    return False


READ = "meet(); show(secret)"

ATTEMPTS = (
    Attempt(
        "write-a-late-mount",
        "a stick that is plugged in while the sandbox runs, mounted writable",
        "private propagation",
        NO_LAUNCHER,
        'meet(); write(place + "/victim")',
        _mountpoint,
        changed,
        during=_mount,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "read-a-key-under-a-late-mount",
        "the home is mounted over itself while the sandbox runs: nothing on the new mount is masked",
        "private propagation",
        NO_LAUNCHER,
        "meet(); show(secret)",
        _over_the_home,
        token_came_out,
        during=_mount_the_home,
        limit_by_bwrap="bubblewrap leaves the sandbox a slave of the host's mounts",
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "read-a-key-that-came-later",
        "a new file in a denied directory",
        "masks",
        frozenset({"masks"}),
        READ,
        _denied_directory,
        token_came_out,
        during=_add_a_key,
    ),
    Attempt(
        "watch-a-denied-directory",
        "inotify and fanotify: the name of a file that comes into it",
        "masks",
        frozenset({"masks"}),
        """
place = os.path.dirname(secret).encode()
fd = _libc.inotify_init1(os.O_NONBLOCK)
_libc.inotify_add_watch(fd, place, 0xFFF)
group = _libc.fanotify_init(0xE00 | 2, 0)  # FAN_REPORT_DFID_NAME, FAN_NONBLOCK
_libc.fanotify_mark(group, 1, ctypes.c_uint64(0x40000F00), -100, place)
meet()
for number in (fd, group):
    print(attempt(os.read, number, 65536))
""",
        _denied_directory,
        token_came_out,
        during=_add_a_named_key,
    ),
    Attempt(
        "read-a-replaced-file",
        "~/.netrc, denied, is replaced by rename while the sandbox runs",
        "snapshots",
        NO_LAUNCHER,
        READ,
        _rewritten,
        token_came_out,
        during=_rewrite,
        limit_by_bwrap="a file mask lasts until somebody on the host renames another file over it",
    ),
    Attempt(
        "read-a-file-that-came-later",
        "~/.npmrc, denied but not there at the launch",
        "snapshots",
        NO_LAUNCHER,
        READ,
        _nothing_yet,
        token_came_out,
        during=_log_in,
        limit_by_bwrap="a credential file that is created after a launch is readable in that launch",
    ),
    Attempt(
        "read-a-later-match",
        "~/.psql_history, denied by a pattern, not there at the launch",
        "snapshots",
        NO_LAUNCHER,
        READ,
        _new_history,
        token_came_out,
        during=_write_history,
        limit_by_bwrap="a glob rule masks the files that exist at launch",
    ),
    Attempt(
        "read-a-replaced-directory",
        "~/.config/gh, denied, is moved away and made anew while the sandbox runs",
        "snapshots",
        NO_LAUNCHER,
        'meet(); show(secret); show(home + "/.config/gh.old/hosts.yml")',
        _denied_below_another,
        token_came_out,
        during=_replace_the_directory,
        limit_by_bwrap="a mask goes with the directory that it is over",
    ),
    Attempt(
        "read-a-later-match-in-the-workspace",
        "**/.env of the workspace, denied by a pattern, made while the sandbox runs",
        "snapshots",
        NO_LAUNCHER,
        READ,
        _no_settings_yet,
        token_came_out,
        during=_write_settings,
        policy="no-settings",
        limit="the workspace is never a snapshot: what is done there must be seen",
    ),
)
