"""A lab's network: one bridge in a namespace of its own, without a way out.

Addresses of 10.66.0.0/16 never exist in the machine's own namespace, so a packet to a host that is gone
cannot leave by the machine's default route. Several labs use the same addresses side by side.
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from tests.support.hosts import namespaces

GATEWAY = "10.66.0.1"
"""Where the controller and apt's proxy are, seen from a host."""
PREFIX = 16
PROXY_PORT = 3142


def address(index: int) -> str:
    """Address of a lab's host number `index`, from 1."""
    return f"10.66.{1 + index // 250}.{1 + index % 250}"


def hardware_address(index: int) -> str:
    """Fixed for each address: the controller would send to the last owner's until its ARP entry expires."""
    return f"02:00:0a:42:{1 + index // 250:02x}:{1 + index % 250:02x}"


def link(index: int) -> str:
    return f"host{index}"


def create() -> int:
    """Make a lab's namespace with its bridge; return the descriptor that keeps it alive."""

    def work() -> int:
        namespaces.unshare(namespaces.NEWNET)
        _ip(
            "link set lo up",
            # An address of its own: else it takes a port's, and loses it to every host when that port goes.
            "link add br0 address 02:00:0a:42:00:01 type bridge forward_delay 0",
            f"addr add {GATEWAY}/{PREFIX} dev br0",
            "link set br0 up",
        )
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    # A namespace belongs to a thread: the keeper's other threads stay where the archive can be reached.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(work).result()


def plug(netns: str, index: int, pid: int) -> None:
    """Give the process's network namespace an eth0 whose other end hangs on the lab's bridge."""
    port = link(index)
    # The kernel takes the link of a host that ended away in its own time, a second or two under load.
    unplug(netns, index)
    _ip(
        f"link add {port} type veth peer name eth0 address {hardware_address(index)} netns {pid}",
        f"link set {port} master br0 up",
        netns=netns,
    )


def plug_tap(netns: str, index: int, user: int) -> str:
    """Give this user's kernel a port on the lab's bridge; return its name."""
    port = link(index)
    unplug(netns, index)
    _ip(f"tuntap add dev {port} mode tap user {user}", f"link set {port} master br0 up", netns=netns)
    return port


def unplug(netns: str, index: int) -> None:
    """Take a host's port away if it is still there."""
    subprocess.run(inside(netns, ["ip", "link", "delete", link(index)]), capture_output=True, check=False)


def configure_inside(own: str) -> None:
    """Set up eth0 from inside a host's own namespace."""
    _ip(
        "link set lo up",
        f"addr add {own}/{PREFIX} dev eth0",
        "link set eth0 up",
        f"route add default via {GATEWAY}",
    )


def set_link(netns: str, index: int, state: str) -> None:
    _ip(f"link set {link(index)} {state}", netns=netns)


def inside(netns: str, argv: list[str]) -> list[str]:
    # Not `ip netns exec`: that one remounts /sys and hides the control groups.
    return ["nsenter", f"--net={netns}", "--", *argv]


def _ip(*lines: str, netns: str | None = None) -> None:
    argv = ["ip", "-batch", "-"]
    done = subprocess.run(
        inside(netns, argv) if netns else argv,
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OSError(f"ip: {'; '.join(lines)}: {done.stderr.strip()}")
