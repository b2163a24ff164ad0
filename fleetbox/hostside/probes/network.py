"""Probes of what a workload may reach (FBX-NET).

A connection that is *refused* has found a route, so it counts as reached; only for our own listeners, which
would have answered with their token, does a refusal mean that somebody else's loopback was asked.
"""

from __future__ import annotations

from fleetbox.hostside.probes.outcome import Attempt
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Asked, Denied, Prepared


def _is_loopback(address: str) -> bool:
    """A control machine that is this host; inside, the address means the sandbox itself."""
    return address == "::1" or address.startswith("127.")


def egress(scene: Scene, asked: Asked) -> Prepared:
    """FBX-NET-001: this host's own address and its loopback; and the peer that the control machine names.

    A firewall may keep the peer from being reached at all, so that one is not needed for an answer.
    """
    own = {"address": scene.host_address, "port": scene.host_port, "token": scene.token}
    loopback = {"address": "127.0.0.1", "port": scene.loopback_port, "token": scene.token}
    targets = [Attempt("reach_tcp", own), Attempt("reach_tcp", loopback)]
    if asked.egress_peer and not _is_loopback(asked.egress_peer[0]):
        address, port = asked.egress_peer
        targets.append(Attempt("reach_tcp", {"address": address, "port": port}))
        targets.append(Attempt("send_udp", {"address": address, "port": port}))
    return Denied("no host can be reached directly", targets, [Attempt("own_loopback", {})], needed=2)


def host_sockets(scene: Scene, asked: Asked) -> Prepared:
    """FBX-NET-004: sockets that the user may reach outside, by connect and by sendmsg.

    `params.abstract` false: the policy shares the network, and with it the abstract names.
    What listens on the host besides is asked for, too; not all of it lets this user in outside.
    """
    reached = [
        Attempt("reach_unix", {"path": scene.sockets + "/stream", "token": scene.token}),
        Attempt("send_unix", {"path": scene.sockets + "/datagram"}),
    ]
    if asked.params.get("abstract", True):
        reached.append(Attempt("reach_unix", {"path": scene.abstract, "token": scene.token}))
    others = [Attempt("reach_any_unix", {"paths": asked.host_sockets})] if asked.host_sockets else []
    return Denied(
        "sockets of the host cannot be reached",
        [*reached, *others],
        [Attempt("own_socketpair", {})],
        needed=len(reached),
    )
