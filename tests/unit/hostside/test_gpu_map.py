"""The GPU map's bytes: what is written is read back, and nothing else is."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbox.hostside import gpu_words
from fleetbox.hostside.gpu_map import (
    Device,
    GpuMap,
    MapInvalid,
    Mig,
    Mount,
    Node,
    Refused,
    Source,
    Variable,
    decode,
    encode,
)

UUID = "MIG-c7384736-a75d-5afc-978f-d2f1294409fd"
WHOLE = GpuMap(
    mig=(Mig(UUID, "0000:65:00.0", 3, 0), Mig("MIG-GPU-1/7/0", "10000:65:00.0", 7, 1)),
    sources=(Source("/etc/cdi/a.json", 12, "0badcafe"), Source("/var/run/cdi/b c.yaml", 0, "-")),
    devices=(
        Device("vendor.com/net=x"),
        Device(
            "vendor.com/net=y:1",
            (Node("/dev/a/b", "/dev/c", 195, 0), Node("/dev/d", "/dev/d", None, None)),
            (Mount("/usr/lib/ü", "/usr/lib/ü"),),
            (Variable("NVIDIA_X", ""), Variable("CUDA_Y", "a=b c")),
            (44, 107),
        ),
        Refused("vendor.com/net=z", "/dev/mem: a node that no CDI spec opens"),
    ),
    notes=("/etc/cdi/a.json: is broken",),
)


def sealed(payload: bytes) -> bytes:
    """A header that is right for whatever payload."""
    return b"fleetbox-gpu-map\0001\0%d\0%08x\0%s" % (len(payload), zlib.crc32(payload), payload)


def test_the_bytes_are_those_of_the_format() -> None:
    small = GpuMap(WHOLE.mig[:1], WHOLE.sources, WHOLE.devices[1:], WHOLE.notes)
    assert encode(small) == sealed(
        b"mig\0" + UUID.encode() + b"\0000000:65:00.0\0003\0000\0"
        b"source\0/etc/cdi/a.json\00012\0000badcafe\0source\0/var/run/cdi/b c.yaml\0000\0-\0"
        b"device\0vendor.com/net=y:1\0node\0/dev/a/b\0/dev/c\000195\0000\0node\0/dev/d\0/dev/d\0-\0-\0"
        b"mount\0/usr/lib/\xc3\xbc\0/usr/lib/\xc3\xbc\0env\0NVIDIA_X\0\0env\0CUDA_Y\0a=b c\0"
        b"group\00044\0group\000107\0"
        b"refused\0vendor.com/net=z\0/dev/mem: a node that no CDI spec opens\0"
        b"note\0/etc/cdi/a.json: is broken\0end\0"
    )


def test_a_map_is_read_back_as_it_was_written() -> None:
    assert decode(encode(WHOLE)) == WHOLE
    assert decode(encode(GpuMap())) == GpuMap()


NAMES = st.from_regex(r"[a-z]{1,4}\.com/[a-z]{1,3}=[a-z0-9]([a-z0-9:._-]{0,4}[a-z0-9])?", fullmatch=True)
PATHS = st.lists(st.text(max_size=8), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
NODE_PATHS = PATHS.map(lambda path: f"/dev{path}").filter(gpu_words.is_node)
NUMBERS = st.none() | st.integers(0, 2**20 - 1)
TEXTS = st.text(max_size=40).filter(gpu_words.is_text)
DEVICES = st.builds(
    Device,
    NAMES,
    st.lists(st.builds(Node, NODE_PATHS, NODE_PATHS, NUMBERS, NUMBERS), max_size=3).map(tuple),
    st.lists(
        st.builds(Mount, PATHS.filter(gpu_words.is_path), PATHS.filter(gpu_words.is_path)), max_size=3
    ).map(tuple),
    st.lists(
        st.builds(Variable, st.just("CUDA_X"), st.text(max_size=9).filter(gpu_words.is_value)), max_size=2
    ).map(tuple),
    st.lists(st.integers(0, 2**31), max_size=2).map(tuple),
)
MAPS = st.builds(
    GpuMap,
    mig=st.just(()) | st.just(WHOLE.mig),
    sources=st.just(WHOLE.sources),
    devices=st.lists(DEVICES | st.builds(Refused, NAMES, TEXTS), max_size=4).map(tuple),
    notes=st.lists(TEXTS, max_size=2).map(tuple),
)


@given(MAPS)
def test_every_map_is_read_back_as_it_was_written(content: GpuMap) -> None:
    assert decode(encode(content)) == content


PIECES = encode(WHOLE).split(b"\0", 4)[4].split(b"\0")


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=5), max_size=40))
def test_any_sealed_words_are_refused_or_mean_what_encode_writes(words: list[bytes]) -> None:
    data = sealed(b"\0".join([*words, b"end", b""]))
    try:
        content = decode(data)
    except MapInvalid:
        return
    assert encode(content) == data


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"note\0x\0", id="no end"),
        pytest.param(b"mount\0/a\0/a\0end\0", id="part of no device"),
        pytest.param(b"refused\0a/b=c\0why\0group\0004\0end\0", id="part of a refused device"),
        pytest.param(b"device\0a/b=c\0mount\0/a\0/a\0node\0/dev/a\0/dev/a\0-\0-\0end\0", id="parts mixed"),
        pytest.param(b"note\0x\0device\0a/b=c\0end\0", id="device after a note"),
        pytest.param(b"launch-missiles\0end\0", id="unknown record"),
        pytest.param(b"device\0a/b=c\0mount\0/a\0end\0", id="word missing"),
        pytest.param(b"group\0end\0", id="last word missing"),
        pytest.param(b"note\0\xff\0end\0", id="not UTF-8"),
    ],
)
def test_what_is_not_exactly_a_map_is_refused(payload: bytes) -> None:
    with pytest.raises(MapInvalid):
        decode(sealed(payload))


BAD = [
    GpuMap(mig=(WHOLE.mig[0]._replace(uuid="GPU-1"),)),
    GpuMap(mig=(WHOLE.mig[0]._replace(pci="00000000:65:00.0"),)),
    GpuMap(mig=(WHOLE.mig[0]._replace(pci="0000:AF:00.0"),)),
    GpuMap(mig=(WHOLE.mig[0]._replace(gi=-1),)),
    GpuMap(sources=(Source("/etc/cdi/../shadow.json", 1, "-"),)),
    GpuMap(sources=(Source("/etc/shadow", 1, "-"),)),
    GpuMap(sources=(Source("/etc/cdi/a.json", 1, "0BADCAFE"),)),
    GpuMap(devices=(Device("a/b"),)),
    GpuMap(devices=(Device("a/b=c\0node\0/dev/mem\0/dev/mem\0-\0-"),)),
    GpuMap(devices=(Device("a/b=c", nodes=(Node("/etc/passwd", "/dev/x", None, None),)),)),
    GpuMap(devices=(Device("a/b=c", nodes=(Node("/dev/x", "/dev/../etc", None, None),)),)),
    GpuMap(devices=(Device("a/b=c", mounts=(Mount("/a/", "/a"),)),)),
    GpuMap(devices=(Device("a/b=c", mounts=(Mount("/a\nb", "/a"),)),)),
    GpuMap(devices=(Device("a/b=c", mounts=(Mount("/" + "a" * 256, "/a"),)),)),
    GpuMap(devices=(Device("a/b=c", mounts=(Mount("/a\udc80", "/a"),)),)),
    GpuMap(devices=(Device("a/b=c", variables=(Variable("A B", ""),)),)),
    GpuMap(devices=(Device("a/b=c", variables=(Variable("A", "x\ny"),)),)),
    GpuMap(devices=(Refused("a/b=c", ""),)),
    GpuMap(notes=("\x1b[2J",)),
]


@pytest.mark.parametrize("content", BAD, ids=str)
def test_a_value_that_the_launcher_would_refuse_is_not_written(content: GpuMap) -> None:
    with pytest.raises(MapInvalid):
        encode(content)


def test_what_does_not_fit_is_not_written() -> None:
    mount = Mount("/" + "/".join(["a" * 200] * 15), "/b")
    with pytest.raises(MapInvalid, match="holds at most"):
        encode(GpuMap(devices=(Device("a/b=c", mounts=(mount,) * 1500),)))
    with pytest.raises(MapInvalid, match="4097 CDI devices"):
        encode(GpuMap(devices=tuple(Device(f"a/b={number}") for number in range(4097))))
