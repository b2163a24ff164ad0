"""Device nodes that a policy may name, and those that nothing may pull in by accident.

The list of nodes that need an entry of their own is from the drivers' own tables (docs/policy.md, Devices).
"""

import re

from fleetbox.policy.paths import check_characters, check_names, fail, is_glob

# Directories in which a node that must be named individually lives beside harmless ones.
_DIRECTORIES = re.compile(
    r"/dev(/dri|/nvidia-caps|/nvidia-caps-imex-channels|/infiniband|/vfio|/input|/snd|/bus(/usb(/[0-9]+)?)?"
    r"|/mapper|/disk(/.*)?|/block|/char|/pts|/shm|/mqueue|/hugepages|/net|/cpu(/[0-9]+)?|/fd)?"
)
# Memory, disks and consoles: with these a workload is the machine, so not even a name opens them.
_NEVER = re.compile(
    r"/dev/(mem|kmem|port|core|kmsg|(sd|hd|vd|xvd)[a-z]+[0-9]*|nvme\S*|mmcblk\S*|dm-[0-9]+|md[0-9]+|loop\S*"
    r"|mapper/.*|disk/.*|block/.*|sg[0-9]+|bsg/.*|tty[0-9]*|console|vcs\S*|ptmx|pts/.*|uinput|uhid"
    r"|cpu/.*|mtd\S*|watchdog[0-9]*|autofs|btrfs-control|loop-control|vhci|raw\S*|snapshot)"
)
# Provided by the sandbox itself, private and with the right modes.
_PROVIDED = re.compile("/dev/(null|zero|full|random|urandom|tty|shm|fd|stdin|stdout|stderr)")


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
    if _PROVIDED.fullmatch(path):
        raise fail("a node that every sandbox has", "remove it")
    if _DIRECTORIES.fullmatch(path):
        raise fail("a directory of device nodes", "name each node: not all of them are harmless")
    if _NEVER.fullmatch(path):
        raise fail("a node that gives the machine away", "remove it; memory, disks and consoles stay closed")
    return path
