"""Reading what the policy denies: by name, by alias, past the mask, by undoing it."""

from __future__ import annotations

import os
import subprocess

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import token_came_out
from tests.escape.arena.world import World

MASKS = "masks"
LESS = frozenset({"masks"})


def ssh_key(world: World) -> None:
    world.make(".ssh", mode=0o700)
    world.secret(".ssh/id_ed25519")
    world.mask(".ssh")


def _netrc(world: World) -> None:
    world.secret(".netrc")
    world.mask(".netrc")


def _history(world: World) -> None:
    world.secret(".bash_history")
    world.mask(".bash_history")


def _linked(world: World) -> None:
    """The credentials directory is a link, as with dotfile managers."""
    world.make("dotfiles/ssh", mode=0o700)
    world.secret("dotfiles/ssh/id_ed25519")
    world.at(".ssh").symlink_to("dotfiles/ssh")
    world.mask("dotfiles/ssh")


def _alias(world: World) -> None:
    ssh_key(world)
    alias = world.make("/srv/alias")
    subprocess.run(["mount", "--bind", str(world.at(".ssh")), str(alias)], check=True)
    world.stack.callback(subprocess.run, ["umount", str(alias)], check=True)
    world.params["secret"] = str(alias / "id_ed25519")
    world.mask("/srv/alias", named=False)


def _home_alias(world: World) -> None:
    """The whole home once more, as with a bind mount for a container."""
    ssh_key(world)
    alias = world.make("/srv/home")
    subprocess.run(["mount", "--bind", str(world.home), str(alias)], check=True)
    world.stack.callback(subprocess.run, ["umount", str(alias)], check=True)
    world.params["secret"] = str(alias / ".ssh/id_ed25519")
    world.mask("/srv/home", named=False)


def _state(world: World) -> None:
    """What the product keeps for itself."""
    secret = world.secret("/var/lib/fleetbox/escape-secret", mode=0o644, root=True)
    world.mask(str(secret.parent))
    world.stack.callback(os.unlink, secret)


UMOUNT = """
place = os.path.dirname(secret)
attempt(call, "umount2", place.encode(), 2)
show(secret)
"""

ATTEMPTS = (
    Attempt(
        "read-a-key",
        "cat ~/.ssh/id_ed25519",
        MASKS,
        LESS,
        "show(secret)",
        ssh_key,
        token_came_out,
    ),
    Attempt(
        "read-a-denied-file",
        "cat ~/.netrc, a file with a mask of its own",
        MASKS,
        LESS,
        "show(secret)",
        _netrc,
        token_came_out,
    ),
    Attempt(
        "read-a-history",
        "~/.bash_history, denied by a pattern",
        MASKS,
        LESS,
        "show(secret)",
        _history,
        token_came_out,
    ),
    Attempt(
        "read-a-linked-key",
        "~/.ssh is a link into a directory of dotfiles: by both names",
        MASKS,
        LESS,
        'show(secret); show(home + "/.ssh/id_ed25519")',
        _linked,
        token_came_out,
    ),
    Attempt(
        "read-a-key-through-proc",
        "/proc/*/root and /proc/*/cwd of every process",
        MASKS,
        LESS,
        """
for pid in [*filter(str.isdigit, os.listdir("/proc")), "self", "thread-self"]:
    show(f"/proc/{pid}/root{secret}")
    show(f"/proc/{pid}/cwd/{os.path.relpath(secret, workspace)}")
""",
        ssh_key,
        token_came_out,
    ),
    Attempt(
        "hardlink-a-key",
        "a second name in the workspace",
        MASKS,
        LESS | {"root"},
        'os.link(secret, workspace + "/same"); show(workspace + "/same")',
        ssh_key,
        token_came_out,
    ),
    Attempt(
        "open-the-mask-with-chmod",
        "the workload's user may own the mask: chmod, then look below it",
        MASKS,
        LESS,
        """
place = os.path.dirname(secret)
attempt(os.chmod, place, 0o777)
attempt(os.listdir, place)
attempt(os.rename, place, home + "/moved")
show(secret)
""",
        ssh_key,
        token_came_out,
    ),
    Attempt(
        "move-the-denied-file",
        "rename ~/.netrc to another name",
        MASKS,
        LESS | {"root"},
        'os.rename(secret, workspace + "/mine"); show(workspace + "/mine")',
        _netrc,
        token_came_out,
    ),
    Attempt(
        "unmount-the-mask",
        "umount2 with MNT_DETACH",
        "no capabilities, filter",
        frozenset({"caps", "filter"}),
        UMOUNT,
        ssh_key,
        token_came_out,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "move-the-mask",
        "mount --move puts it elsewhere",
        "no capabilities, filter",
        frozenset({"caps", "filter"}),
        """
os.mkdir("/tmp/elsewhere")
attempt(call, "mount", os.path.dirname(secret).encode(), b"/tmp/elsewhere", None, 8192, None)
show(secret)
""",
        ssh_key,
        token_came_out,
    ),
    Attempt(
        "bind-what-lies-below-the-mask",
        "a bind of the parent, not recursive, shows it without the mask",
        "no capabilities, filter",
        frozenset({"caps", "filter"}),
        """
os.mkdir("/tmp/elsewhere")
attempt(call, "mount", home.encode(), b"/tmp/elsewhere", None, 4096, None)
show("/tmp/elsewhere/" + os.path.relpath(secret, home))
""",
        ssh_key,
        token_came_out,
    ),
    Attempt(
        "clone-what-lies-below-the-mask",
        "the same with open_tree, without any mountpoint",
        "no capabilities, filter",
        frozenset({"caps", "filter"}),
        """
fd = call("open_tree", -100, home.encode(), 1)
sys.stdout.write(open(os.open(os.path.relpath(secret, home), os.O_RDONLY, dir_fd=fd)).read())
""",
        ssh_key,
        token_came_out,
    ),
    Attempt(
        "overlay-below-the-mask",
        "an overlay file system with the home as its lower layer",
        "no capabilities, filter",
        frozenset({"caps", "filter"}),
        """
for name in ("up", "work", "merged"):
    os.mkdir("/tmp/" + name)
options = f"lowerdir={home},upperdir=/tmp/up,workdir=/tmp/work"
attempt(call, "mount", b"o", b"/tmp/merged", b"overlay", 0, options.encode())
show("/tmp/merged/" + os.path.relpath(secret, home))
""",
        ssh_key,
        token_came_out,
    ),
    Attempt(
        "read-a-bind-alias-of-a-key",
        "the denied directory by another mount",
        "masks of aliases",
        LESS,
        "show(secret)",
        _alias,
        token_came_out,
    ),
    Attempt(
        "read-a-key-in-a-homes-alias",
        "the whole home by another mount",
        "masks of aliases",
        LESS,
        "show(secret)",
        _home_alias,
        token_came_out,
    ),
    Attempt(
        "read-the-products-state", "/var/lib/fleetbox", MASKS, LESS, "show(secret)", _state, token_came_out
    ),
)
