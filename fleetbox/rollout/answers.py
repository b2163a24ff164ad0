"""What `fleetbox-host` answers, validated and capped: a host may be broken, or hostile.

Unknown keys are ignored, since a host may run a newer program; everything that is kept has a type, a
length and no terminal sequences.
"""

import json
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)

from fleetbox.hostside import paths
from fleetbox.hostside.chain import HASH
from fleetbox.hostside.manifest import DIGEST, POLICY_NAME
from fleetbox.hostside.pending import NONCE
from fleetbox.hostside.release import NUMBER_MAX
from fleetbox.transport import Completed, clean

_TEXT_LIMIT = 500


def _one_line(text: str) -> str:
    return " ".join(clean(text[:_TEXT_LIMIT]).split())


Text = Annotated[str, AfterValidator(_one_line)]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Digest = Annotated[str, StringConstraints(pattern=rf"^{DIGEST.pattern}$")]
Name = Annotated[str, StringConstraints(pattern=rf"^{POLICY_NAME.pattern}$")]
Number = Annotated[int, Field(ge=1, le=10**9, strict=True)]


class Answer(BaseModel):
    """What every answer has in common."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Head(Answer):
    """Where the audit trail of a host ends."""

    seq: Number
    hash: Annotated[str, StringConstraints(pattern=rf"^{HASH.pattern}$")]


class Floor(Answer):
    """The highest generation that a host was ever assigned."""

    generation: Annotated[int, Field(ge=0, le=NUMBER_MAX, strict=True)]


class Failure(Answer):
    """Why the host did not do it; `code` is for machines. `generation` is what it enforces now, if known.

    `baseline`: that is the strictest baseline, because going back further would have opened something.
    """

    code: Code
    message: Text
    hint: Text = ""
    rolled_back: bool = False
    baseline: bool = False
    generation: Number | None = None
    digest: Digest | None = None
    audit: Head | None = None
    floor: Floor | None = None


class Trial(Answer):
    """The generation stays only if `confirm` brings the nonce within so many seconds."""

    nonce: Annotated[str, StringConstraints(pattern=rf"^{NONCE.pattern}$")]
    within_s: Annotated[int, Field(ge=1, le=10**9, strict=True)]


class Activation(Answer):
    """What `activate` and `rollback` answer when the checks in the new sandbox have passed.

    `pending`: it is on trial. `repaired`: it was current before, but its content had been changed there.
    """

    changed: bool
    pending: Trial | None = None
    repaired: bool = False
    generation: Number
    previous: Number | None = None
    digest: Digest
    audit: Head | None = None


class Confirmation(Answer):
    """What `confirm` answers: the generation stays."""

    generation: Number
    digest: Digest
    audit: Head | None = None


class Generation(Answer):
    """One generation that the host keeps."""

    n: Number
    digest: Digest


class Status(Answer):
    """What the host enforces now; no generation: nothing yet."""

    generation: Number | None = None
    digest: Digest | None = None
    policies: tuple[Name, ...] = Field((), max_length=200)
    generations: tuple[Generation, ...] = Field((), max_length=10_000)


class TrailPage(Answer):
    """Some entries of a host's audit trail, as they are; what they mean is checked by `host_trails`."""

    entries: tuple[dict[str, JsonValue], ...] = Field(max_length=20_000)
    next: Number | None


_Model = TypeVar("_Model", bound=Answer)


def read(model: type[_Model], completed: Completed) -> _Model | Failure:
    """The answer, or the failure that the host reports or that its answer amounts to."""
    if completed.rc != 0:
        return failure(completed)
    try:
        return model.model_validate_json(completed.stdout)
    except ValidationError:
        return _unreadable(completed)


def failure(completed: Completed) -> Failure:
    """Why a command that ended badly did so: in the host program's words, or in ours."""
    try:
        answer = json.loads(completed.stdout)
        return Failure.model_validate({**answer, **answer["error"]})
    except (ValueError, KeyError, TypeError, RecursionError):
        return _unreadable(completed)


def _unreadable(completed: Completed) -> Failure:
    if program_missing(completed, paths.HOST_PROGRAM):
        return Failure(code="not_provisioned", message="fleetbox-host is not installed")
    if completed.rc == 0:
        return Failure(code="bad_answer", message="the answer is not one that fleetbox-host gives")
    return Failure(
        code="host_program_failed",
        message=f"fleetbox-host ended with {completed.rc}: {completed.words}",
        hint="ansible-playbook site.yml installs the program again",
    )


def program_missing(completed: Completed, program: str) -> bool:
    """Whether `program` was never there to start: a shell says 127; sudo says 1 and a sentence."""
    said = f"{program}: command not found".encode()
    return not completed.stdout and (completed.rc == 127 or (completed.rc == 1 and said in completed.stderr))
