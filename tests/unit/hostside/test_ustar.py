"""A bundle's tar has one encoding; whatever differs from it by one byte is refused."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetbox.hostside import ustar

MEMBERS = [("manifest.json", b"{}\n"), ("linux/launch.plan", b"x" * 513), ("linux/empty", b"")]


def by_tarfile(members: list[tuple[str, bytes]]) -> bytes:
    """The same members by the standard library, as the reference for the format."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def changed_header(field: slice, value: bytes) -> bytes:
    """A valid tar whose first header has `value` in `field`, and a checksum that is right again."""
    data = bytearray(ustar.write(MEMBERS))
    data[field] = value
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def test_what_is_written_is_read_back() -> None:
    assert ustar.read(ustar.write(MEMBERS)) == MEMBERS


def test_the_standard_library_writes_and_reads_the_same() -> None:
    long = [("linux/policies/" + "n" * 64 + "/" + "a" * 60, b"deep")]
    assert ustar.write(MEMBERS + long) == by_tarfile(MEMBERS + long)
    assert ustar.read(by_tarfile(long)) == long


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(slice(156, 157), b"1", id="hard link"),
        pytest.param(slice(156, 157), b"2", id="symbolic link"),
        pytest.param(slice(156, 157), b"3", id="character device"),
        pytest.param(slice(156, 157), b"5", id="directory"),
        pytest.param(slice(156, 157), b"x", id="pax header"),
        pytest.param(slice(156, 157), b"L", id="GNU long name"),
        pytest.param(slice(100, 108), b"0004755\0", id="setuid"),
        pytest.param(slice(108, 116), b"0001750\0", id="another owner"),
        pytest.param(slice(136, 148), b"14000000000\0", id="a time"),
        pytest.param(slice(124, 136), b"\x80" + bytes(10) + b"\x03", id="binary size"),
        pytest.param(slice(157, 168), b"/etc/passwd", id="link name"),
        pytest.param(slice(257, 265), b"ustar  \0", id="GNU magic"),
        pytest.param(slice(500, 503), b"abc", id="trailing bytes"),
    ],
)
def test_a_header_with_anything_odd_is_refused(field: slice, value: bytes) -> None:
    with pytest.raises(ustar.TarInvalid):
        ustar.read(changed_header(field, value))


@pytest.mark.parametrize("length", [0, 1, 511, 512, 600, 1024, 10239])
def test_a_truncated_archive_is_refused(length: int) -> None:
    with pytest.raises(ustar.TarInvalid):
        ustar.read(ustar.write(MEMBERS)[:length])


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(ustar.TarInvalid):
        ustar.read(ustar.write(MEMBERS) + b"\0" * 10240)


def test_a_wrong_checksum_is_refused() -> None:
    data = bytearray(ustar.write(MEMBERS))
    data[150] ^= 1
    with pytest.raises(ustar.TarInvalid):
        ustar.read(bytes(data))


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, len(ustar.write(MEMBERS)) - 1), byte=st.integers(0, 255))
def test_no_changed_byte_goes_unseen(position: int, byte: int) -> None:
    data = bytearray(ustar.write(MEMBERS))
    data[position] = byte
    try:
        assert ustar.write(ustar.read(bytes(data))) == bytes(data)
    except ustar.TarInvalid:
        return


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_noise_is_refused_or_canonical(data: bytes) -> None:
    with pytest.raises(ustar.TarInvalid):
        ustar.read(data)
