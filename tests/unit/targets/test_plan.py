"""The launch plan's bytes: what is written is read back, and nothing else is."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetbox.targets.bubblewrap import operations as op
from fleetbox.targets.bubblewrap.operation import Operation, PlanInvalid
from fleetbox.targets.bubblewrap.plan import BYTES_LIMIT, RECORDS_LIMIT, decode, describe, encode

HEAD: tuple[Operation, ...] = (
    op.Policy("base", f"sha256:{'0' * 64}"),
    op.Mode("workspace-write"),
    op.Root("host"),
    op.Workspace("write"),
    op.Tmp("private"),
    op.Network("none"),
    op.Nested("no"),
    op.HostPids("no"),
    op.UnixSockets("auto"),
    op.Gpu("auto"),
    op.Landlock("best-effort"),
)
ONE_OF_EACH = (
    *HEAD,
    op.GpuVendor("nvidia"),
    op.GpuSelect("GPU-5fa5ad1c-e1f4-4a7c-a3e8-4f3a0d8f1c55"),
    op.GpuProfile("graphics"),
    op.GpuExclusive("yes"),
    op.Device("/dev/kvm"),
    op.Rule("none", "${HOME}/.ssh"),
    op.Glob("${WORKSPACE}", "**/*.env"),
    op.Protect(".codex"),
    op.ProtectPart(".git", "hooks"),
    op.Mask("/run"),
    op.MaskWsl("/mnt"),
    op.Keep("/etc/resolv.conf"),
    op.Minimal("/usr"),
    op.EnvPass("LC_*"),
    op.EnvSet("EMPTY", ""),
    op.Seccomp("x86_64", "unix", "seccomp-x86_64-unix.bpf"),
    op.Program("git"),
    op.Limit("memory", "1024"),
)


def sealed(payload: bytes) -> bytes:
    """A header that is right for whatever payload."""
    return b"fleetbox-launch-plan\0001\0%d\0%08x\0%s" % (len(payload), zlib.crc32(payload), payload)


def payload(operations: tuple[Operation, ...]) -> bytes:
    return encode(operations).split(b"\0", 4)[4]


def test_every_operation_is_read_back_as_it_was_written() -> None:
    assert {type(operation) for operation in ONE_OF_EACH} == {*op.HEAD, *op.REPEATED}
    assert decode(encode(ONE_OF_EACH)) == ONE_OF_EACH


def test_the_bytes_are_those_of_the_format() -> None:
    assert encode(HEAD) == sealed(
        b"policy\0base\0sha256:" + b"0" * 64 + b"\0mode\0workspace-write\0root\0host\0workspace\0write\0"
        b"tmp\0private\0network\0none\0nested\0no\0host-pids\0no\0unix-sockets\0auto\0gpu\0auto\0landlock\0best-effort\0end\0"
    )


def test_every_operation_has_words() -> None:
    lines = describe(ONE_OF_EACH).splitlines()
    assert len(lines) == len(ONE_OF_EACH)
    assert all(lines)


@pytest.mark.parametrize("length", range(0, len(encode(ONE_OF_EACH)), 7))
def test_a_truncated_plan_is_refused(length: int) -> None:
    with pytest.raises(PlanInvalid):
        decode(encode(ONE_OF_EACH)[:length])


@given(st.integers(0, len(encode(ONE_OF_EACH)) - 1), st.integers(1, 255))
def test_one_changed_byte_is_refused(at: int, change: int) -> None:
    data = bytearray(encode(ONE_OF_EACH))
    data[at] ^= change
    with pytest.raises(PlanInvalid):
        decode(bytes(data))


@settings(max_examples=300)
@given(st.lists(st.sampled_from(payload(ONE_OF_EACH).split(b"\0")) | st.binary(max_size=5), max_size=60))
def test_any_sealed_words_are_refused_or_mean_what_encode_writes(words: list[bytes]) -> None:
    data = sealed(payload(HEAD).removesuffix(b"end\0") + b"\0".join(words) + b"\0end\0")
    try:
        operations = decode(data)
    except PlanInvalid:
        return
    assert encode(operations) == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(HEAD) + b"x", id="trailing byte"),
        pytest.param(encode(HEAD).replace(b"\0001\0", b"\0002\0", 1), id="another format"),
        pytest.param(sealed(payload(HEAD)[:-4]), id="no end"),
        pytest.param(sealed(payload(HEAD) + b"end\0"), id="end twice"),
        pytest.param(sealed(payload(HEAD) + b"mask\0/run\0end\0"), id="records after end"),
        pytest.param(sealed(payload(HEAD)[:-4] + b"mask\0end\0"), id="argument missing"),
        pytest.param(sealed(payload(HEAD)[:-4] + b"launch-missiles\0end\0"), id="unknown operation"),
        pytest.param(sealed(payload(HEAD)[:-4] + b"gpu\0none\0end\0"), id="single operation twice"),
        pytest.param(sealed(payload(HEAD)[:-4] + b"mask\0\xff\0end\0"), id="not UTF-8"),
        pytest.param(sealed(b"mask\0/run\0end\0"), id="no head"),
    ],
)
def test_what_is_not_exactly_a_plan_is_refused(data: bytes) -> None:
    with pytest.raises(PlanInvalid):
        decode(data)


@pytest.mark.parametrize(
    "path",
    ["", "relative", "//", "/a/", "/a//b", "/a/../b", "/.", "${HOME}x", "${HOME}/", "${ROOT}/x", "~/x",
     "/" + "a" * 4095],
)  # fmt: skip
def test_a_path_that_is_not_normal_cannot_stand_in_a_plan(path: str) -> None:
    with pytest.raises(PlanInvalid):
        op.Mask(path)


@pytest.mark.parametrize("path", ["/", "/a", "/a b/ü", "${HOME}", "${WORKSPACE}/a", "${TMPDIR}/b", "/a..b"])
def test_normal_paths_and_placeholders_can(path: str) -> None:
    assert op.Mask(path).arguments() == (path,)


def test_a_nul_byte_cannot_smuggle_a_record_in() -> None:
    with pytest.raises(PlanInvalid):
        op.EnvSet("NAME", "value\0network\0host")
    with pytest.raises(PlanInvalid):
        op.Rule("read", "/a\0rule\0write\0/")


def test_limits_are_the_launchers() -> None:
    masks = [op.Mask(f"/{n}") for n in range(RECORDS_LIMIT)]
    fits = masks[: RECORDS_LIMIT - len(HEAD) - 1]
    assert len(decode(encode((*HEAD, *fits)))) == RECORDS_LIMIT - 1
    with pytest.raises(PlanInvalid, match="records"):
        encode((*HEAD, *fits, op.Mask("/one-more")))
    long = [op.Mask(f"/{n}/" + "x" * 4000) for n in range(BYTES_LIMIT // 4000 + 1)]
    with pytest.raises(PlanInvalid, match="bytes"):
        encode((*HEAD, *long))
