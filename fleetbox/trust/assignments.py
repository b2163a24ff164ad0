"""Which release each host shall have: signed online, and only ever one of the releases that were signed.

Hosts are spread over hash bins, so a push signs the bins of its hosts, and a host fetches one bin.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, SuccinctRoles, Targets

from fleetbox.errors import TrustRefused
from fleetbox.hostside.release import (
    ASSIGNMENT_REPOSITORY,
    HOST_ID,
    NUMBER_MAX,
    Assignment,
    ReleaseInvalid,
    assignment_target,
    decode_assignment,
    encode_assignment,
)
from fleetbox.trust import durable, marks
from fleetbox.trust.marks import Marks
from fleetbox.trust.publish import (
    Online,
    Update,
    key_missing,
    publish,
    sign,
    sign_with,
    target_file,
    target_path,
)
from fleetbox.trust.roles import TARGETS, bins
from fleetbox.trust.view import View

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_FILE_LIMIT = 1024 * 1024


def assign(online: Online, view: View, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Assignment]:
    """Sign and publish an assignment for every host: its release's target path and digest.

    All hosts of one call have the same generation, one higher than any before. Whether the releases may be
    assigned is the caller's to check. Raises TrustRefused for a host that cannot be named, and where
    generations have run out.
    """
    refused = [host for host in wanted if not HOST_ID.fullmatch(host)]
    if refused:
        raise TrustRefused(
            f"no assignment can be named for {', '.join(repr(host) for host in refused)}",
            hint="a host's name has letters, digits and . _ - and begins with a letter or digit",
        )
    generation = marks.of(view).generation + 1
    if generation > NUMBER_MAX:
        raise TrustRefused(
            f"there is no generation above {NUMBER_MAX}",
            hint="fleetbox trust rotate assignment-online: with a new key, hosts count from the beginning",
        )
    issued = online.now.strftime(_TIME)
    made = {host: Assignment(host, generation, *which, issued) for host, which in wanted.items()}
    documents, files = _signed(online, view, made.values())
    durable.write(files)
    publish(online, Update(ASSIGNMENT_REPOSITORY, documents, marks=Marks(generation, issued)), view)
    return made


def raise_generation(online: Online, view: View, at_least: int) -> None:
    """Let the next assignment be higher than `at_least`, which some host says that it has had."""
    if marks.of(view).generation < at_least:
        publish(online, Update(ASSIGNMENT_REPOSITORY, {}, marks=Marks(at_least)), view)


def assigned(folder: Path, view: View, host: str) -> Assignment | None:
    """What a host is assigned now; `folder` is that of the targets."""
    target = view.targets(bin_of(view, host)).signed.targets.get(assignment_target(host))
    if target is None:
        return None
    try:
        return decode_assignment(durable.read(target_path(folder, target), _FILE_LIMIT))
    except (OSError, ReleaseInvalid) as problem:
        raise TrustRefused(f"the assignment of {host} cannot be read: {problem}") from problem


def bin_of(view: View, host: str) -> str:
    """The role that holds a host's assignment."""
    return _succinct(view.targets().signed).get_role_for_target(assignment_target(host))


def first_documents(online: Online, root: Metadata[Root], bits: int) -> dict[str, Metadata[Targets]]:
    """`targets` and every bin, empty, for a new repository."""
    top = Targets(delegations=bins(_online_keys(root), bits))
    documents = {role: Metadata(Targets()) for role in _succinct(top).get_roles()}
    return _finish(online, [root], {TARGETS: Metadata(top), **documents})


def renewed_documents(
    online: Online, view: View, root: Metadata[Root], *, step: int = 1
) -> dict[str, Metadata[Targets]]:
    """`targets` and every bin once more, `step` versions on, by the online keys that `root` names."""
    top = _next(view, TARGETS, step)
    top.signed.delegations = bins(_online_keys(root), _succinct(top.signed).bit_length)
    documents = {role: _next(view, role, step) for role in _succinct(top.signed).get_roles()}
    return _finish(online, [root, view.root], {TARGETS: top, **documents})


def _signed(
    online: Online, view: View, made: Iterable[Assignment]
) -> tuple[dict[str, Metadata[Targets]], dict[Path, bytes]]:
    """The bins of the hosts in their next versions, and the files that they name."""
    folder = online.places.targets(ASSIGNMENT_REPOSITORY)
    documents: dict[str, Metadata[Targets]] = {}
    files: dict[Path, bytes] = {}
    for assignment in made:
        role, data = bin_of(view, assignment.host), encode_assignment(assignment)
        if role not in documents:
            documents[role] = _next(view, role)
        target = target_file(assignment_target(assignment.host), data)
        documents[role].signed.targets[target.path] = target
        files[target_path(folder, target)] = data
    delegations = view.targets().signed.delegations
    _sign_bins(online, tuple(delegations.keys.values()) if delegations else (), documents)
    return documents, files


def _finish(
    online: Online, roots: list[Metadata[Root]], documents: dict[str, Metadata[Targets]]
) -> dict[str, Metadata[Targets]]:
    _sign_bins(online, _online_keys(roots[0]), {r: m for r, m in documents.items() if r != TARGETS})
    documents[TARGETS].signed.expires = online.now + online.lifetimes.offline
    sign(documents[TARGETS], TARGETS, roots, online.ring)
    return documents


def _sign_bins(online: Online, keys: tuple[Key, ...], documents: Mapping[str, Metadata[Targets]]) -> None:
    signers = online.ring.signers(keys)
    if not signers:
        raise key_missing("assignments", keys, online.ring)
    for metadata in documents.values():
        metadata.signed.expires = online.now + online.lifetimes.offline
        sign_with(metadata, signers[:1])


def _next(view: View, role: str, step: int = 1) -> Metadata[Targets]:
    """A copy of a role with its next version, or one `step` higher, unsigned."""
    metadata: Metadata[Targets] = Metadata.from_bytes(view.read(view.name_of(role)))
    metadata.signed.version += step
    return metadata


def _online_keys(root: Metadata[Root]) -> tuple[Key, ...]:
    return tuple(root.signed.keys[keyid] for keyid in root.signed.roles[TARGETS].keyids)


def _succinct(targets: Targets) -> SuccinctRoles:
    succinct = targets.delegations.succinct_roles if targets.delegations else None
    if succinct is None:
        raise TrustRefused("the assignment repository has no bins", hint="restore it from a backup")
    return succinct
