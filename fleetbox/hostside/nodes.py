"""Device nodes that nothing may pull in by accident, from the drivers' own tables (docs/policy.md, Devices).

A policy names each node that it opens; a CDI spec is another program's list, so only a few kinds are open to
it.
"""

from __future__ import annotations

import re

# Memory, disks, tapes, firmware and consoles: with these a workload is the machine, so not even a name opens
# them.
NEVER = re.compile(
    r"/dev/(mem|kmem|port|core|kmsg|(sd|hd|vd|xvd)[a-z]+[0-9]*|nvme\S*|mmcblk\S*|dm-[0-9]+|md[0-9]+|loop\S*"
    r"|mapper/.*|disk/.*|block/.*|sg[0-9]+|bsg/.*|tty[0-9]*|console|vcs\S*|ptmx|pts/.*|uinput|uhid"
    r"|cpu/.*|mtd\S*|watchdog[0-9]*|autofs|btrfs-control|loop-control|vhci|raw\S*|snapshot"
    r"|ng[0-9]+n.*|dax.*|n?st[0-9].*|nvram|ipmi.*|mpt[0-9]*ctl|megaraid.*|mei.*|userfaultfd)"
)
# Provided by the sandbox itself, private and with the right modes.
PROVIDED = re.compile("/dev/(null|zero|full|random|urandom|tty|shm|fd|stdin|stdout|stderr)")
# What a CDI spec may open: of GPUs, and of accelerators, which CDI is for. nvidia-cap1 and 2 change and watch
# MIG for the whole machine.
COMPUTE = re.compile(
    r"/dev/(nvidiactl|nvidia[0-9]+|nvidia-uvm(-tools)?|nvidia-caps/nvidia-cap([03-9]|[1-9][0-9]+)"
    r"|dri/renderD[0-9]+|kfd|dxg|nvmap|nvhost-[^/]+|nvgpu/igpu[^/]*/[^/]+|nvsciipc|host1x-fence"
    r"|accel/accel[0-9]+|accel[0-9]+)"
)
# Of a screen. Generators list them with every GPU, and no computation needs them.
DISPLAY = re.compile(r"/dev/(dri/(card|controlD)[0-9]+|nvidia-modeset)")
