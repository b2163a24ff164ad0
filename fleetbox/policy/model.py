"""The policy schema: one frozen model per section, for what an author writes and for what it resolves to.

The same classes serve both, because a resolved policy is a policy: written out and read again it is itself.
A section's models say what one value means; what several values mean together is in `conflicts`.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    WithJsonSchema,
    model_validator,
)

from fleetbox.policy import amounts, destinations, devices, paths

MAX_RULES = 1_000
MAX_TEXT = 4_096


class Mode(StrEnum):
    READ_ONLY = "read-only"
    WORKSPACE_WRITE = "workspace-write"
    FULL_ACCESS = "full-access"


class Access(StrEnum):
    WRITE = "write"
    READ = "read"
    NONE = "none"


class Root(StrEnum):
    HOST = "host"
    MINIMAL = "minimal"


class Tmp(StrEnum):
    PRIVATE = "private"
    HOST = "host"


class NetworkMode(StrEnum):
    NONE = "none"
    PROXY = "proxy"
    HOST = "host"


class UnixSockets(StrEnum):
    AUTO = "auto"
    NONE = "none"
    PRIVATE = "private"


class GpuMode(StrEnum):
    NONE = "none"
    AUTO = "auto"
    REQUIRED = "required"


class GpuVendor(StrEnum):
    NVIDIA = "nvidia"
    AMD = "amd"
    INTEL = "intel"
    WSL = "wsl"
    APPLE = "apple"


class GpuProfile(StrEnum):
    COMPUTE = "compute"
    GRAPHICS = "graphics"


class Landlock(StrEnum):
    OFF = "off"
    BEST_EFFORT = "best-effort"
    REQUIRED = "required"


class Mutability(StrEnum):
    """When a change takes effect: at the next launch, or in sandboxes that run."""

    STATIC = "static"
    LIVE = "live"


# Widest last. Comparing two values of a field means comparing their places here.
STRENGTH: Mapping[Access, int] = MappingProxyType({Access.NONE: 0, Access.READ: 1, Access.WRITE: 2})

PROTECTED = (".agents", ".aws", ".claude", ".codex", ".git")
# What stays read-only when the name itself is unprotected: a hook or a setting that git runs is code, and
# worktrees and submodules keep hooks and settings of their own in there.
PROTECTED_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {".git": ("config", "config.worktree", "hooks", "modules", "worktrees")}
)

ENVIRONMENT = (
    "CUDA_*", "HOME", "LANG", "LC_*", "PATH", "SHELL", "TERM", "TZ", "USER", "VIRTUAL_ENV",
)  # fmt: skip

_POLICY_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GPU = re.compile(
    r"[0-9]{1,3}|(?:GPU|MIG)-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]"
)


def _policy_name(text: str) -> str:
    if not _POLICY_NAME.fullmatch(text):
        raise paths.fail("not a policy name", "use at most 63 lower-case letters, digits and inner dashes")
    return text


def _one_line(text: str) -> str:
    if not text.isprintable() or len(text) > MAX_TEXT:
        raise paths.fail("not one line of text", f"use at most {MAX_TEXT} printable characters")
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise paths.fail("not a variable's name", "use letters, digits and _: MY_SETTING")
    return text


def _variable_pattern(text: str) -> str:
    if text == "*":
        raise paths.fail("the whole environment", "name the variables: tokens travel in the others")
    if not _VARIABLE.fullmatch(text.removesuffix("*")):
        raise paths.fail("not a variable's name", "use a name, or a beginning and one *: LC_*")
    return text


def _variable_value(text: str) -> str:
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text) or len(text) > MAX_TEXT:
        raise paths.fail(
            "not a variable's value", f"use at most {MAX_TEXT} characters, no NUL and no surrogates"
        )
    return text


def _binary(text: str) -> str:
    paths.check_characters(text)
    if paths.is_glob(text):
        raise paths.fail("a pattern", "name each program")
    if "/" not in text and text not in (".", ".."):
        return text
    path = paths.parse(text)
    if path == "/" or path in paths.PLACEHOLDERS:
        raise paths.fail("not a program", "write a name such as git, or an absolute path")
    return path


def _extended(text: str) -> str:
    if "/" not in text and _POLICY_NAME.fullmatch(text):
        return text
    # The suffix keeps an error message from quoting a line of whatever file a policy points at.
    if not text.isprintable() or not text.endswith((".yml", ".yaml")):
        raise paths.fail("neither a preset nor a policy file", "name a preset, or a file that ends in .yml")
    return text


def _request_path(text: str) -> str:
    if not text.startswith("/") or not text.isprintable() or ".." in text.split("/"):
        raise paths.fail("not a request path", "begin with /; * matches within a segment, ** any number")
    return text


def _gpu_selection(value: object) -> object:
    """`all`, or what is selected as a tuple of texts; one selector may stand without a list."""
    if value == "all" or isinstance(value, bool) or value is None:
        return value
    chosen = value if isinstance(value, list | tuple) else [value]
    texts = [str(item) for item in chosen if isinstance(item, int | str) and not isinstance(item, bool)]
    if not texts or len(texts) < len(chosen) or not all(_GPU.fullmatch(text) for text in texts):
        raise paths.fail(
            "not a GPU selection",
            "use all, an index, GPU-<uuid>, MIG-<uuid>, a PCI address or a list",
        )
    return tuple(sorted(set(texts)))


PolicyName = Annotated[
    str, AfterValidator(_policy_name), Field(json_schema_extra={"pattern": f"^{_POLICY_NAME.pattern}$"})
]
Path = Annotated[str, AfterValidator(paths.parse)]
ProtectedName = Annotated[str, AfterValidator(paths.relative_name)]
HostName = Annotated[str, AfterValidator(destinations.parse_host)]
Port = Annotated[StrictInt, Field(ge=1, le=65_535)]
Sorted = AfterValidator(lambda values: values and tuple(sorted(set(values))))
Method = Literal["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
RequestPath = Annotated[str, AfterValidator(_request_path)]
Device = Annotated[str, AfterValidator(devices.parse_device)]
Binary = Annotated[str, AfterValidator(_binary)]
Memory = Annotated[str, AfterValidator(amounts.parse_memory)]
Duration = Annotated[str, AfterValidator(amounts.parse_duration)]
Variable = Annotated[str, AfterValidator(_variable)]
VariablePattern = Annotated[str, AfterValidator(_variable_pattern)]
VariableValue = Annotated[str, AfterValidator(_variable_value)]
GpuSelection = Annotated[
    Literal["all"] | tuple[str, ...],
    BeforeValidator(_gpu_selection),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "integer"]},
                {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
            ]
        }
    ),
]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


class Metadata(Section):
    name: PolicyName = Field(description="How the policy is called on hosts and in reports.")
    description: Annotated[str, AfterValidator(_one_line)] = Field("", description="One line for people.")


class Rule(Section):
    path: Path = Field(
        description="Absolute, or below `~`, `$WORKSPACE`, `$TMPDIR`; with none also a pattern."
    )
    access: Access = Field(description="What the workload may do with the path and everything below it.")
    allow_home: StrictBool = Field(False, description="Says that a writable home directory is meant.")

    @property
    def is_glob(self) -> bool:
        return paths.is_glob(self.path)

    @model_validator(mode="after")
    def _check(self) -> Self:
        path, write = self.path, self.access is Access.WRITE
        if self.is_glob:
            paths.check_glob(path)
            if self.access is not Access.NONE:
                raise paths.fail("a pattern that gives access", "only none takes patterns", at="access")
        if path == "/":
            hint = "filesystem.root decides what of the host is visible; name the directories that differ"
            raise paths.fail("a rule over the whole file system", hint, at="path")
        if paths.is_below(path, "/dev"):
            raise paths.fail("a rule over device nodes", "list the node under devices.allow", at="path")
        if paths.is_below(path, "/proc"):
            raise paths.fail("a rule over /proc", "remove it: a sandbox always has its own", at="path")
        if write and paths.is_system(path):
            raise paths.fail("a system directory writable", "name the directory that is needed", at="path")
        if write and paths.is_home(path) and not self.allow_home:
            hint = "name the directories in it, or say allow_home: true beside the rule"
            raise paths.fail("a home directory writable", hint, at="path")
        return self


class Filesystem(Section):
    root: Root = Field(
        Root.HOST,
        description="host: the whole file system, read-only; minimal: only what programs need to start.",
    )
    workspace: Literal[Access.WRITE, Access.READ] = Field(
        Access.WRITE, description="The directory given to `fleetbox-run`, by default the current one."
    )
    tmp: Tmp = Field(Tmp.PRIVATE, description="An empty /tmp and /var/tmp for each sandbox, or the host's.")
    rules: tuple[Rule, ...] = Field(
        (), max_length=MAX_RULES, description="Exceptions; the longest matching path decides."
    )
    protect: tuple[ProtectedName, ...] = Field(
        PROTECTED,
        max_length=MAX_RULES,
        description="Read-only again below every writable root; what is written adds to the default.",
    )
    unprotect: tuple[ProtectedName, ...] = Field(
        (),
        max_length=MAX_RULES,
        description="Names to take out of `protect`; of .git, what git runs or obeys stays in it "
        "(config, hooks, worktrees, modules).",
    )


class Outbound(Section):
    host: HostName = Field(description="A name, `*.name` for the names below it, or an address.")
    ports: Annotated[tuple[Port, ...], Sorted] = Field(
        min_length=1, max_length=MAX_RULES, description="Ports from 1 to 65535."
    )
    methods: Annotated[tuple[Method, ...] | None, Sorted] = Field(
        None, min_length=1, description="HTTP methods; absent: every method."
    )
    paths: Annotated[tuple[RequestPath, ...] | None, Sorted] = Field(
        None, min_length=1, max_length=MAX_RULES, description="HTTP request paths; absent: every path."
    )


class Network(Section):
    mode: NetworkMode = Field(
        NetworkMode.NONE,
        # The section is live, but the namespace that this decides about is made once, at launch.
        json_schema_extra={"x-mutability": Mutability.STATIC.value},
        description="none: loopback only; proxy: `outbound`, through the egress proxy; host: everything.",
    )
    outbound: tuple[Outbound, ...] = Field(
        (), max_length=MAX_RULES, description="Where the egress proxy lets the workload connect to."
    )


class Limits(Section):
    memory: Memory | None = Field(None, description="Memory of all processes together: 16GiB.")
    pids: Annotated[StrictInt, Field(ge=1, le=4_194_304)] | None = Field(
        None, description="Processes and threads at a time."
    )
    wall: Duration | None = Field(None, description="How long the workload may run: 4h.")


class Process(Section):
    allowed_binaries: tuple[Binary, ...] | None = Field(
        None,
        min_length=1,
        max_length=MAX_RULES,
        description="The only programs that may be executed; absent: everything that is visible.",
    )
    nested_sandboxes: StrictBool = Field(
        False, description="Lets the workload create user namespaces: its own bwrap, Chromium."
    )
    unix_sockets: UnixSockets = Field(
        UnixSockets.AUTO,
        description="none: socketpairs only; private: host sockets out of reach; auto: private with a GPU.",
    )
    allow_host_pids: StrictBool = Field(
        False, description="Accepts a sandbox that sees host processes where a fresh /proc cannot be mounted."
    )
    limits: Limits = Limits()


class Gpu(Section):
    mode: GpuMode = Field(
        GpuMode.AUTO,
        description="auto: what is there at launch (read-only mode: only when written); required: or refuse.",
    )
    vendors: tuple[GpuVendor, ...] = Field(
        tuple(sorted(GpuVendor)), min_length=1, description="Whose GPUs may be used."
    )
    select: GpuSelection = Field("all", description="Which GPUs: index, GPU- or MIG-UUID, PCI address, list.")
    profile: GpuProfile = Field(
        GpuProfile.COMPUTE, description="graphics adds the nodes that rendering and display need."
    )


class Devices(Section):
    gpu: Gpu = Gpu()
    allow: tuple[Device, ...] = Field(
        (), max_length=MAX_RULES, description="Further device nodes, each one named."
    )


class Environment(Section):
    pass_: tuple[VariablePattern, ...] = Field(
        ENVIRONMENT,
        alias="pass",
        max_length=MAX_RULES,
        description="Variables that reach the workload: a name, or a beginning and `*`.",
    )
    set: dict[Variable, VariableValue] = Field(
        {}, max_length=MAX_RULES, description="Variables with a fixed value; these win over `pass`."
    )


def _section(mutability: Mutability, description: str) -> dict[str, Any]:
    return {"description": description, "json_schema_extra": {"x-mutability": mutability.value}}


_STATIC = Mutability.STATIC


class Body(Section):
    """The sections, which an author may leave out, each with its mutability."""

    mode: Mode = Field(
        Mode.WORKSPACE_WRITE, **_section(_STATIC, "How much the sandbox as a whole lets a workload change.")
    )
    filesystem: Filesystem = Field(
        Filesystem(), **_section(_STATIC, "What of the host can be seen and written.")
    )
    network: Network = Field(Network(), **_section(Mutability.LIVE, "Where the workload can connect to."))
    process: Process = Field(Process(), **_section(_STATIC, "What the workload may execute and use up."))
    devices: Devices = Field(Devices(), **_section(_STATIC, "GPUs and other device nodes."))
    environment: Environment = Field(
        Environment(), **_section(_STATIC, "The variables a workload starts with.")
    )
    landlock: Landlock = Field(
        Landlock.BEST_EFFORT,
        **_section(_STATIC, "Landlock, the second layer inside bubblewrap."),
    )


class Policy(Body):
    """A document as an author writes it. `model_fields_set` of each section says what was written."""

    api_version: Literal["fleetbox/v1"] = Field(alias="apiVersion", description="The schema's version.")
    kind: Literal["SandboxPolicy"] = Field(description="Always SandboxPolicy.")
    metadata: Metadata
    extends: tuple[Annotated[str, AfterValidator(_extended)], ...] = Field(
        (),
        max_length=32,
        description="Presets, or files relative to this one; merged left to right, then this document.",
    )
    gpu_passthrough: StrictBool | None = Field(
        None, description="true is short for `devices.gpu.mode: auto`, false for none."
    )

    @model_validator(mode="after")
    def _check_short_form(self) -> Self:
        written = "mode" in self.devices.gpu.model_fields_set
        if self.gpu_passthrough is not None and written:
            raise paths.fail("said twice", "keep devices.gpu.mode or gpu_passthrough", at="gpu_passthrough")
        return self


def mutability(field: str) -> Mutability:
    """When a change to a dotted field takes effect: as the field itself says, or else its section."""
    model: type[Section] = Body
    found = Mutability.STATIC
    for name in field.split("."):
        info = model.model_fields.get(name)
        if info is None:
            break
        if isinstance(info.json_schema_extra, dict):
            found = Mutability(str(info.json_schema_extra.get("x-mutability", found)))
        if not (isinstance(info.annotation, type) and issubclass(info.annotation, Section)):
            break
        model = info.annotation
    return found
