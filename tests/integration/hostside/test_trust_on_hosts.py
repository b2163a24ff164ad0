"""Hosts of three Debians, Python 3.9 among them, verify with nothing but what fleetbox installs there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import delivery, paths, payload, signed_time
from fleetbox.hostside.delivery import Delivery
from fleetbox.trust import Trust
from tests.support import bundles
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.signed import HOST, NOW, Fleet

pytestmark = pytest.mark.host

PYTHONS = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13"}
# As the installed program is started: no site-packages, no environment, no working directory.
PROGRAM = f"""
import sys
sys.path.insert(0, {paths.PREFIX!r})
import json, resource, time
start = time.perf_counter()
from fleetbox.hostside import delivery, errors, signed_time, sources, verify
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import locked
imported = time.perf_counter()
answer = {{}}
try:
    with locked(Places()) as state:
        sent = sources.sent(delivery.receive(sys.stdin.buffer))
        verified = verify.verify(Places(), state, sent, wall=signed_time.parse({signed_time.text(NOW)!r}))
        verify.accept(state, verified)
    answer["generation"] = verified.generation
except errors.HostError as refused:
    answer["refused"] = refused.code
    answer["exit"] = refused.exit_code
answer["import_ms"] = round((imported - start) * 1000)
answer["verify_ms"] = round((time.perf_counter() - imported) * 1000)
answer["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
answer["python"] = "%d.%d" % sys.version_info[:2]
files = [str(getattr(module, "__file__", "")) for module in list(sys.modules.values())]
answer["from"] = [name for name in files if "-packages/" in name]
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """As in production: two of three."""
    return Fleet({"root": 3, "targets": 2})


@pytest.fixture(scope="module", params=PYTHONS)
def host(request: pytest.FixtureRequest, lab: Lab, fleet: Fleet) -> Iterator[Host]:
    [host] = lab.up(HostSpec.of(f"trust-{request.param}", suite=request.param))
    into = f"umask 022; mkdir -p {paths.PREFIX} {paths.ANCHORS}; tar -x -C {paths.PREFIX}"
    host.exec(["sh", "-euc", into], data=payload.archive())
    anchor(host, {name: getattr(fleet, name).anchor() for name in ("policy", "assignment")})
    host.put(paths.HOST_CONFIG, json.dumps({"host_id": HOST}).encode())
    yield host
    lab.down(host)


def anchor(host: Host, roots: dict[str, bytes]) -> None:
    """What the roles install."""
    for name, data in roots.items():
        host.put(paths.anchor(name), data)


def verified(host: Host, sent: Delivery) -> dict[str, object]:
    done = host.exec([paths.PYTHON, "-I", "-S", "-c", PROGRAM], data=delivery.write(sent), check=False)
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_signatures_are_verified_with_nothing_installed(host: Host, fleet: Fleet) -> None:
    first = fleet.release(5)
    for generation in (3, 4):
        answer = verified(host, fleet.assign(first, generation))
        print(host.name, answer)
        assert answer["generation"] == generation
    assert answer["python"] == PYTHONS[host.name.removeprefix("trust-")]
    assert answer["from"] == []


def test_forged_signatures_are_refused_by_the_same_code(host: Host, fleet: Fleet) -> None:
    published = fleet.release(6)
    verified(host, fleet.assign(published, 10))
    thief = Fleet({"root": 3, "targets": 2})
    assert verified(host, thief.assign(thief.release(7), 11))["refused"] == "wrong_key"
    few = fleet.policy.copy()
    few.signers["targets"] = few.signers["targets"][:1]
    answer = verified(host, fleet.assign(published, 11)._replace(policy=few.publish().part()))
    assert (answer["refused"], answer["exit"]) == ("below_threshold", 6)
    fleet.policy.publish().publish()  # the timestamp above was a good one, and counts
    sent = fleet.assign(published, 11)
    assert verified(host, sent)["generation"] == 11
    assert verified(host, sent._replace(bundle=b"x"))["refused"] == "digest_mismatch"
    assert verified(host, fleet.assign(published, 9))["refused"] == "replayed"


def test_what_a_control_machine_signs_is_taken_for_its_own_fleet_alone(
    host: Host, fleet: Fleet, tmp_path: Path
) -> None:
    trust = Trust(tmp_path, now=lambda: NOW)
    trust.create()
    built = bundles.build("signed")
    release = trust.add_release(built.tar, digest=built.digest)
    trust.assign({HOST: (release, built.digest)})
    sent = trust.published().delivery_for(HOST, bundle=built.tar)
    assert verified(host, sent)["refused"] == "wrong_key"
    host.exec(["rm", "-r", paths.TRUST, paths.FLOOR])
    anchor(host, trust.published().anchor())
    assert verified(host, sent)["generation"] == 1
    host.exec(["rm", "-r", paths.TRUST, paths.FLOOR])
    anchor(host, {name: getattr(fleet, name).anchor() for name in ("policy", "assignment")})
