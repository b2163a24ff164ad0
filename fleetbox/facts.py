"""HostFacts: what a host says of itself, validated.

The host may be broken or hostile, so every text is short and printable, every list is bounded, and a field
that this version does not know is refused: facts decide whether a host is touched at all. The words and
their source are `hostside/detect`; `tests/contract/test_facts.py` compares the two.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fleetbox.errors import ApplyFailed
from fleetbox.hostside.detect import gates

SIZE_LIMIT = 256 * 1024


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that are not printable")
    return text


def _known(name: str) -> str:
    if name not in gates.GATES and name not in gates.COSTS:
        raise ValueError("is no gate")
    return name


Text = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_printable)]
Word = Annotated[str, StringConstraints(max_length=200), AfterValidator(_printable)]
Path = Annotated[str, StringConstraints(max_length=4096, pattern=r"^/"), AfterValidator(_printable)]
Number = Annotated[int, Field(ge=0, lt=2**63)]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


GateId = Annotated[str, AfterValidator(_known)]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Gate(_Fact):
    """A reason why the host cannot sandbox, what was seen of it there, and its remedy."""

    id: GateId
    symptom: Text
    problem: Text
    remedy: Text
    fixable_by_role: bool


class Kernel(_Fact):
    """`arch` as uname names it; `landlock` is the ABI's version, 0 where there is none."""

    release: Word
    version_text: Text
    arch: Word
    landlock: Number


class Distribution(_Fact):
    """The fields of os-release; empty where it has none."""

    id: Word
    id_like: Annotated[list[Word], Field(max_length=20)]
    version_id: Word
    codename: Word
    pretty: Word


class Python(_Fact):
    """The Python that the host program runs on."""

    version: Word


class Wsl(_Fact):
    """0: an ordinary Linux."""

    version: Literal[0, 1, 2]


class Userns(_Fact):
    """Whether a whole sandbox could be started, and what explains it if not."""

    usable: bool
    gate: Gate | None
    sysctls: Annotated[dict[Word, int], Field(max_length=20)]


class Bwrap(_Fact):
    """The bubblewrap that works, or the first that was found."""

    path: Path
    version: Word
    features: Annotated[list[Word], Field(max_length=200)]
    usable: bool


class Mig(_Fact):
    """One MIG compute instance, the two nodes that are the right to it, and its UUID where that is known."""

    gpu_instance: Number
    compute_instance: Number
    nodes: Annotated[list[Path], Field(max_length=2)]
    uuid: Annotated[Word, StringConstraints(pattern=r"^(MIG-[0-9A-Za-z/-]+)?$")]


class GpuDevice(_Fact):
    """One GPU: what it needs and whether it can be used, as `hostside/detect/gpu/model.py` says it."""

    vendor: Literal["nvidia", "wsl", "amd", "intel", "jetson"]
    model: Word
    uuid: Word
    pci: Word
    minor: Number | None
    driver: Word
    nodes: Annotated[list[Path], Field(max_length=128)]
    health: Literal[
        "ok",
        "no driver",
        "module not loaded",
        "node missing",
        "node unreadable",
        "node without driver",
        "library missing",
    ]
    means: Text
    remedy: Text
    mig: Annotated[list[Mig], Field(max_length=64)]


class GpuAdvisory(_Fact):
    """What is known against a driver; `fixed` is "" where no fixed version is."""

    driver: Word
    advisory: Text
    fixed: Word
    hint: Text


class Gpu(_Fact):
    """`kind` is whose GPU a sandbox gets first; `driver` and `nodes` are of that vendor, `devices` of all."""

    kind: Literal["none", "nvidia", "wsl", "amd", "intel", "jetson"]
    driver: Word | None
    devices: Annotated[list[GpuDevice], Field(max_length=64)]
    nodes: Annotated[list[Path], Field(max_length=256)]
    advisories: Annotated[list[GpuAdvisory], Field(max_length=64)]


class Launcher(_Fact):
    """The installed launcher."""

    path: Path
    version: Word


class Generation(_Fact):
    """The current generation; both null where the host's state is damaged."""

    generation: Number | None
    digest: Digest | None


class HostFacts(_Fact):
    """Everything that `fleetbox-host facts` prints.

    `costs` keep nobody from sandboxing; they make it slower.
    """

    schema_version: Literal[1]
    kernel: Kernel
    os: Distribution
    python: Python
    wsl: Wsl
    userns: Userns
    bwrap: Bwrap | None
    gpu: Gpu
    launcher: Launcher | None
    fleetbox: Generation | None
    gates: Annotated[list[Gate], Field(max_length=20)]
    costs: Annotated[list[Gate], Field(max_length=20)]
    host_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None


def read(answer: bytes) -> HostFacts:
    """The facts in what a host answered. Raises ApplyFailed, naming the first field that is not right."""
    if len(answer) > SIZE_LIMIT:
        raise ApplyFailed(f"the host's facts have {len(answer)} bytes; {SIZE_LIMIT} are taken")
    try:
        return HostFacts.model_validate_json(answer)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
        # Only our own names are repeated: the host chose the others.
        where = ".".join(str(part) for part in first["loc"] if part in _FIELDS or isinstance(part, int))
        raise ApplyFailed(
            f"the host's facts are not what fleetbox-host prints: {where or 'answer'}: {first['type']}",
            hint="ansible-playbook site.yml installs this version of the host program",
        ) from None


_FIELDS = {name for model in _Fact.__subclasses__() for name in model.model_fields}
