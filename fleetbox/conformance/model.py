"""Results as the control machine keeps them, and the strict reading of what a host says.

A host's words are hostile: every field has a limit and no text may hold a control character. Severities
and titles come from the catalogue, never from a host; and an answer is believed for its own host only.
"""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from fleetbox.hostside import checks
from fleetbox.hostside.manifest import CHECK_ID, DIGEST

MAX_RESULTS = 200


class Status(StrEnum):
    """What came of a check. A host says the first six; `stale` and `missing` are the control machine's."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"
    NOT_RUN = "not_run"
    STALE = "stale"
    MISSING = "missing"


class Severity(StrEnum):
    """The worst first, as in `hostside.checks.SEVERITIES`."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    def at_least(self, other: "Severity") -> bool:
        """Whether this one is as bad as the other, or worse."""
        return checks.SEVERITIES.index(self) <= checks.SEVERITIES.index(other)


class HostState(StrEnum):
    """How far the control machine got with a host."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted"
    FAILED = "failed"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds control characters")
    return text


Text = Annotated[str, Field(max_length=600), AfterValidator(_printable)]
Name = Annotated[str, Field(max_length=128), AfterValidator(_printable)]
CheckId = Annotated[str, Field(pattern=f"^{CHECK_ID.pattern}$")]
Digest = Annotated[str, Field(pattern=f"^({DIGEST.pattern})?$")]
HostId = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Number = Annotated[StrictInt, Field(ge=-(2**31), lt=2**31)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Control(_Frozen):
    """Whether a control did what it had to."""

    ok: StrictBool
    detail: Text = ""


class Controls(_Frozen):
    """The same action outside the sandbox, and what is allowed inside."""

    outside: Control
    inside: Control


class Observed(_Frozen):
    """What the deciding attempt came to."""

    op: Name = ""
    path: Text | None = None
    errno: Name | None = None
    exit: Number | None = None
    signal: Number | None = None


_UNTRIED = Controls(outside=Control(ok=False), inside=Control(ok=False))


class Result(_Frozen):
    """One outcome of one check on one host."""

    check_id: CheckId
    check_version: Number = 0
    status: Status
    reason: Name = ""
    expected: Text = ""
    observed: Observed = Observed()
    controls: Controls = _UNTRIED
    message: Text = ""
    duration_ms: Number = 0

    @property
    def severity(self) -> Severity:
        """The catalogue's; a check that this version does not know counts as critical."""
        known = checks.BY_ID.get(self.check_id)
        return Severity(known.severity) if known else Severity.CRITICAL


class Spoke(_Frozen):
    """What a host says of itself beside its results."""

    host_id: HostId = ""
    kernel: Name = ""
    user: Name = ""
    launcher: Digest = ""
    policy: Name = ""
    digest: Digest = ""
    bundle: Digest = ""
    generation: Number | None = None


class Answer(_Frozen):
    """The answer of `fleetbox-host probe`."""

    schema_version: Literal[1]
    results: tuple[Result, ...] = Field(max_length=MAX_RESULTS)
    host: Spoke


class HostRecord(_Frozen):
    """One host in one run. `intended` is the policy digest it was judged by, "" where nothing was pushed."""

    name: str
    groups: tuple[str, ...] = ()
    state: HostState
    reason: str = ""
    hint: str = ""
    policy: str = ""
    intended: Digest = ""
    host: Spoke = Spoke()
    results: tuple[Result, ...] = ()


class Run(_Frozen):
    """One collection over many hosts."""

    run_id: str
    started: datetime
    finished: datetime
    fleetbox_version: str
    trigger: Literal["verify", "push"]
    selection: str = ""
    hosts: tuple[HostRecord, ...]


class AnswerInvalid(Exception):
    """A host's answer is not one; the text says which rule it breaks, without quoting it."""


def parse_answer(text: bytes) -> Answer:
    """Raises AnswerInvalid."""
    try:
        answer = Answer.model_validate(json.loads(text))
    except (ValueError, RecursionError) as problem:
        raise AnswerInvalid(_problem(problem)) from None
    return _spoken(answer)


def parse_results(values: object) -> tuple[Result, ...]:
    """The results in an answer to `activate`, under the same rules. Raises AnswerInvalid."""
    if not isinstance(values, list):
        raise AnswerInvalid("the results are not a list")
    envelope = {"schema_version": 1, "results": values, "host": {}}
    return parse_answer(json.dumps(envelope).encode()).results


def _spoken(answer: Answer) -> Answer:
    ids = [result.check_id for result in answer.results]
    if len(set(ids)) != len(ids):
        raise AnswerInvalid("a check has more than one result")
    if any(result.status in (Status.STALE, Status.MISSING) for result in answer.results):
        raise AnswerInvalid("a result has a status that a host cannot give")
    return answer


def _problem(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        first = problem.errors(include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return "it is not JSON"


def now() -> datetime:
    """The time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
