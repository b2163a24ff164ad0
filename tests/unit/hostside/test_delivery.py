"""A delivery has one encoding, and reading gives back what was written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbox.hostside import delivery, release, ustar
from fleetbox.hostside.delivery import Delivery, Part
from fleetbox.hostside.errors import HostError

names = st.from_regex(r"([1-9][0-9]{0,3}\.)?[a-z][a-z%-]{0,20}\.json", fullmatch=True)
parts = st.builds(
    delivery.part,
    st.dictionaries(names, st.binary(max_size=600), max_size=4),
    st.lists(st.binary(max_size=600)),
)


@given(st.builds(Delivery, parts, parts, st.none() | st.binary(max_size=2000)))
def test_what_is_written_is_read(sent: Delivery) -> None:
    data = delivery.write(sent)
    assert delivery.read(data) == sent
    assert delivery.write(delivery.read(data)) == data


@given(st.builds(Delivery, parts, parts), st.data())
def test_a_changed_byte_is_refused_or_changes_only_a_metadata_file(sent: Delivery, data: Any) -> None:
    """What is signed is not judged here; the form is, and target files have their hash for a name."""
    whole = bytearray(delivery.write(sent))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        read = delivery.read(bytes(whole))
    except HostError as refused:
        assert refused.code in ("malformed", "too_large")  # noqa: PT017  # either is right
        return
    assert (read.policy.targets, read.assignment.targets) == (sent.policy.targets, sent.assignment.targets)


@given(st.binary(max_size=3000))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    try:
        delivery.read(data)
    except HostError as refused:
        assert refused.exit_code == 6  # noqa: PT017


@pytest.mark.parametrize(
    "sent",
    [
        Delivery(Part({"../x.json": b""}, {}), Part({}, {})),
        Delivery(Part({"a/b.json": b""}, {}), Part({}, {})),
        Delivery(Part({}, {"0" * 64: b"not its hash"}), Part({}, {})),
        Delivery(Part({}, {"min_release.json": b""}), Part({}, {})),
    ],
)
def test_what_a_host_would_refuse_is_not_written(sent: Delivery) -> None:
    with pytest.raises(HostError):
        delivery.write(sent)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("policy/metadata/timestamp.json", delivery.METADATA_LIMIT + 1),
        ("bundle.tar", delivery.manifest.BUNDLE_LIMIT + 1),
        ("policy/targets/" + "0" * 64, release.FILE_LIMIT + 1),
    ],
)
def test_each_kind_of_file_has_its_own_limit(name: str, size: int) -> None:
    with pytest.raises(HostError) as refused:
        delivery.read(ustar.write([(name, bytes(size))]))
    assert refused.value.code == "too_large"


def test_the_longest_host_name_fits() -> None:
    """A path in a repository may be longer than a name in a tar; that is why targets go by their hash."""
    assert len(release.assignment_target("h" * 253)) > 255
    data = delivery.write(Delivery(delivery.part({}, [b"x"]), delivery.part({}, [b"y"])))
    assert len(delivery.read(data).assignment.targets) == 1
