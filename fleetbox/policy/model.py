"""The policy schema: one frozen model per section, for what an author writes and for what it resolves to.

The same classes serve both, because a resolved policy is a policy: written out and read again it is itself.
What one value means is in `values` and `words`, what several mean together in `conflicts`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from fleetbox.policy import paths
from fleetbox.policy.values import (
    Binary,
    Device,
    Duration,
    Extended,
    GpuSelection,
    HostName,
    Line,
    Memory,
    Method,
    Path,
    PolicyName,
    Port,
    ProtectedName,
    RequestPath,
    Sorted,
    Variable,
    VariablePattern,
    VariableValue,
)
from fleetbox.policy.words import (
    ENVIRONMENT,
    GPU_VENDORS_BY_NAME,
    PROTECTED,
    Access,
    GpuMode,
    GpuProfile,
    GpuVendor,
    Landlock,
    Mode,
    Mutability,
    NetworkMode,
    Root,
    Tmp,
    UnixSockets,
)

MAX_RULES = 1_000


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


class Metadata(Section):
    name: PolicyName = Field(description="How the policy is called on hosts and in reports.")
    description: Line = Field("", description="One line for people.")


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
    tmp: Tmp = Field(
        Tmp.PRIVATE,
        description="An empty /tmp and /var/tmp for each sandbox, or the host's; none: neither is open.",
    )
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
    allow_host_mounts: StrictBool = Field(
        False,
        description="Accepts Landlock alone where bubblewrap makes no sandbox: see Without bubblewrap.",
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
        False,
        description="Lets the workload create user namespaces (its own bwrap, Chromium), and with them move "
        "names that are protected or denied below writable directories.",
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
        tuple(sorted(set(GpuVendor) - GPU_VENDORS_BY_NAME)),
        min_length=1,
        description="Whose GPUs may be used: the first here of wsl, jetson, nvidia, amd, intel, cdi.",
    )
    select: GpuSelection = Field(
        "all", description="Which GPUs: index, GPU- or MIG-UUID, PCI address, CDI name, list."
    )
    exclusive: StrictBool = Field(
        False, description="No other sandbox of this machine may have the GPU at the same time."
    )
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
    extends: tuple[Extended, ...] = Field(
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
