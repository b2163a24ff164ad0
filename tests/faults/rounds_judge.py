"""What a host may be after a verb, worked out from what it was before; nothing of the program is asked.

The rules, in one place: while a generation is on trial, a reboot, an expired deadline, an interrupted
activation and another activation lead back to where the trial began, or to the strictest baseline where the
new generation narrowed. `Expected` says what a verb that is left alone must come to, and everything else that
may be seen meanwhile or after a kill.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fleetbox.hostside import baseline
from tests.integration.hostside.host import HostTree, files_below, members
from tests.support import bundles
from tests.support.bundles import Built

BUNDLES = tuple(
    bundles.build(name, others) for name, others in (("one", ()), ("two", ("more",)), ("three", ()))
)
BASE = Built(*baseline.read())
_CONTENT = {built.hex: members(built) for built in (*BUNDLES, BASE)}
_POINTER = re.compile(r"generations/([0-9]+)")
_ENTRY = re.compile(r"[0-9a-f]{64}")

Seen = str
"""Which bundle is current: its hex digest, or "" for none."""


class Wrong(Exception):
    """The host is in no legal state; `story` is how it came there."""

    def __init__(self, story: Sequence[str]) -> None:
        super().__init__("\n".join(story))
        self.story = [*story]


class Trial(NamedTuple):
    """What pending.json says."""

    generation: int
    fallback: int | None
    checked: bool
    boot: str
    until: float
    nonce: str


class View(NamedTuple):
    """The state directory as an outsider reads it."""

    current: Seen
    number: int | None
    """The generation that is current."""
    generations: dict[int, Seen]
    trial: Trial | None
    quarantine: frozenset[Seen]

    def over(self, boot: str) -> bool:
        """Whether the trial has to end at the next look, no process being at work on it."""
        trial = self.trial
        return trial is not None and (not trial.checked or trial.boot != boot or trial.until < 1)

    @property
    def ground(self) -> int | None:
        """The generation that is current once no trial is left that nobody confirmed."""
        if self.trial and self.trial.generation == self.number:
            return self.trial.fallback
        return self.number

    def content(self, number: int | None) -> Seen:
        return self.generations[number] if number is not None else ""


class Expected(NamedTuple):
    """`ends`: what is current, and `on_trial` whether that is on trial, when nothing comes in between; `ok`:
    and it says so.

    `new`: what it was to make current; None for a verb that switches to nothing new. `needs_space`: it may be
    refused on a full disk.
    """

    ends: Seen
    on_trial: bool
    ok: bool
    meanwhile: frozenset[Seen]
    new: Seen | None = None
    needs_space: bool = False


class World:
    """One host, and what is remembered of it between verbs."""

    def __init__(self, host: HostTree) -> None:
        self._host = host
        self._state = host.state
        self._boots = 0
        self._bound: dict[int, Seen] = {}
        self._story: list[str] = []
        self.last_activation = (1, "0" * 32)

    @property
    def _complete(self) -> bool:
        """Whether the state directory has been made; until then even a look at it needs space."""
        return all((self._state / name).exists() for name in ("lock", "store", "generations"))

    def note(self, line: str) -> None:
        self._story.append(line)

    def boot(self) -> None:
        """Another boot."""
        self._boots += 1
        self._host.boot(self._boot)
        self.note(f"reboot {self._boots}")

    def age(self) -> None:
        """The deadline of the trial is over."""
        path = self._state / "pending.json"
        if path.exists():
            path.write_text(json.dumps({**json.loads(path.read_bytes()), "since": 0.0, "until": 0.001}))
        self.note("the deadline is over")

    @property
    def _boot(self) -> str:
        return f"boot-{self._boots}"

    # What a verb must come to.

    def not_narrower(self) -> list[str]:
        """As a sender who knows that its bundle takes nothing away of any."""
        return [word for built in (*BUNDLES, BASE) for word in ("--not-narrower-than", built.digest)]

    def activation(
        self, built: Built, smoke: str, *, on_trial: bool, narrows: bool, clears: bool
    ) -> Expected:
        return self._switch(built.hex, smoke, on_trial=on_trial, narrows=narrows, clears=clears)

    def rollback(self, *, narrows: bool) -> Expected:
        view = self.look()
        active = view.ground if view.over(self._boot) else view.number
        candidates = [
            number
            for number, content in sorted(view.generations.items())
            if active is not None
            and number < active
            and content != view.content(active)
            and not (view.over(self._boot) and view.trial and number == view.trial.generation)
        ]
        if not candidates:
            return self._refused()
        target = view.generations[candidates[-1]]
        return self._switch(target, "pass", on_trial=False, narrows=narrows, clears=False)

    def _switch(self, new: Seen, smoke: str, *, on_trial: bool, narrows: bool, clears: bool) -> Expected:
        view = self.look()
        ground = view.content(view.ground)
        back = BASE.hex if narrows and ground else ground
        meanwhile = frozenset({view.current, ground})
        if new in view.quarantine and not clears:
            return self._refused()
        if new == ground:
            return Expected(ground, False, smoke == "pass", meanwhile, needs_space=True)
        passes = smoke == "pass"
        return Expected(
            new if passes else back,
            on_trial and passes,
            passes,
            meanwhile | {new, back},
            new,
            needs_space=True,
        )

    def _refused(self) -> Expected:
        """It takes nobody's trial away."""
        return self.no_change()._replace(ok=False, needs_space=True)

    def confirmation(self, number: int, nonce: str) -> Expected:
        view = self.look()
        ground = view.content(view.ground)
        meanwhile = frozenset({view.current, ground})
        if view.trial is None:
            return Expected(view.current, False, view.number == number, meanwhile)
        if view.over(self._boot):
            return Expected(ground, False, view.ground == number, meanwhile)
        right = (view.trial.generation, view.trial.nonce) == (number, nonce)
        return Expected(view.current, not right, right, meanwhile)

    def no_change(self) -> Expected:
        """Of a verb that only ends a trial that is over."""
        view = self.look()
        ground = view.content(view.ground)
        over = view.over(self._boot)
        ends = ground if over else view.current
        return Expected(ends, view.trial is not None and not over, True, frozenset({view.current, ground}))

    def mixtures(self, legal: frozenset[Seen]) -> frozenset[Seen]:
        """Of two at once: where each may begin, the other may have ended."""
        return legal | {BASE.hex}

    # What has come of it.

    def judge(self, expected: Expected, code: int, answer: dict[str, Any], *, full: bool) -> None:
        """Raises `Wrong`."""
        view = self._checked_view(answer)
        if code < 0:
            self._legal(view.current in expected.meanwhile, f"{view.current:.8} after a kill, {expected}")
            return
        if full and code != 0 and (expected.needs_space or not self._complete):
            kept = expected.meanwhile - {expected.new}
            self._legal(view.current in kept, f"{view.current:.8} on a full disk, {expected}")
            return
        self._legal((code == 0) == expected.ok, f"it ended with {code} {answer}, {expected}")
        self._legal(view.current == expected.ends, f"{view.current:.8} is current, {expected}")
        self._legal((view.trial is not None) == expected.on_trial, f"{view.trial} on trial, {expected}")

    def judge_two(self, expected: Sequence[Expected], ended: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Who came last decides, and nobody else is told that theirs holds without having to confirm it."""
        self.note(f"two at once: {[(code, answer.get('error')) for code, answer in ended]}")
        view = self._checked_view({})
        legal = self.mixtures(frozenset().union(*(one.meanwhile for one in expected)))
        self._legal(view.current in legal, f"{view.current:.8} after two at once, {expected}")
        kept = [
            answer for code, answer in ended if code == 0 and answer["changed"] and "pending" not in answer
        ]
        if kept and view.trial is None and all(code == 0 for code, _ in ended):
            last = max(kept, key=lambda answer: answer["generation"])
            digests = {answer["digest"] for _, answer in ended}
            self._legal(f"sha256:{view.current}" in digests, f"neither holds, {last}")
        for _, answer in ended:
            self._remember(answer)

    def judge_settled(self) -> None:
        """Nothing of what was killed is left."""
        self._legal(self._host.leftovers() == [], f"left over: {self._host.leftovers()}")
        names = {path.name for path in self._state.iterdir()}
        known = {"store", "generations", "current", "next-generation", "lock", "gpu"}
        known |= {"quarantine", "last-reversal.json"}
        self._legal(names <= known, f"left over: {names - known}")
        content = {path.readlink().name for path in self._state.glob("generations/*")}
        self._legal(content <= _stored(self._state), "a generation without its bundle")

    def glimpse(self, legal: frozenset[Seen]) -> None:
        """As a launch would look, at any moment."""
        seen = self._current()[0]
        self._legal(seen in legal, f"a launch saw {seen:.8}, legal was {sorted(legal)}")

    def look(self) -> View:
        """Raises `Wrong` for what no rule allows at any time."""
        current, number = self._current()
        generations = {int(path.name): path.readlink().name for path in self._state.glob("generations/*")}
        for entry in self._state.glob("store/*"):
            if _ENTRY.fullmatch(entry.name):
                self._legal(files_below(entry) == _CONTENT.get(entry.name), f"{entry.name} is not whole")
        trial = self._trial()
        if trial:
            way_back = trial.fallback is None or trial.fallback in generations
            self._legal(way_back, f"generation {trial.fallback} to go back to is gone")
        quarantine = frozenset(path.stem for path in self._state.glob("quarantine/[!.]*.json"))
        return View(current, number, generations, trial, quarantine)

    def _checked_view(self, answer: dict[str, Any]) -> View:
        view = self.look()
        highest = max(self._bound, default=0)
        for number, content in view.generations.items():
            known = self._bound.get(number)
            if known is None:
                self._legal(number > highest, f"generation {number} is new, {highest} was there")
            else:
                self._legal(known == content, f"generation {number} was {known:.8}, is {content:.8}")
        self._bound |= view.generations
        self._remember(answer)
        return view

    def _remember(self, answer: dict[str, Any]) -> None:
        if "pending" in answer:
            self.last_activation = (answer["generation"], answer["pending"]["nonce"])

    def _current(self) -> tuple[Seen, int | None]:
        """What is current, whole, and its number. What is removed while it is read is looked for again."""
        while target := _link(self._state / "current"):
            pointer = _POINTER.fullmatch(target)
            self._legal(pointer is not None, f"current points to {target}")
            assert pointer
            content = Path(_link(self._state / target)).name
            if content and files_below(self._state / "store" / content) == _CONTENT.get(content):
                return content, int(pointer[1])
            self._legal(_link(self._state / "current") != target, f"{target}, {content!r:.10}, is not whole")
        return "", None

    def _trial(self) -> Trial | None:
        path = self._state / "pending.json"
        if not path.exists():
            return None
        said = json.loads(path.read_bytes())
        return Trial(**{name: said[name] for name in Trial._fields})

    def _legal(self, holds: bool, problem: str) -> None:
        if not holds:
            raise Wrong([*self._story, problem])


def _link(path: Path) -> str:
    """Where it points; "" where nothing is."""
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return ""


def _stored(state: Path) -> set[str]:
    return {path.name for path in state.glob("store/*")}
