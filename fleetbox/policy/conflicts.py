"""What fields mean together: contradictions in a merged policy, each at the place that caused it.

A field in which something was already wrong takes part in no contradiction: its value is a guess.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fleetbox.policy import paths
from fleetbox.policy.errors import Violation
from fleetbox.policy.merge import Entry, Layer, Leaf
from fleetbox.policy.model import MAX_RULES, Rule
from fleetbox.policy.words import PROTECTED, PROTECTED_PARTS, Access, GpuVendor, Mode, NetworkMode, Tmp

RULES = "filesystem.rules"


@dataclass(frozen=True, slots=True)
class _Merged:
    """A layer with answers: what a field says, or `default` where nothing or nothing sound was written."""

    layer: Layer
    broken: frozenset[str]

    def leaf(self, field: str) -> Leaf | None:
        return None if field in self.broken else self.layer.get(field)

    def says(self, field: str, value: object) -> bool:
        leaf = self.leaf(field)
        return leaf is not None and leaf.value == value

    def entries(self, field: str) -> tuple[Entry, ...]:
        leaf = self.layer.get(field)
        return leaf.entries or () if leaf else ()

    def rules(self) -> Iterator[tuple[Rule, Entry]]:
        for entry in self.entries(RULES):
            if isinstance(entry.value, Rule):
                yield entry.value, entry

    def writable(self) -> Iterator[tuple[Rule, Entry]]:
        return ((rule, entry) for rule, entry in self.rules() if rule.access is Access.WRITE)


def conflicts(layer: Layer, broken: frozenset[str]) -> list[Violation]:
    """Every contradiction in a merged policy."""
    merged = _Merged(layer, broken)
    return [violation for check in _CHECKS for violation in check(merged)]


def _full_access_stands_alone(merged: _Merged) -> Iterator[Violation]:
    mode = merged.leaf("mode")
    if mode is None or mode.value != Mode.FULL_ACCESS:
        return
    sections = {field.partition(".")[0]: leaf.position for field, leaf in merged.layer.items()}
    for section, position in sections.items():
        if section == "mode":
            continue
        here = position.source == mode.position.source
        yield (position if here else mode.position).violation(
            section if here else "mode",
            f"full-access beside the section {section}" + ("" if here else f" of {position}"),
            hint=f"full-access is no sandbox: remove {section}, or choose workspace-write",
        )


def _read_only_has_nothing_writable(merged: _Merged) -> Iterator[Violation]:
    if not merged.says("mode", Mode.READ_ONLY):
        return
    for field, value, hint in (
        ("filesystem.workspace", Access.WRITE, "remove it, or choose mode: workspace-write"),
        ("filesystem.tmp", Tmp.HOST, "a read-only sandbox gets an empty /tmp; remove it"),
    ):
        leaf = merged.leaf(field)
        if leaf and leaf.value == value:
            yield leaf.position.violation(field, "writable in a read-only policy", str(leaf.value), hint)
    for rule, entry in merged.writable():
        hint = "give it access: read, or choose mode: workspace-write"
        yield entry.position.violation(RULES, "writable in a read-only policy", rule.path, hint)


def _outbound_needs_the_proxy(merged: _Merged) -> Iterator[Violation]:
    outbound = merged.entries("network.outbound")
    mode = merged.leaf("network.mode")
    if "network.mode" in merged.broken or (mode and mode.value == NetworkMode.PROXY):
        return
    for entry in outbound:
        # A document may cut a preset's network off; `none` in the same document is a mistake.
        inherited = mode and mode.position.source != entry.position.source
        if mode and mode.value == NetworkMode.NONE and inherited:
            continue
        said = mode.value if mode else NetworkMode.NONE
        problem = f"a destination that network mode {said} does not look at"
        yield entry.position.violation("network.outbound", problem, hint="write network.mode: proxy")
        return


def _a_cdi_name_needs_the_vendor(merged: _Merged) -> Iterator[Violation]:
    select = merged.leaf("devices.gpu.select")
    chosen = select.value if select and isinstance(select.value, tuple) else ()
    named = [str(name) for name in chosen if "=" in str(name)]
    vendors = {entry.value for entry in merged.entries("devices.gpu.vendors")}
    if select and named and GpuVendor.CDI not in vendors and "devices.gpu.vendors" not in merged.broken:
        hint = "add cdi to devices.gpu.vendors: what a specification opens is for its author to say"
        yield select.position.violation("devices.gpu.select", "a CDI device", named[0], hint)


def _protected_names_stay_protected(merged: _Merged) -> Iterator[Violation]:
    roots = {rule.path for rule, _ in merged.writable() if not rule.is_glob}
    if not merged.says("filesystem.workspace", Access.READ):
        roots.add(paths.WORKSPACE)
    names = _still_protected(merged)
    for rule, entry in merged.writable():
        name = next((n for root in roots for n in names if _is_inside(rule.path, f"{root}/{n}")), None)
        if name:
            hint = f"remove the rule, or list {name.partition('/')[0]} under filesystem.unprotect"
            if "/" in name and name.partition("/")[0] in PROTECTED_PARTS:
                hint = f"remove the rule; {name} stays read-only"
            yield entry.position.violation(RULES, f"writable below the protected {name}", rule.path, hint)


def _is_inside(path: str, parent: str) -> bool:
    return path != parent and paths.is_below(path, parent)


def _still_protected(merged: _Merged) -> list[str]:
    opened = {str(entry.value) for entry in merged.entries("filesystem.unprotect")}
    named = {*PROTECTED, *(str(entry.value) for entry in merged.entries("filesystem.protect"))}
    parts = [f"{name}/{part}" for name in opened for part in PROTECTED_PARTS.get(name, ())]
    return sorted({*(named - opened), *parts})


def _unprotect_names_a_protected_one(merged: _Merged) -> Iterator[Violation]:
    named = {*PROTECTED, *(str(entry.value) for entry in merged.entries("filesystem.protect"))}
    if "filesystem.protect" in merged.broken:
        return
    for entry in merged.entries("filesystem.unprotect"):
        if entry.value not in named:
            hint = f"protected are {', '.join(sorted(named))}"
            yield entry.position.violation(
                "filesystem.unprotect", "not a protected name", str(entry.value), hint
            )


def _tmp_is_private_or_shared(merged: _Merged) -> Iterator[Violation]:
    tmp = merged.leaf("filesystem.tmp")
    if "filesystem.tmp" in merged.broken or (tmp and tmp.value == Tmp.HOST):
        return
    said = "no" if tmp and tmp.value == Tmp.NONE else "a private"
    for rule, entry in merged.writable():
        if rule.path in (*paths.TMP, paths.TMPDIR):
            hint = "write filesystem.tmp: host to share the host's, or remove the rule"
            yield entry.position.violation(RULES, f"writable where {said} /tmp is", rule.path, hint)


def _lists_stay_small(merged: _Merged) -> Iterator[Violation]:
    for field, leaf in merged.layer.items():
        if leaf.entries and len(leaf.entries) > MAX_RULES:
            entry = leaf.entries[MAX_RULES]
            problem = f"more than {MAX_RULES} entries in all documents together"
            yield entry.position.violation(field, problem, hint="write fewer, broader ones")


_CHECKS: tuple[Callable[[_Merged], Iterator[Violation]], ...] = (
    _full_access_stands_alone,
    _read_only_has_nothing_writable,
    _outbound_needs_the_proxy,
    _a_cdi_name_needs_the_vendor,
    _protected_names_stay_protected,
    _unprotect_names_a_protected_one,
    _tmp_is_private_or_shared,
    _lists_stay_small,
)
