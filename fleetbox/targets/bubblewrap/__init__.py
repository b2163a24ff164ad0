"""The target for Linux: a launch plan and four seccomp filters, which `fleetbox-run` turns into a sandbox.

The plan says what shall hold, not which bwrap arguments make it so: those depend on the host's bubblewrap,
devices and paths, and are the launcher's.
"""

from collections.abc import Iterator, Sequence

from fleetbox.hostside import paths
from fleetbox.policy import ResolvedPolicy
from fleetbox.policy.amounts import duration_seconds, memory_bytes
from fleetbox.policy.paths import split_glob
from fleetbox.policy.words import PROTECTED_PARTS, Access, GpuMode, Mode, Root, Tmp
from fleetbox.targets.bubblewrap import defaults, operations, plan, seccomp
from fleetbox.targets.bubblewrap.operation import Operation
from fleetbox.targets.interface import Artifact
from fleetbox.targets.parity import Platform, State
from fleetbox.targets.unenforced import refuse_unenforced, row_of, values


class Bubblewrap:
    """See the module."""

    name = "bubblewrap"

    def compile(self, policy: ResolvedPolicy) -> tuple[Artifact, ...]:
        refuse_unenforced(policy, Platform.LINUX, self.name)
        filters = () if policy.mode is Mode.FULL_ACCESS else _filters(policy)
        return (
            Artifact(paths.LAUNCH_PLAN, plan.encode(launch_plan(policy))),
            *(Artifact(filter_.file_name, filter_.program()) for filter_ in filters),
        )

    def describe(self, artifacts: Sequence[Artifact]) -> str:
        return "".join(
            f"{artifact.path}, {len(artifact.data)} bytes\n{_words(artifact)}" for artifact in artifacts
        )


def _words(artifact: Artifact) -> str:
    if artifact.path != paths.LAUNCH_PLAN:
        return ""
    return "".join(f"  {operation.describe()}\n" for operation in plan.decode(artifact.data))


def launch_plan(policy: ResolvedPolicy) -> tuple[Operation, ...]:
    """The operations in the order in which a person reads them; the launcher sorts those that it must."""
    if policy.mode is Mode.FULL_ACCESS:
        return _no_sandbox(policy)
    return (
        *_head(policy),
        *_devices(policy),
        *_rules(policy),
        *_protected(policy),
        *_defaults(policy),
        *_programs(policy),
        *_limits(policy),
        *_environment(policy),
        *(operations.Seccomp(f.arch, f.variant, f.file_name) for f in _filters(policy)),
    )


def _no_sandbox(policy: ResolvedPolicy) -> tuple[Operation, ...]:
    """A plan all the same, and every word of it says that nothing is closed."""
    return (
        operations.Policy(policy.name, policy.digest),
        operations.Mode(policy.mode),
        operations.Root("host"),
        operations.Workspace("write"),
        operations.Tmp("host"),
        operations.Network("host"),
        operations.Nested("yes"),
        operations.HostPids("yes"),
        operations.UnixSockets("private"),
        operations.Gpu("none"),
        operations.Landlock("off"),
    )


def _head(policy: ResolvedPolicy) -> Iterator[Operation]:
    read_only = policy.mode is Mode.READ_ONLY
    yield operations.Policy(policy.name, policy.digest)
    yield operations.Mode(policy.mode)
    yield operations.Root(policy.filesystem.root)
    yield operations.Workspace("read" if read_only else policy.filesystem.workspace)
    yield operations.Tmp(_tmp(policy))
    yield operations.Network(policy.network.mode)
    yield operations.Nested(_yes_no(policy.process.nested_sandboxes))
    yield operations.HostPids(_yes_no(policy.process.allow_host_pids))
    yield operations.UnixSockets(policy.process.unix_sockets)
    yield operations.Gpu(policy.devices.gpu.mode)
    yield operations.Landlock(policy.landlock)


def _tmp(policy: ResolvedPolicy) -> str:
    # As with write rules: the policy refuses this already.
    shared = policy.mode is Mode.READ_ONLY and policy.filesystem.tmp is Tmp.HOST
    return Tmp.PRIVATE if shared else policy.filesystem.tmp


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _devices(policy: ResolvedPolicy) -> Iterator[Operation]:
    """A vendor that the default lists for other platforms is left out."""
    gpu = policy.devices.gpu
    if gpu.mode is not GpuMode.NONE:
        for vendor in values(policy, "devices.gpu.vendors"):
            if row_of("devices.gpu.vendors", vendor).on(Platform.LINUX) is not State.IMPOSSIBLE:
                yield operations.GpuVendor(vendor)
        yield from map(operations.GpuSelect, () if gpu.select == "all" else gpu.select)
        yield operations.GpuProfile(gpu.profile)
        if gpu.exclusive:
            yield operations.GpuExclusive("yes")
    for path in policy.devices.allow:
        yield operations.Device(path)


def _rules(policy: ResolvedPolicy) -> Iterator[Operation]:
    for rule in policy.filesystem.rules:
        if rule.is_glob:
            yield operations.Glob(*split_glob(rule.path))
        else:
            yield operations.Rule(_access(policy, rule.access), rule.path)


def _access(policy: ResolvedPolicy, access: Access) -> str:
    # The policy refuses write rules in this mode already; a target does not rely on that.
    return "read" if policy.mode is Mode.READ_ONLY and access is Access.WRITE else access


def _protected(policy: ResolvedPolicy) -> Iterator[Operation]:
    unprotected = set(policy.filesystem.unprotect)
    for name in policy.filesystem.protect:
        if name not in unprotected:
            yield operations.Protect(name)
    for name in policy.filesystem.unprotect:
        for part in PROTECTED_PARTS.get(name, ()):
            yield operations.ProtectPart(name, part)


def _defaults(policy: ResolvedPolicy) -> Iterator[Operation]:
    yield from map(operations.Mask, defaults.MASKS)
    yield from map(operations.MaskWsl, defaults.MASKS_ON_WSL)
    yield from map(operations.Keep, defaults.KEPT)
    if policy.filesystem.root is Root.MINIMAL:
        yield from map(operations.Minimal, defaults.MINIMAL_ROOT)
        if policy.devices.gpu.mode is not GpuMode.NONE:
            yield from map(operations.Minimal, defaults.MINIMAL_ROOT_FOR_GPU)


def _programs(policy: ResolvedPolicy) -> Iterator[Operation]:
    yield from map(operations.Program, policy.process.allowed_binaries or ())


def _limits(policy: ResolvedPolicy) -> Iterator[Operation]:
    limits = policy.process.limits
    amounts = {
        "memory": memory_bytes(limits.memory) if limits.memory else None,
        "pids": limits.pids,
        "wall": duration_seconds(limits.wall) if limits.wall else None,
    }
    for name, amount in amounts.items():
        if amount is not None:
            yield operations.Limit(name, str(amount))


def _environment(policy: ResolvedPolicy) -> Iterator[Operation]:
    yield from map(operations.EnvPass, policy.environment.pass_)
    for name, value in sorted(policy.environment.set.items()):
        yield operations.EnvSet(name, value)


def _filters(policy: ResolvedPolicy) -> tuple[seccomp.Filter, ...]:
    listed = policy.process.allowed_binaries is not None
    nested = policy.process.nested_sandboxes
    alone = policy.filesystem.allow_host_mounts and not nested
    host_pids = policy.process.allow_host_pids
    return seccomp.filters(nested=nested, listed=listed, host_pids=host_pids, alone=alone)
