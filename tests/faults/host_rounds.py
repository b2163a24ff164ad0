"""Rounds on a real host with its critical checks: activations killed, broken, confirmed and forgotten.

One host lives through all rounds, so that each begins with what the ones before left there. The rounds of
`rounds` stop a verb at every step and full disk; here the sandbox, sshd, sudo and the watchdog are real, and
what a launch does decides.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from fleetbox.bundle import baseline
from fleetbox.hostside import paths
from tests.integration.hostside.host import members
from tests.integration.hostside.trials import cron_command, eventually, undecided
from tests.support.bundles import Built
from tests.support.provision import PACKAGED, WORKSPACE, Provisioned, compiled

ASK = f"""
import os, socket
def can(what):
    try:
        what()
    except OSError:
        return 'no'
    return 'yes'
print(
    os.environ.get('WHICH', 'none'),
    can(lambda: socket.socket(socket.AF_UNIX)),
    can(lambda: open('{WORKSPACE}/written', 'w')),
)
"""


class Content(NamedTuple):
    """A bundle, and what ASK says under it: of its launch plan, its filter and its mounts."""

    name: str
    built: Built
    says: str


def _compiled(name: str, sockets: str, says: str) -> Content:
    made = compiled(
        {"main": f"environment: {{set: {{WHICH: {name}}}}}\nprocess: {{unix_sockets: {sockets}}}\n"}
    )
    return Content(name, Built(made.digest, made.tar), says)


OLD = _compiled("old", "none", "old no yes")
NEW = _compiled("new", "private", "new yes yes")
BASE = Content("baseline", Built(baseline.compiled().digest, baseline.compiled().tar), "none no no")
_KNOWN = [word for one in (OLD, NEW, BASE) for word in ("--not-narrower-than", one.built.digest)]
_STARTED_S = 0.1  # before that, the host program is not even loaded
_SHORT, _LONG = "1", "1000"
# The pattern does not match the shell that has it among its words.
_PROGRAMS = f"grep -lz '^{paths.PREFIX[:-1]}[{paths.PREFIX[-1]}]$' /proc/[0-9]*/cmdline 2>/dev/null"
_KILL_ALL = f"{_PROGRAMS} | cut -d/ -f3 | xargs -r kill -KILL"
_REBOOTED = r"""sed -i 's/"boot": "[^"]*"/"boot": "the one before"/' """ + paths.PENDING


class Ended(NamedTuple):
    """How a verb ended; `answer` is {} when it was killed first."""

    code: int
    answer: dict[str, Any]

    @property
    def killed(self) -> bool:
        return not self.answer


class HostRounds:
    """The rounds on one host. `stays`: what it enforces with nothing on trial."""

    def __init__(self, box: Provisioned, chance: random.Random) -> None:
        self._box, self._host = box, box.host
        self._chance = chance
        self.counts: Counter[str] = Counter()
        self._next: list[Callable[[Content, Content], None]] = []
        self._stays = OLD
        for content in (NEW, OLD):  # the first one finds nothing in any cache
            begun = time.monotonic()
            self._done(self._activate(content, narrows=False), content)
            self._cycle_s = time.monotonic() - begun
        self._enforces(OLD)

    def play(self) -> None:
        """One round. Raises AssertionError for a state that is not legal."""
        wanted = self._chance.choice((OLD, NEW))
        narrows = self._chance.random() < 0.3
        back = BASE if narrows and wanted is not self._stays else self._stays
        if not self._next:
            self._next = [*[self._killed] * 3, self._broken, *[self._on_trial] * 2]
            self._chance.shuffle(self._next)
        ending = self._next.pop()
        self.counts[ending.__name__.strip("_")] += 1
        ending(wanted, back)

    def finish(self) -> None:
        """The next push: the host is as good as new."""
        self._stays = self._done(self._activate(NEW, narrows=False), NEW)
        self._settled({NEW})
        left = self._sh(f"find {paths.STATE} -name '.*' -mindepth 1")
        assert left == "", f"left over: {left}"

    # How a round goes.

    def _killed(self, wanted: Content, back: Content) -> None:
        """By SIGKILL, at any moment; sometimes the watchdog with it."""
        within = self._chance.choice((None, _SHORT))
        moment = self._chance.uniform(_STARTED_S, self._cycle_s)
        done = self._activate(wanted, narrows=back is BASE, within=within, kill_s=moment)
        self._sees({self._stays, wanted, back})
        alone = self._chance.random() < 0.3
        if alone:
            self._sh(_KILL_ALL)
        may_stay = {wanted} if within is None else set()
        self._goes_on(alone=alone, switched=self._sees_now() is not self._stays)
        self.counts["killed in time"] += done.killed
        self._stays = self._settled({self._stays, back} | may_stay)

    def _broken(self, wanted: Content, back: Content) -> None:
        """No sandbox can be made while the checks run."""
        with self._without_bwrap():
            done = self._activate(wanted, narrows=back is BASE, within=_LONG)
        assert (done.code, done.answer["error"]["code"]) == (5, "smoke_failed"), done
        self._stays = self._settled({back})

    def _on_trial(self, wanted: Content, back: Content) -> None:
        """Its checks pass; then somebody confirms it, or does not."""
        if wanted is self._stays:
            wanted = NEW if wanted is OLD else OLD
        ends = self._chance.choice((self._confirmed, self._forgotten, self._rebooted, self._unwatched))
        self.counts[ends.__name__.strip("_")] += 1
        done = self._activate(
            wanted, narrows=back is BASE, within=_LONG if ends == self._confirmed else _SHORT
        )
        self._done(done, wanted)
        assert "pending" in done.answer
        self._stays = ends(done.answer, wanted, back)

    def _confirmed(self, answer: dict[str, Any], wanted: Content, _back: Content) -> Content:
        """Over a new connection, which may be cut; then once more."""
        words = ["confirm", str(answer["generation"]), answer["pending"]["nonce"]]
        if self._chance.random() < 0.5:
            cut = self._verb(*words, kill_s=self._chance.uniform(_STARTED_S / 2, 2 * _STARTED_S))
            self.counts["confirmations killed"] += cut.killed
            self._sees({wanted})
        self._done(self._verb(*words), wanted)
        return self._settled({wanted})

    def _forgotten(self, _answer: dict[str, Any], wanted: Content, back: Content) -> Content:
        self._sees({wanted, back})
        self._goes_on(alone=False, switched=True)
        return self._settled({back})

    def _unwatched(self, _answer: dict[str, Any], wanted: Content, back: Content) -> Content:
        self._sh(_KILL_ALL)
        self._sees({wanted, back})
        self._goes_on(alone=True, switched=True)
        return self._settled({back})

    def _rebooted(self, _answer: dict[str, Any], wanted: Content, back: Content) -> Content:
        """As far as a host without a kernel of its own can: nothing of before runs, and cron starts anew."""
        self._sh(f"{_KILL_ALL}; if test -e {paths.PENDING}; then {_REBOOTED}; fi; {cron_command()}")
        return self._settled({back})

    # What must be true.

    def _goes_on(self, *, alone: bool, switched: bool) -> None:
        """Nothing stays on trial past its time: the watchdog ends it, or where none was armed the next verb.

        None is armed before it is needed, and from then on there is one until it was killed.
        """
        if switched and not alone:
            eventually(lambda: not undecided(self._host), "nothing went back")
        else:
            time.sleep(float(_SHORT))
            assert self._verb("gc").code == 0

    def _settled(self, legal: set[Content]) -> Content:
        """One whole generation of `legal` is current, nothing is on trial, and launches obey it."""
        eventually(lambda: not undecided(self._host), "still on trial")
        said = self._verb("status").answer
        [found] = [one for one in (OLD, NEW, BASE) if one.built.digest == said["digest"]]
        assert found in legal, f"{found.name} is current, legal is {[one.name for one in legal]}"
        assert said["pending"] is None
        tar = self._host.exec(["tar", "-C", f"{paths.STATE}/current/", "-c", "."]).stdout
        assert _files(tar) == members(found.built)
        self._enforces(found)
        return found

    def _enforces(self, content: Content) -> None:
        assert self._sees_now() is content

    def _sees(self, legal: set[Content]) -> None:
        assert self._sees_now() in legal

    def _sees_now(self) -> Content:
        """What a launch has at this moment: all of one, or it would be nothing that is known."""
        done = self._box.launch("python3", "-I", "-c", ASK)
        self.counts["launches"] += 1
        [found] = [one for one in (OLD, NEW, BASE) if one.says == done.stdout.strip()] or [None]
        assert found, (done.stdout, done.stderr)
        return found

    def _done(self, ended: Ended, wanted: Content) -> Content:
        assert (ended.code, ended.answer.get("digest")) == (0, wanted.built.digest), ended
        return wanted

    # How it is done.

    def _activate(
        self, wanted: Content, *, narrows: bool, within: str | None = None, kill_s: float | None = None
    ) -> Ended:
        words = [
            *("activate", wanted.built.digest, "--bundle", "-", "--clear-quarantine"),
            *([] if narrows else _KNOWN),
            *(["--confirm-within", within] if within else []),
        ]
        return self._verb(*words, stdin=wanted.built.tar, kill_s=kill_s)

    def _verb(self, *words: str, stdin: bytes = b"", kill_s: float | None = None) -> Ended:
        """Over a connection of its own, as a push; `timeout` kills the program and nothing beside it."""
        deadly = ["timeout", "--foreground", "--signal=KILL", f"{kill_s:.3f}"] if kill_s else []
        argv = ["sudo", "-n", "--", *deadly, paths.HOST_PROGRAM, *words]
        done = self._host.ssh(argv, data=stdin, check=False)
        whole = done.stdout.endswith(b"\n")
        return Ended(done.returncode, json.loads(done.stdout) if whole else {})

    @contextmanager
    def _without_bwrap(self) -> Iterator[None]:
        both = f"{paths.BWRAP} {PACKAGED}"
        self._sh(f"chmod 0 {both}")
        yield
        self._sh(f"chmod 755 {both}")

    def _sh(self, script: str) -> str:
        return self._host.exec(["sh", "-c", script]).stdout.decode()


def _files(tar: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        files = [info for info in opened if info.isfile()]
        return {info.name.removeprefix("./"): opened.extractfile(info).read() for info in files}  # type: ignore[union-attr]
