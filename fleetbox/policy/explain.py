"""What a policy says about one path: the one place where precedence is decided in Python.

It is pure and knows names only: symlinks, device nodes and the masks that a target adds (`/run`, other
users' sockets) are seen at launch. `fleetbox-run --explain` shows those.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from fleetbox.policy import paths
from fleetbox.policy.resolve import ResolvedPolicy
from fleetbox.policy.words import PROTECTED_PARTS, STRENGTH, Access, Mode, Root, Tmp

_TMPDIR = PurePath(paths.TMP[0])  # what programs and the launcher take where TMPDIR is not set


@dataclass(frozen=True, slots=True)
class Decision:
    """What a workload may do with a path; `rule` is what decided, `why` a sentence for people."""

    access: Access
    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class _Claim:
    """Something that gives or takes access to a path and everything below it."""

    path: str
    access: Access
    rule: str
    why: str
    protects: bool = True  # the names that stay read-only below a writable root are protected here


def explain(
    policy: ResolvedPolicy,
    path: str,
    *,
    workspace: PurePath,
    home: PurePath,
    tmpdir: PurePath = _TMPDIR,
) -> Decision:
    """The access to `path`, which may be relative to the workspace or begin with a placeholder.

    The longest matching path decides; at the same path none goes before read and read before write.
    """
    if policy.mode is Mode.FULL_ACCESS:
        return Decision(Access.WRITE, "mode: full-access", "there is no sandbox")
    place = _Place(str(workspace), str(home), str(tmpdir))
    wanted = place.absolute(path)
    claims = [claim for claim in _claims(policy, place, wanted) if paths.is_below(wanted, claim.path)]
    best = min(claims, key=lambda claim: (-_depth(claim.path), STRENGTH[claim.access]))
    if best.access is Access.WRITE:
        name = _protected(policy, wanted, claims)
        if name:
            why = f"{name} is protected below every writable root"
            return Decision(Access.READ, f"filesystem.protect: {name}", why)
    return Decision(best.access, best.rule, best.why)


@dataclass(frozen=True, slots=True)
class _Place:
    """The values of the placeholders for one launch."""

    workspace: str
    home: str
    tmpdir: str

    def expand(self, path: str) -> str:
        first, slash, rest = path.partition("/")
        values = {paths.WORKSPACE: self.workspace, paths.HOME: self.home, paths.TMPDIR: self.tmpdir}
        spelled = paths.SPELLINGS.get(first, first)
        return posixpath.normpath(values.get(spelled, spelled) + slash + rest)

    def absolute(self, path: str) -> str:
        joined = posixpath.normpath(posixpath.join(self.workspace, self.expand(path)))
        return "/" + joined.lstrip("/")


_TMP = {
    Tmp.NONE: "there is no temporary directory",
    Tmp.PRIVATE: "an empty one for this sandbox",
    Tmp.HOST: "shared with the host",
}


def _claims(policy: ResolvedPolicy, place: _Place, wanted: str) -> Iterator[_Claim]:
    """Everything in the policy that could decide about `wanted`, in no order."""
    files = policy.filesystem
    if files.root is Root.HOST:
        yield _Claim("/", Access.READ, "filesystem.root: host", "the whole file system is visible, read-only")
    else:
        why = "a minimal root shows only what programs need to start; the target lists it"
        yield _Claim("/", Access.NONE, "filesystem.root: minimal", why)
    access = Access.NONE if files.tmp is Tmp.NONE else Access.WRITE
    for tmp in paths.TMP:
        shared = files.tmp is Tmp.HOST
        yield _Claim(tmp, access, f"filesystem.tmp: {files.tmp}", _TMP[files.tmp], protects=shared)
    yield _Claim(
        posixpath.normpath(place.workspace),
        Access(files.workspace),
        f"filesystem.workspace: {files.workspace}",
        "the workspace",
    )
    for i, rule in enumerate(files.rules):
        text = f"{rule.path}: {rule.access}"
        origin = policy.origin(f"filesystem.rules[{i}]")
        for path in _matches(rule.path, place, wanted) if rule.is_glob else (place.expand(rule.path),):
            yield _Claim(path, rule.access, f"filesystem.rules[{i}] {text}", f"a rule of {origin}")


def _matches(pattern: str, place: _Place, wanted: str) -> Iterator[str]:
    """`wanted` and the directories above it, as far as the pattern matches them."""
    base, relative = paths.split_glob(pattern)
    root = place.expand(base)
    regex = paths.glob_regex(relative)
    for candidate in (wanted, *map(str, PurePath(wanted).parents)):
        inside = candidate != root and paths.is_below(candidate, root)
        if inside and regex.fullmatch(candidate.removeprefix(root).lstrip("/")):
            yield candidate


def _protected(policy: ResolvedPolicy, wanted: str, claims: list[_Claim]) -> str:
    """The protected name that `wanted` is or lies below, under any writable root."""
    parts = (
        f"{name}/{part}" for name in policy.filesystem.unprotect for part in PROTECTED_PARTS.get(name, ())
    )
    names = (*policy.filesystem.protect, *parts)
    roots = [claim.path for claim in claims if claim.access is Access.WRITE and claim.protects]
    found = (name for root in roots for name in names if paths.is_below(wanted, posixpath.join(root, name)))
    return next(found, "")


def _depth(path: str) -> int:
    return 0 if path == "/" else path.count("/")
