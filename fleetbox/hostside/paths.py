"""Places on a host, decided once (docs/architecture.md, "What lives once").

The launcher repeats the few it needs in `launcher/paths.h`, and roles know the install prefix only;
`tests/contract/test_paths.py` compares them all.
"""

PREFIX = "/usr/local/lib/fleetbox"
HOST_PROGRAM = "/usr/local/bin/fleetbox-host"
LAUNCHER = "/usr/local/bin/fleetbox-run"
BWRAP = PREFIX + "/bin/bwrap"

PYTHON = "/usr/bin/python3"

STATE = "/var/lib/fleetbox"
STORE = STATE + "/store"
GENERATIONS = STATE + "/generations"
CURRENT = STATE + "/current"
LOCK = STATE + "/lock"

# Inside a bundle, and so below CURRENT.
MANIFEST = "manifest.json"
LINUX_DIR = "linux"
LAUNCH_PLAN = "launch.plan"
POLICIES_DIR = "policies"

HOST_CONFIG = "/etc/fleetbox/host.json"
# One file per user id: the launcher runs as the workload's user, who cannot append to a root-owned file.
REFUSALS = "/var/log/fleetbox/refusals"
ANSIBLE_FACT = "/etc/ansible/facts.d/fleetbox.fact"
