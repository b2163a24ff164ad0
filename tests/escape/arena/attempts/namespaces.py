"""New namespaces and new mounts: where a workload would have capabilities, and undo what was mounted."""

from __future__ import annotations

import os

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.attempts.secrets import ssh_key
from tests.escape.arena.oracle import (
    bystander,
    changed,
    has_capabilities,
    payloads,
    sees_mount,
    token_came_out,
)
from tests.escape.arena.world import World

USERNS = "no user namespaces"
LESS = frozenset({"userns", "filter"})
MOUNTS = frozenset({"caps", "filter"})
EVERYWHERE = ("bullseye", "trixie")

# clone with CLONE_NEWUSER | SIGCHLD; the child waits to be looked at.
CLONE = """
pid = {call}
if pid == 0:
    time.sleep(15); os._exit(0)
meet()
"""

# In the sandbox's own namespaces, where a workload has no rights, and in new ones, where it has every right.
BOTH_WAYS = """
for way in ("own", "new"):
    if way == "new":
        attempt(call, "unshare", 0x10000000 | 0x20000)
"""


def joined(world: World) -> bool:
    """A payload is in the namespace of the bystander that it went for."""
    [target] = world.bystanders
    wanted = os.readlink(f"/proc/{target}/ns/user")
    return any(os.readlink(f"/proc/{pid}/ns/user") == wanted for pid in payloads(world))


def _neighbour(world: World) -> None:
    """Another program of the user in a user namespace of its own."""
    program = (
        "import ctypes,time; ctypes.CDLL(None).unshare(0x10000000); print('up', flush=True); time.sleep(30)"
    )
    world.params["target"] = bystander(world, program)


def _with_repository(world: World) -> None:
    ssh_key(world)
    world.victim("ws/.git/config", "config")
    world.victim()


def _changed_root(world: World) -> bool:
    return any(
        os.readlink(f"/proc/{pid}/root") != "/" and "jail" in os.readlink(f"/proc/{pid}/root")
        for pid in payloads(world)
    )


ATTEMPTS = (
    Attempt(
        "unshare-a-user-namespace",
        "unshare(CLONE_NEWUSER): every capability in it",
        USERNS,
        LESS,
        'call("unshare", 0x10000000); meet()',
        during=has_capabilities,
        also=EVERYWHERE,
    ),
    Attempt(
        "clone-into-a-user-namespace",
        "the same with clone",
        USERNS,
        LESS,
        CLONE.format(call='call("clone", 0x10000000 | 17, 0, 0, 0, 0)'),
        during=has_capabilities,
        also=EVERYWHERE,
    ),
    Attempt(
        "clone3-into-a-user-namespace",
        "the same with clone3, whose flags a filter cannot see",
        USERNS,
        LESS,
        CLONE.format(
            call='call("clone3", struct.pack("11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)'
        ),
        during=has_capabilities,
        also=EVERYWHERE,
    ),
    Attempt(
        "clone-with-high-bits",
        "the kernel looks at the low half of the flags: a filter that compares all of them is passed",
        USERNS,
        LESS,
        CLONE.format(call='call("clone", 1 << 32 | 0x10000000 | 17, 0, 0, 0, 0)'),
        during=has_capabilities,
    ),
    Attempt(
        "join-another-namespace",
        "setns into the namespace of a host program of the same user",
        "own PID namespace, filter",
        frozenset({"sandbox"}),
        """
fd = os.open(f"/proc/{target}/ns/user", os.O_RDONLY)
call("setns", fd, 0x10000000); meet()
""",
        _neighbour,
        during=joined,
    ),
    Attempt(
        "mount-a-tmpfs",
        "mount(2)",
        "no capabilities, filter",
        MOUNTS,
        """
os.mkdir("/tmp/m")
call("mount", MARK.encode(), b"/tmp/m", b"tmpfs", 0, None); meet()
""",
        during=sees_mount,
        also=EVERYWHERE,
    ),
    Attempt(
        "mount-with-the-new-calls",
        "fsopen, fsconfig, fsmount, move_mount",
        "no capabilities, filter",
        MOUNTS,
        """
os.mkdir("/tmp/m")
fs = call("fsopen", b"tmpfs", 0)
call("fsconfig", fs, 1, b"source", MARK.encode(), 0)
call("fsconfig", fs, 6, None, None, 0)
tree = call("fsmount", fs, 0, 0)
call("move_mount", tree, b"", -100, b"/tmp/m", 4); meet()
""",
        during=sees_mount,
    ),
    Attempt(
        "remount-writable",
        "MS_REMOUNT | MS_BIND without MS_RDONLY on the root",
        "no capabilities, filter",
        MOUNTS,
        """
attempt(call, "mount", b"none", b"/", None, 32 | 4096, None)
attempt(call, "mount", b"none", home.encode(), None, 32 | 4096, None)
write(victim)
""",
        _with_repository,
        changed,
    ),
    Attempt(
        "make-the-mount-writable",
        "the same with mount_setattr",
        "no capabilities, filter",
        MOUNTS,
        """
attempt(call, "mount_setattr", -100, b"/", 0, struct.pack("4Q", 0, 1, 0, 0), 32)
write(victim)
""",
        _with_repository,
        changed,
    ),
    Attempt(
        "change-the-root-directory",
        "chroot, the beginning of the classic escape",
        "no capabilities",
        MOUNTS,
        'os.mkdir("/tmp/jail"); call("chroot", b"/tmp/jail"); meet()',
        during=_changed_root,
    ),
    Attempt(
        "pivot-the-root",
        "pivot_root onto a tree without masks",
        "no capabilities, filter",
        MOUNTS,
        """
os.mkdir("/tmp/jail")
call("mount", MARK.encode(), b"/tmp/jail", b"tmpfs", 0, None)
os.mkdir("/tmp/jail/old"); os.chdir("/tmp/jail")
call("pivot_root", b".", b"old"); meet()
""",
        during=sees_mount,
    ),
    Attempt(
        "nested-unmount-the-mask",
        "nested sandboxes are allowed: in a user and mount namespace of one's own, umount the mask",
        "locked mounts",
        MOUNTS,
        BOTH_WAYS
        + """
    place = os.path.dirname(secret)
    for flags in (2, 0, 1):
        attempt(call, "umount2", place.encode(), flags)
    show(secret)
""",
        ssh_key,
        token_came_out,
        policy="nested",
        also=EVERYWHERE,
    ),
    Attempt(
        "nested-look-below-the-mask",
        "there: bind, open_tree, move and overlay of the parent",
        "locked mounts",
        MOUNTS,
        BOTH_WAYS
        + """
    below = os.path.relpath(secret, home)
    for name in ("b", "m", "o", "up", "work"):
        os.makedirs(f"/tmp/{way}/" + name)
    at = f"/tmp/{way}/"
    attempt(call, "mount", home.encode(), (at + "b").encode(), None, 4096, None)
    show(at + "b/" + below)
    place = os.path.dirname(secret)
    attempt(call, "mount", place.encode(), (at + "m").encode(), None, 8192, None)
    show(secret)
    options = f"lowerdir={home},upperdir={at}up,workdir={at}work,userxattr"
    attempt(call, "mount", b"o", (at + "o").encode(), b"overlay", 0, options.encode())
    show(at + "o/" + below)
    for flags in (0, 1):
        fd = attempt(call, "open_tree", -100, home.encode(), flags)
        if fd is not None:
            attempt(lambda: print(open(os.open(below, os.O_RDONLY, dir_fd=fd)).read()))
""",
        ssh_key,
        token_came_out,
        policy="nested",
        also=EVERYWHERE,
    ),
    Attempt(
        "nested-make-writable",
        "there: remount protected names and the root for writing",
        "locked mounts",
        MOUNTS | {"protect"},
        BOTH_WAYS
        + """
    for place in ("/", home, os.path.dirname(config), workspace):
        attempt(call, "mount", b"none", place.encode(), None, 32 | 4096, None)
        attempt(call, "mount_setattr", -100, place.encode(), 0, struct.pack("4Q", 0, 1, 0, 0), 32)
    attempt(call, "umount2", os.path.dirname(config).encode(), 2)
    attempt(write, config)
    attempt(write, victim)
""",
        _with_repository,
        changed,
        policy="nested",
        also=EVERYWHERE,
    ),
    Attempt(
        "nested-pivot-to-the-host",
        "there: pivot, chroot and walk up by descriptors opened before",
        "locked mounts",
        MOUNTS,
        BOTH_WAYS
        + """
    top = os.open("/", os.O_PATH)
    attempt(os.makedirs, "/tmp/jail/old")
    attempt(call, "mount", b"t", b"/tmp/jail", b"tmpfs", 0, None)
    attempt(os.makedirs, "/tmp/jail/old")
    attempt(os.chdir, "/tmp/jail")
    attempt(call, "pivot_root", b".", b"old")
    attempt(call, "umount2", b"/old" + os.path.dirname(secret).encode(), 2)
    show("/old" + secret)
    attempt(call, "chroot", b".")
    attempt(os.fchdir, top)
    for _ in range(20):
        attempt(os.chdir, "..")
    show("." + secret)
""",
        ssh_key,
        token_came_out,
        policy="nested",
    ),
    Attempt(
        "nested-move-a-protected-name",
        "there: move .git by a descriptor, from a namespace in which nothing is mounted on it",
        "read-only mounts",
        MOUNTS | {"protect"},
        """
place = os.open(workspace, os.O_RDONLY)
call("unshare", 0x10000000 | 0x20000)
os.mkdir("/tmp/jail")
call("mount", b"t", b"/tmp/jail", b"tmpfs", 0, None)
os.chdir("/tmp/jail")
call("pivot_root", b".", b".")
call("umount2", b".", 2)
os.rename(".git", "moved", src_dir_fd=place, dst_dir_fd=place)
""",
        _with_repository,
        changed,
        policy="nested",
        limit="mounts keep names only where they are mounted, and a nested sandbox may unmount all of them",
    ),
)
