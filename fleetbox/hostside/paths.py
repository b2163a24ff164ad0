"""Places on a host, decided once (docs/architecture.md, "What lives once").

The launcher repeats the few it needs in `launcher/paths.h`, and roles know the install prefix only;
`tests/contract/test_repository.py` compares them all. Code on a host asks `Places` for them, so that the
same code works on a directory tree of a test's own.
"""

from dataclasses import dataclass

PREFIX = "/usr/local/lib/fleetbox"
HOST_PROGRAM = "/usr/local/bin/fleetbox-host"
LAUNCHER = "/usr/local/bin/fleetbox-run"
BWRAP = PREFIX + "/bin/bwrap"

PYTHON = "/usr/bin/python3"

# The push account's shell, the one rule of sudo's that it has, and its home, which is root's (ADR 0010).
PUSH_SHELL = PREFIX + "/push-shell"
PUSH_HOME = PREFIX + "/push"
PUSH_KEYS = PUSH_HOME + "/.ssh/authorized_keys"

STATE = "/var/lib/fleetbox"
STORE = STATE + "/store"
GENERATIONS = STATE + "/generations"
CURRENT = STATE + "/current"
NEXT_GENERATION = STATE + "/next-generation"
LOCK = STATE + "/lock"
# The activation that nobody has confirmed yet, and the generation to go back to then.
PENDING = STATE + "/pending.json"
BACK = STATE + "/back"
# How the last activation ended that did not stay, and the bundles whose checks failed here.
LAST_REVERSAL = STATE + "/last-reversal.json"
QUARANTINE = STATE + "/quarantine"

BOOT_ID = "/proc/sys/kernel/random/boot_id"

# What this host trusts (docs/host-trust.md): the signed files it verified, and what it never goes below.
TRUST = STATE + "/trust"
TRUST_METADATA = TRUST + "/metadata.tar"
FLOOR = STATE + "/floor.json"
# How long this host has run since, and when it first noticed that signatures were due for too long.
LOOKS = STATE + "/looks.json"
# Where that begins: a root file for each repository, installed by the roles.
ANCHORS = "/etc/fleetbox/trust"

# What a launch cannot look up itself (docs/gpu-map.md), and one lock file for each GPU and MIG instance.
GPU_DIR = STATE + "/gpu"
GPU_MAP = GPU_DIR + "/map"
GPU_LOCKS = GPU_DIR + "/locks"
# Later ones win.
CDI_DIRS = ("/etc/cdi", "/var/run/cdi")

# Inside a bundle, and so below CURRENT.
MANIFEST = "manifest.json"
LINUX_DIR = "linux"
LAUNCH_PLAN = "launch.plan"
POLICIES_DIR = "policies"

# The try-out's own GPU map, beside its launch plan.
TRYOUT_GPU_MAP = "gpu.map"

HOST_CONFIG = "/etc/fleetbox/host.json"
# One file per user id: the launcher runs as the workload's user, who cannot append to a root-owned file.
REFUSALS = "/var/log/fleetbox/refusals"
# Not below STATE: what fills or spoils that must not take the record of it along.
LOGS = "/var/log/fleetbox"
AUDIT = LOGS + "/audit"
ANSIBLE_FACT = "/etc/ansible/facts.d/fleetbox.fact"


def anchor(repository: str) -> str:
    """The root file that trust in `repository` begins with."""
    return f"{ANCHORS}/{repository}.root.json"


@dataclass(frozen=True)
class Places:
    """The absolute paths of a host, below `root`: "" for this host, else a directory that plays one."""

    root: str = ""

    def under(self, path: str) -> str:
        """`path` as this process reaches it."""
        return self.root + path
