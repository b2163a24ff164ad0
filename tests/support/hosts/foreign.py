"""Trees of another architecture: unpacked on this machine, whose processor can run nothing of them.

So no package's script runs either, and what they would have done is done here, as far as a host needs it.
QEMU's user mode would run them, but only by way of binfmt_misc, which is the machine's own and stays as it
is. Surprise: dpkg knows of no package there, so nothing can be installed on such a host.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PACKAGES = ("apparmor", "apt", "bubblewrap", "busybox-static", "git", "mount", "procps", "strace")
"""With what a host of this machine's architecture would install when a test needs it."""
MERGE_USR = "/usr/share/mmdebstrap/hooks/maybe-merged-usr"
DIRECTORIES = ("mnt", "opt", "srv", "usr/local/sbin")
ACCOUNTS = {
    "passwd": (
        "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"
        "dev:x:1000:1000::/home/dev:/bin/bash\n"
    ),
    "group": "dev:x:1000:\n",
}  # fmt: skip
STACKS = ("auth", "account", "password", "session", "session-noninteractive")
FILES = {
    f"etc/pam.d/common-{stack}": (0o644, f"{stack.partition('-')[0]} required pam_permit.so\n")
    for stack in STACKS
}


def options(architecture: str) -> list[str]:
    """How mmdebstrap unpacks and runs nothing."""
    return [
        f"--architectures={architecture}",
        "--variant=extract",
        f"--hook-directory={MERGE_USR}",
        # A pattern takes the whole of its option.
        "--include=?essential",
    ]


def configure(root: Path) -> None:
    """What `dpkg --configure` leaves behind: accounts, sshd's settings, directories."""
    for name in DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, lines in ACCOUNTS.items():
        master = root / f"usr/share/base-passwd/{name}.master"
        (root / "etc" / name).write_text(master.read_text() + lines)
    shutil.copy(root / "usr/share/openssh/sshd_config", root / "etc/ssh/sshd_config")
    home = root / "home/dev"
    shutil.copytree(root / "etc/skel", home)
    for path in (home, *home.iterdir()):
        os.chown(path, 1000, 1000)
