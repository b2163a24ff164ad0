"""Device nodes that nothing may pull in by accident, from the drivers' own tables (docs/policy.md, Devices).

A policy names each node that it opens; a CDI spec is another program's list, so more is closed to it.
"""

from __future__ import annotations

import re

# Memory, disks and consoles: with these a workload is the machine, so not even a name opens them.
NEVER = re.compile(
    r"/dev/(mem|kmem|port|core|kmsg|(sd|hd|vd|xvd)[a-z]+[0-9]*|nvme\S*|mmcblk\S*|dm-[0-9]+|md[0-9]+|loop\S*"
    r"|mapper/.*|disk/.*|block/.*|sg[0-9]+|bsg/.*|tty[0-9]*|console|vcs\S*|ptmx|pts/.*|uinput|uhid"
    r"|cpu/.*|mtd\S*|watchdog[0-9]*|autofs|btrfs-control|loop-control|vhci|raw\S*|snapshot)"
)
# Provided by the sandbox itself, private and with the right modes.
PROVIDED = re.compile("/dev/(null|zero|full|random|urandom|tty|shm|fd|stdin|stdout|stderr)")
# Only by a policy's own word: other programs' memory, virtual machines, devices that people type on; and
# names that are another node's, or that anybody can make.
BY_NAME_ONLY = re.compile(
    r"/dev/(nvidia-caps/nvidia-cap[12]|nvidia-caps-imex-channels(/.*)?|nvidia-fs\S*|nvidia-nvswitch\S*"
    r"|nvidia-nvlink\S*|nvidia-vgpu\S*|gdrdrv|infiniband(/.*)?|kvm|vfio(/.*)?|vhost-\S*|net/tun|fuse"
    r"|snd/.*|bus/usb/.*|input/.*|hidraw[0-9]+|video[0-9]+|rtc[0-9]*|tpm\S*|nbd[0-9]+|sr[0-9]+|char/.*|fd/.*|shm/.*|mqueue/.*)"
)
# Of a screen. Generators list them with every GPU, and no computation needs them.
DISPLAY = re.compile(r"/dev/(dri/(card|controlD)[0-9]+|nvidia-modeset)")
