"""Device nodes that a policy may name; those that it may not are in `fleetbox.hostside.nodes`."""

import re

from fleetbox.hostside import nodes
from fleetbox.policy.paths import check_characters, check_names, fail, is_glob

# Directories in which a node that must be named individually lives beside harmless ones.
_DIRECTORIES = re.compile(
    r"/dev(/dri|/nvidia-caps|/nvidia-caps-imex-channels|/infiniband|/vfio|/input|/snd|/bus(/usb(/[0-9]+)?)?"
    r"|/mapper|/disk(/.*)?|/block|/char|/pts|/shm|/mqueue|/hugepages|/net|/cpu(/[0-9]+)?|/fd)?"
)


def parse_device(text: str) -> str:
    """The one spelling of a device node that a policy opens; each is named by itself."""
    check_characters(text)
    if is_glob(text):
        raise fail("a pattern over device nodes", "name each node: a pattern would also open later ones")
    names = [name for name in text.split("/") if name not in ("", ".")]
    check_names(names)
    path = "/" + "/".join(names)
    if not text.startswith("/") or names[:1] != ["dev"]:
        raise fail("not a path below /dev", "write the node's absolute path: /dev/kvm")
    if nodes.PROVIDED.fullmatch(path):
        raise fail("a node that every sandbox has", "remove it")
    if _DIRECTORIES.fullmatch(path):
        raise fail("a directory of device nodes", "name each node: not all of them are harmless")
    if nodes.NEVER.fullmatch(path):
        raise fail("a node that gives the machine away", "remove it; memory, disks and consoles stay closed")
    return path
