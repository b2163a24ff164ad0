"""Somebody who has the push account's key, and all of a control machine whose policy keys are elsewhere.

The control machine's own commands refuse to sign most of what is tried here, so this signs past them.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from fleetbox.bundle import Bundle
from fleetbox.hostside import delivery
from fleetbox.hostside.delivery import Delivery
from fleetbox.hostside.release import ASSIGNMENT_REPOSITORY, Assignment
from fleetbox.trust import Trust, assignments, durable
from fleetbox.trust.publish import Update, publish
from fleetbox.trust.roles import ROOT, TARGETS
from tests.integration.push.attacks import refusal
from tests.integration.push.guarded import PROGRAM, PUSH, Guarded

ACTIVATE = f"{PROGRAM} activate --delivery -"
ISSUED = "2026-01-01T00:00:00Z"


class Said(NamedTuple):
    """What the host answered: its exit code, and the code of its refusal."""

    exit_code: int
    refusal: str


class Thief:
    """With a copy of the state directory in which the keys of root, targets and teams are missing."""

    def __init__(self, host: Guarded, state_dir: Path, folder: Path) -> None:
        self.host = host
        self.state = folder / "stolen"
        shutil.copytree(state_dir, self.state)
        self.trust = Trust(self.state)
        with self.trust.opened() as authority:
            root, targets = authority.policy.root.signed, authority.policy.targets().signed
            teams = targets.delegations.keys if targets.delegations else {}
            offline = {*root.roles[ROOT].keyids, *root.roles[TARGETS].keyids, *teams}
            for keyid in offline:
                authority.ring.forget(keyid)
            assert not authority.ring.signers([root.keys[keyid] for keyid in root.roles[TARGETS].keyids])

    def assigned(self, release: str, bundle: Bundle, *, generation: int | None = None) -> Delivery:
        """What delivers it: the stolen online key assigns a release, or what is called one, to the host."""
        with self.trust.opened() as authority:
            online, view = authority.online, authority.assignment
            if generation is None:
                assignments.assign(online, view, {self.host.name: (release, bundle.digest)})
            else:
                said = Assignment(self.host.name, generation, release, bundle.digest, ISSUED)
                documents, files = assignments._signed(online, view, [said])
                durable.write(files)
                publish(online, Update(ASSIGNMENT_REPOSITORY, documents), view)
        return self.trust.published().delivery_for(self.host.name, bundle=bundle.tar)

    def sends(self, sent: Delivery | bytes) -> Said:
        """To the host, through the push account."""
        data = sent if isinstance(sent, bytes) else delivery.write(sent)
        return self.asks(ACTIVATE, data)

    def asks(self, command: str, data: bytes = b"") -> Said:
        done = self.host.ssh(PUSH, command, data=data)
        return Said(done.returncode, refusal(done) if done.returncode else "")
