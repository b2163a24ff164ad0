"""Whatever `fleetbox-host` can do, somebody has decided whether the push account may."""

import argparse
import re

from fleetbox.hostside import __main__ as program
from fleetbox.hostside.forced import ALLOWED, REFUSED

# The options that the account may give, from the shapes.
GIVEN = {option for allowed in ALLOWED for option in re.findall(r"--[a-z-]+[a-z]", allowed.arguments)}
HELP = {"-h", "--help"}


def _verbs() -> dict[str, argparse.ArgumentParser]:
    [subparsers] = [
        action for action in program._parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    return dict(subparsers.choices)


def test_every_verb_is_allowed_or_refused_for_a_reason() -> None:
    allowed = {entry.verb for entry in ALLOWED}
    assert allowed.isdisjoint(REFUSED)
    assert allowed <= _verbs().keys()
    undecided = _verbs().keys() - allowed - REFUSED.keys()
    assert not undecided, "put them into a table of fleetbox/hostside/forced.py, with the reason"


def test_every_option_of_an_allowed_verb_is_allowed_or_refused_for_a_reason() -> None:
    for entry in ALLOWED:
        options = {word for action in _verbs()[entry.verb]._actions for word in action.option_strings} - HELP
        undecided = options - set(re.findall(r"--[a-z-]+[a-z]", entry.arguments)) - REFUSED.keys()
        assert not undecided, f"{entry.verb}: put them into a table of fleetbox/hostside/forced.py"


def test_nothing_that_is_refused_is_part_of_a_shape() -> None:
    assert GIVEN.isdisjoint(REFUSED)
    assert sorted(GIVEN) == [
        "--check",
        "--clear-quarantine",
        "--confirm-within",
        "--delivery",
        "--since",
        "--verify",
    ]


def test_nothing_that_names_its_own_content_is_part_of_a_shape() -> None:
    """What is activated is what was signed: no digest and no number of the sender's choice."""
    for entry in ALLOWED:
        if entry.verb in ("stage", "activate", "rollback"):
            assert entry.arguments.startswith(" --delivery -")
            assert "sha256" not in entry.arguments
