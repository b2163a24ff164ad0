"""More rights than the user has: set-user-id programs, file capabilities, capabilities left over."""

from __future__ import annotations

import os
import shutil
import struct

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import has_bounding_set, has_capabilities, token_came_out
from tests.escape.arena.world import World

NNP = "no_new_privs"
NO_SANDBOX = frozenset({"sandbox"})


def _roots_secret(world: World) -> None:
    world.secret("/srv/roots-secret", root=True)


def _set_user_id(world: World) -> None:
    _roots_secret(world)
    program = world.at("/srv/set-user-id-cat")
    shutil.copy(str(shutil.which("cat")), program)
    program.chmod(0o4755)
    world.stack.callback(os.unlink, program)
    world.params["program"] = str(program)


def _file_capability(world: World) -> None:
    """cap_dac_override+ep, as setcap writes it."""
    _roots_secret(world)
    program = world.at("/srv/capable-cat")
    shutil.copy(str(shutil.which("cat")), program)
    program.chmod(0o755)
    os.setxattr(program, "security.capability", struct.pack("<5I", 0x02000001, 1 << 1, 0, 0, 0))
    world.stack.callback(os.unlink, program)
    world.params["program"] = str(program)


RUN = "subprocess.run([program, secret], check=False)"
RAISE = """
class Head(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
class Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]
for bit in range(41):
    data = (Data * 2)()
    data[bit // 32].effective = data[bit // 32].permitted = data[bit // 32].inheritable = 1 << bit % 32
    _libc.capset(ctypes.byref(Head(0x20080522, 0)), ctypes.byref(data))
    _libc.prctl(47, 2, bit, 0, 0)
for identity in (os.setuid, os.setgid):
    attempt(identity, 0)
meet()
"""

ATTEMPTS = (
    Attempt(
        "run-a-set-user-id-program",
        "a set-user-id root copy of cat reads what only root may",
        NNP,
        NO_SANDBOX,
        RUN,
        _set_user_id,
        token_came_out,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "run-a-program-with-file-capabilities",
        "the same with cap_dac_override on the file",
        NNP,
        NO_SANDBOX,
        RUN,
        _file_capability,
        token_came_out,
    ),
    Attempt(
        "become-root-with-sudo",
        "sudo -n, which this user may use without a password",
        NNP,
        NO_SANDBOX,
        'subprocess.run(["sudo", "-n", "cat", secret], check=False, env={"PATH": "/usr/bin:/bin"})',
        _roots_secret,
        token_came_out,
    ),
    Attempt(
        "raise-capabilities",
        "capset, ambient set, setuid(0): whatever is left over",
        "no capabilities",
        frozenset({"caps"}),
        RAISE,
        during=has_capabilities,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "find-a-bounding-set",
        "capabilities that an exec could still give",
        "no capabilities",
        frozenset({"caps"}),
        "meet()",
        during=has_bounding_set,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "nested-raise-capabilities",
        "the same where nested sandboxes are allowed, before making one",
        "no capabilities",
        frozenset({"caps"}),
        RAISE,
        during=has_capabilities,
        policy="nested",
    ),
)
