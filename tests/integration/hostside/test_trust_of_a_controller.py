"""What the control machine signs, with its python-tuf, is what a host's client takes and refuses."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleetbox.hostside import delivery, paths
from fleetbox.hostside.delivery import Delivery
from fleetbox.trust import Trust
from tests.support import bundles
from tests.support.bundles import Built
from tests.support.signed import TrustingHost

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
HOSTS = [f"host-{number}.example.org" for number in range(20)]
HOST = HOSTS[7]


class Controller:
    """A control machine: what it was set up as, its releases, and what it sends."""

    def __init__(self, state: Path) -> None:
        self.now = NOW
        self.trust = Trust(state, now=lambda: self.now)
        self.trust.create()

    def assign(self, built: Built, *, host: str = HOST) -> Delivery:
        known = self.trust.find_release(built.digest)
        name = known.name if known else self.trust.add_release(built.tar, digest=built.digest)
        self.trust.assign(dict.fromkeys(HOSTS, (name, built.digest)))
        return delivery.gather(self.trust.published().metadata_for(host), built.tar)


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path / "state")


@pytest.fixture
def host(controller: Controller, tmp_path: Path) -> TrustingHost:
    root = tmp_path / "host"
    (root / "var/lib").mkdir(parents=True)
    (root / paths.ANCHORS.lstrip("/")).mkdir(parents=True)
    for repository, anchor in controller.trust.published().anchor().items():
        (root / paths.anchor(repository).lstrip("/")).write_bytes(anchor)
    (root / paths.HOST_CONFIG.lstrip("/")).write_text(f'{{"host_id": "{HOST}"}}')
    return TrustingHost(root)


def test_what_it_assigns_is_taken_release_after_release(controller: Controller, host: TrustingHost) -> None:
    generations = [host.take(controller.assign(bundles.build(name)), wall=NOW).generation for name in "abca"]
    assert generations == sorted(set(generations))
    assert host.floor().release == "policies/default/1.tar", "going back is the old release, higher"


def test_another_host_s_delivery_is_refused(controller: Controller, host: TrustingHost) -> None:
    """Signed by the same keys; the bin that names this host is another, or it names another file."""
    sent = controller.assign(bundles.build("a"), host=HOSTS[3])
    assert host.refusal(sent, wall=NOW).code in ("incomplete", "wrong_host")


def test_its_floor_is_the_host_s(controller: Controller, host: TrustingHost) -> None:
    old, new = bundles.build("old"), bundles.build("new")
    host.take(controller.assign(old), wall=NOW)
    before = controller.assign(old)
    controller.assign(new)
    controller.trust.set_min_release(2)
    host.take(controller.assign(new), wall=NOW)
    assert host.floor().min_release == 2
    assert host.refusal(before, wall=NOW).code == "rolled_back_metadata"


def test_what_is_not_refreshed_runs_out(controller: Controller, host: TrustingHost) -> None:
    built = bundles.build("a")
    sent = controller.assign(built)
    late = NOW + timedelta(days=60)
    assert host.refusal(sent, wall=late).code == "expired"
    controller.now = late
    controller.trust.refresh()
    assert host.take(controller.assign(built), wall=late).digest == built.digest


def test_another_fleet_s_controller_is_refused(host: TrustingHost, tmp_path: Path) -> None:
    stranger = Controller(tmp_path / "stranger")
    assert host.refusal(stranger.assign(bundles.build("a")), wall=NOW).code == "wrong_key"
