"""Writes launcher/fuzz/corpus: a few whole inputs of every parser, and truncated and corrupted ones.

The same bytes on every run. Run it from the repository: `python -m launcher.fuzz.make_corpus`.
"""

import hashlib
import random
import struct
from pathlib import Path

from fleetbox.hostside import gpu_map
from tests.support.plans import Op, Plan

CORPUS = Path(__file__).resolve().parent / "corpus"
CUTS = 6
FLIPS = 6

OPS: list[Op] = [
    ("gpu-vendor", "nvidia"),
    ("gpu-select", "GPU-5a1b2c3d-8e4f-4a6b-9c7d-1e2f3a4b5c6d"),
    ("gpu-profile", "graphics"),
    ("gpu-exclusive", "yes"),
    ("device", "/dev/kfd"),
    ("rule", "write", "${HOME}/.cache"),
    ("rule", "none", "${WORKSPACE}/private"),
    ("rule", "read", "/opt/data"),
    ("glob", "${WORKSPACE}", "**/.env*"),
    ("protect", ".git"),
    ("protect-part", ".git", "hooks"),
    ("mask", "/run"),
    ("keep", "/run/systemd/resolve"),
    ("minimal", "/usr"),
    ("env-set", "GREETING", "hello"),
]
MOUNTS = (
    b"bwrap-write fe:0:2221817 /srv/ws;missing fe:0:2237003 /srv/ws/.git;pin fe:0:7 /srv/ws/a;"
    b"none fe:0:8 /srv/ws/a/key;read - /srv/ws/a/b\\040c;tmp - /tmp;link - /var/run /run\\134x;"
)
UNIX = (
    b"Num       RefCount Protocol Flags    Type St Inode Path\n"
    b"0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/systemd/private\n"
    b"0000000000000000: 00000003 00000000 00000000 0001 03 12346\n"
    b"0000000000000000: 00000002 00000000 00010000 0005 01 12347 @abstract  name\n"
)
TABLE = (
    b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    b"23 22 0:21 / /proc rw,nosuid - proc proc rw\n30 22 0:30 /a\\040b /mnt/c\\134d ro - tmpfs tmpfs ro\n"
)
MAP = gpu_map.GpuMap(
    (gpu_map.Mig("MIG-11111111-2222-5333-8444-555555555510", "0000:65:00.0", 1, 0),),
    (gpu_map.Source("/etc/cdi/vendor.json", 23, "0123abcd"),),
    (
        gpu_map.Device(
            "vendor.example/gpu=0",
            (gpu_map.Node("/dev/nvidia0", "/dev/nvidia0", 195, 0),),
            (gpu_map.Mount("/usr/lib/vendor", "/usr/lib/vendor"),),
            (gpu_map.Variable("CUDA_X", "1"),),
            (44,),
        ),
        gpu_map.Refused("vendor.example/gpu=1", "it has a hook"),
    ),
    ("a hook is ignored",),
)


def index(version: int, hash_size: int) -> bytes:
    """A git index with a file and a submodule."""
    entries = b""
    for mode, path in ((0o100644, b"README"), (0o160000, b"vendor/lib")):
        fixed = struct.pack(">6I", 0, 0, 0, 0, 0, 0) + struct.pack(">4I", mode, 0, 0, 0)
        entry = fixed + bytes(hash_size) + struct.pack(">H", len(path))
        entry += (b"\0" if version == 4 else b"") + path + b"\0"
        if version < 4:
            entry += b"\0" * (-len(entry) % 8)
        entries += entry
    body = b"DIRC" + struct.pack(">II", version, 2) + entries + b"TREE" + struct.pack(">I", 3) + b"abc"
    return body + hashlib.sha1(body, usedforsecurity=False).digest().ljust(hash_size, b"\0")


SEEDS: dict[str, list[bytes]] = {
    "plan": [
        Plan(OPS).encode(),
        Plan(OPS).payload(),
        Plan().payload(),
        Plan((), {"root": "minimal"}).encode(),
    ],
    "record": [
        b"set 0123456789abcdef " + b"gpu-workstation".ljust(128) + b"\n",
        b"set 0123456789abcdef " + b"base".ljust(128) + b"\nmade .git\nmade sub/.codex\n",
        b"made ../../etc\nmade /etc\nmade a//b\n",
        b"made x\\012made\\040.git\\012y\nmade \\056\\056/etc\nmade \\134134\n",
    ],
    "mountlist": [MOUNTS, b"none - /;", b"read 1:2:3 /a;none 1:2:3 /a/b;write 1:2:3 /a/b/c;"],
    "pattern": [
        b"**/.env\na\nb\n.env\n",
        b"a/*/c?\na\nx\ncd\n",
        b"**\n.\n",
        b"*" * 40 + b"\n" + b"a" * 60,
        b"a/" * 70 + b"b\na\n",
    ],
    "git": [
        *(index(version, size) for version in (2, 3, 4) for size in (20, 32)),
        b"gitdir: ../.git/worktrees/one\n",
        b'[core]\n\thooksPath = "hooks dir"\n[user]\n\tname = x\n[core] hookspath=/x # y\n',
    ],
    "sockets": [UNIX, TABLE],
    "gpumap": [gpu_map.encode(MAP), gpu_map.encode(MAP).split(b"\0", 4)[4], gpu_map.encode(gpu_map.GpuMap())],
}


def damaged(seed: bytes, chance: random.Random) -> list[bytes]:
    """Cut at some places, and with some bytes changed."""
    found = [seed[: chance.randrange(len(seed))] for _ in range(CUTS)]
    for _ in range(FLIPS):
        changed = bytearray(seed)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.choice(
                b"\0\n /.\xff\x80;\\" + bytes([chance.randrange(256)])
            )
        found.append(bytes(changed))
    return found


def main() -> None:
    for name, seeds in SEEDS.items():
        chance = random.Random(name)  # noqa: S311 - the same bytes on every run
        directory = CORPUS / name
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.iterdir():
            old.unlink()
        for number, seed in enumerate(seeds):
            for part, data in enumerate([seed, *damaged(seed, chance)]):
                (directory / f"{number:02}-{part:02}").write_bytes(data)


if __name__ == "__main__":
    main()
