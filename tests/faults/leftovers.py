"""What launches may not leave: the tree as before, no process, mount, socket, lock, temporary file or cgroup.

Exact only in namespaces of its own (`alone`): there every process and every socket is one of ours.
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

STATE_FILES = ("locks", "denied", "root-", "bwrap-")  # what the launcher keeps between launches, by design


def alone(command: Sequence[str]) -> list[str]:
    """`command` alone in a PID, mount, network and IPC namespace of its own; the shell reaps orphans."""
    keep = ["sh", "-c", '"$@"; exit $?', "sh"]
    return [
        *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--ipc", "--"),
        *keep,
        *command,
    ]


def _entry(path: Path) -> tuple[object, ...]:
    st = path.lstat()
    content = ""
    if stat.S_ISLNK(st.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(st.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    names = [(name, os.getxattr(path, name, follow_symlinks=False)) for name in _xattrs(path)]
    return (st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_ino, content, names)


def _xattrs(path: Path) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything of a tree but its times: kind, mode, owner, links, inode, contents, attributes."""
    return {str(path.relative_to(root)): _entry(path) for path in (root, *root.rglob("*"))}


def processes(own: int) -> list[str]:
    """Every process but the shell, this one and the ended."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (1, own):
            continue
        try:
            text = Path(f"/proc/{name}/stat").read_text()
        except OSError:
            continue
        if text.rpartition(")")[2].split()[0] not in "ZX":
            found.append(text.split("(", 1)[1].rpartition(")")[0])
    return found


def mounts() -> list[str]:
    return sorted(line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines())


def sockets() -> list[str]:
    return Path("/proc/net/unix").read_text().splitlines()[1:]


def locks(directory: Path) -> list[str]:
    """Locks of any kind on what the state directory holds, and on itself."""
    inodes = (
        {str(path.lstat().st_ino) for path in (directory, *directory.iterdir())}
        if directory.exists()
        else set()
    )
    lines = Path("/proc/locks").read_text().splitlines()
    return [line for line in lines if line.split()[-3].rpartition(":")[2] in inodes]


def temporary(uid: int, state: Path) -> list[str]:
    """Files of the account in temporary places; of its state what is not kept by design or names residue."""
    found = [
        str(path)
        for place in ("/tmp", "/var/tmp", "/dev/shm", "/run")
        for path in Path(place).glob("*")
        if path.lstat().st_uid == uid and path != state
    ]
    for path in state.iterdir() if state.exists() else ():
        recorded = path.name.startswith("root-") and "\nmade " in path.read_text()
        if not path.name.startswith(STATE_FILES) or recorded:
            found.append(str(path))
    return found


def cgroups(uid: int) -> list[str]:
    """Those of the account: others make theirs beside us."""
    folders = os.walk("/sys/fs/cgroup")  # not rglob, which fails at a group that goes meanwhile
    found = [
        f"{folder}/{name}" for folder, names, _ in folders for name in names if name.startswith("fleetbox-")
    ]
    return sorted(path for path in found if Path(path).exists() and Path(path).lstat().st_uid == uid)
