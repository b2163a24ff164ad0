"""What GPU probes conclude: a GPU too many always fails, and what fails outside, too, says nothing."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from fleetbox.hostside.detect.gpu.model import Gpu
from fleetbox.hostside.probes.gpu import nodes
from fleetbox.hostside.probes.gpu.closed import Closed
from fleetbox.hostside.probes.gpu.compute import Computes
from fleetbox.hostside.probes.gpu.nodes import Undeclared, Visible, opened
from fleetbox.hostside.probes.gpu.present import Present
from fleetbox.hostside.probes.gpu.selection import Instance, Picked
from fleetbox.hostside.probes.outcome import Attempt, Outcome, Tried, Verdict
from fleetbox.hostside.probes.trial import Asked, Denied

UUIDS = [f"5a1b2c3d-0000-1111-2222-33334444000{number}" for number in range(3)]
PCI = ["0000:01:00.0", "0000:41:00.0", "0000:81:00.0"]
HUNG = Outcome(False, "ETIMEDOUT")
CRASHED = Outcome(False, signal=11)
MISSING = ["dlopen", 0, "libcuda.so.1: cannot open shared object file"]


def given(number: int, *instances: int) -> Picked:
    words = ("nvidia", "H100", f"GPU-{UUIDS[number].upper()}", PCI[number])
    gpu = Gpu(*words, number, "570.1", [f"/dev/nvidia{number}"], "ok", "", "", [])
    return Picked(gpu, tuple(Instance(f"MIG-{UUIDS[number]}", ()) for number in instances))


def said(*numbers: int, failed: Any = None, library: str = "libcuda.so.1") -> Outcome:
    devices = [[UUIDS[number], PCI[number], "H100", 81920] for number in numbers]
    answer = {"library": library, "version": "12.8", "failed": failed, "devices": devices}
    return Outcome(True, value=json.dumps(answer))


NO_LIBRARY = said(failed=MISSING, library="")
REFUSED = said(failed=["cuInit", 304, "CUDA_ERROR_OPERATING_SYSTEM"])


def computed(
    inside: Outcome, outside: Outcome, *numbers: int, required: bool = False, picked: Sequence[Picked] = ()
) -> Verdict:
    trial = Computes("", {"nvidia": picked or [given(number) for number in numbers]}, required)
    [target] = trial.targets
    return trial.judge([Tried(target, inside, outside)], [])


@pytest.mark.parametrize(
    ("inside", "outside", "picked", "status", "reason"),
    [
        (said(0, 1), said(0, 1), (0, 1), "pass", "computes"),
        (said(1), said(0, 1), (1,), "pass", "computes"),
        (said(0, 1), said(0, 1), (1,), "fail", "not_selected"),
        (said(0), said(0, 1), (1,), "fail", "not_selected"),
        (said(0, 2), NO_LIBRARY, (0,), "fail", "not_selected"),
        (said(0), said(0, 1), (0, 1), "fail", "gpu_missing"),
        (said(0), said(0), (0, 1), "inconclusive", "control_failed"),
        (said(), said(0), (0,), "fail", "gpu_missing"),
        (REFUSED, said(0), (0,), "fail", "gpu_unusable"),
        (REFUSED, REFUSED, (0,), "inconclusive", "control_failed"),
        (said(0), REFUSED, (0,), "inconclusive", "control_failed"),
        (NO_LIBRARY, said(0), (0,), "fail", "library_hidden"),
        (NO_LIBRARY, NO_LIBRARY, (0,), "not_applicable", "library_missing"),
        (HUNG, said(0), (0,), "inconclusive", "hang"),
        (HUNG, HUNG, (0,), "inconclusive", "control_failed"),
        (CRASHED, said(0), (0,), "error", "probe_crash"),
        (Outcome(True, value="nonsense"), said(0), (0,), "error", "probe_crash"),
    ],
)
def test_computing(
    inside: Outcome, outside: Outcome, picked: tuple[int, ...], status: str, reason: str
) -> None:
    verdict = computed(inside, outside, *picked)
    assert (verdict.status, verdict.reason) == (status, reason), verdict.message


def test_a_failed_call_is_evidence_with_its_name_number_and_usual_cause() -> None:
    verdict = computed(REFUSED, said(0), 0)
    assert verdict.observed["errno"] == "CUDA_ERROR_OPERATING_SYSTEM (304)"
    assert verdict.message.startswith("cuInit: 304 CUDA_ERROR_OPERATING_SYSTEM (the system refused")
    assert verdict.outside.ok
    assert not verdict.inside.ok


def test_without_a_library_nothing_passes_and_a_required_gpu_is_in_doubt() -> None:
    verdict = computed(NO_LIBRARY, NO_LIBRARY, 0, required=True)
    assert (verdict.status, verdict.reason) == ("inconclusive", "library_missing")
    assert "library missing: libcuda.so.1" in verdict.message


def test_of_a_shared_out_gpu_one_instance_is_enough_and_must_be_one_that_is_given() -> None:
    ours = [given(0, 1)]
    assert computed(said(1), said(1), picked=ours).status == "pass"
    assert computed(said(2), said(1), picked=ours).reason == "not_selected"
    assert computed(said(), said(1), picked=ours).reason == "gpu_missing"
    assert computed(said(2), said(1), picked=[given(0, 1, 2)]).status == "pass"


def test_of_several_vendors_the_worst_counts() -> None:
    picked = {"nvidia": [given(0)], "amd": [given(1)]}
    trial = Computes("", picked, required=False)

    def judge(*inside: Outcome) -> str:
        rows = [Tried(t, i, o) for t, i, o in zip(trial.targets, inside, (said(0), said(1)), strict=True)]
        return trial.judge(rows, []).status

    assert judge(said(0), said(1)) == "pass"
    assert judge(said(0), REFUSED) == "fail"
    assert judge(HUNG, said(1)) == "inconclusive"


def test_behind_one_node_for_all_no_gpu_may_get_lost() -> None:
    windows = Picked(Gpu("wsl", "", "", "", None, "", ["/dev/dxg"], "ok", "", "", []))
    assert computed(said(0, 1), said(0, 1), picked=[windows]).status == "pass"
    assert computed(said(0), said(0, 1), picked=[windows]).reason == "gpu_missing"


@pytest.mark.parametrize("inside", [said(0), said(0, 1), said(), REFUSED, NO_LIBRARY, HUNG])
def test_a_cdi_device_of_which_nothing_says_which_gpus_it_is_never_passes_or_fails(inside: Outcome) -> None:
    name = "nvidia.com/gpu=0"
    device = Picked(Gpu("cdi", name, name, "", None, "", ["/dev/nvidia0"], "", "", "", []))
    verdict = computed(inside, said(0, 1), picked=[device])
    assert (verdict.status, verdict.reason) == ("inconclusive", "gpu_unknown")
    assert name in verdict.message


WORKED, ABSENT, CLOSED = Outcome(True), Outcome(False, "ENOENT"), Outcome(False, "EACCES")
TWIN = (Attempt("open_device", {"path": "/dev/null"}), WORKED)


def visible(shown: Sequence[Outcome], hidden: Sequence[tuple[Outcome, Outcome]]) -> Verdict:
    rows = [Tried(opened("/dev/nvidia0"), inside, WORKED) for inside in shown]
    rows += [Tried(opened("/dev/nvidia1"), inside, outside) for inside, outside in hidden]
    return Visible("", [row.attempt for row in rows], len(shown)).judge(rows, [TWIN])


@pytest.mark.parametrize(
    ("shown", "hidden", "status"),
    [
        ([WORKED], [(ABSENT, WORKED)], "pass"),
        ([WORKED], [(WORKED, WORKED)], "fail"),
        ([WORKED], [(WORKED, CLOSED)], "fail"),
        ([ABSENT], [(ABSENT, WORKED)], "fail"),
        ([WORKED], [(ABSENT, CLOSED)], "pass"),
        ([], [(ABSENT, CLOSED)], "not_applicable"),
        ([], [(ABSENT, Outcome(False))], "inconclusive"),
        ([], [(Outcome(False), WORKED)], "error"),
    ],
)
def test_visible(shown: list[Outcome], hidden: list[tuple[Outcome, Outcome]], status: str) -> None:
    assert visible(shown, hidden).status == status


def test_a_right_to_an_instance_is_opened_for_reading() -> None:
    assert opened("/dev/nvidia-caps/nvidia-cap3").arguments["write"] is False
    assert opened("/dev/char/236:3", "/dev/nvidia-caps/nvidia-cap3").arguments["write"] is False
    assert opened("/dev/nvidia0").arguments["write"] is True


def reached(*rows: tuple[Outcome, Outcome], computing: tuple[Outcome, Outcome] | None = None) -> Verdict:
    tried = [Tried(opened("/dev/nvidia0"), *row) for row in rows]
    if computing:
        tried.append(Tried(Attempt("compute", {"vendor": "nvidia"}), *computing))
    return Undeclared("", [row.attempt for row in tried], bool(computing)).judge(tried, [TWIN])


@pytest.mark.parametrize(
    ("ways", "computing", "status"),
    [
        ([(ABSENT, WORKED)], None, "pass"),
        ([(ABSENT, WORKED), (WORKED, CLOSED)], None, "fail"),
        ([(ABSENT, WORKED)], (REFUSED, said(0)), "pass"),
        ([(ABSENT, WORKED)], (NO_LIBRARY, NO_LIBRARY), "pass"),
        ([(ABSENT, WORKED)], (said(0), said(0)), "fail"),
        ([(ABSENT, WORKED)], (HUNG, said(0)), "inconclusive"),
        ([(ABSENT, WORKED)], (CRASHED, said(0)), "inconclusive"),
        ([(ABSENT, CLOSED)], None, "not_applicable"),
    ],
)
def test_undeclared(
    ways: list[tuple[Outcome, Outcome]], computing: tuple[Outcome, Outcome] | None, status: str
) -> None:
    assert reached(*ways, computing=computing).status == status


def test_what_was_not_tried_is_said() -> None:
    tried = [Tried(opened("/dev/nvidia0"), ABSENT, WORKED)]
    trial = Undeclared("", [row.attempt for row in tried], computing=False, left_out=3)
    verdict = trial.judge(tried, [TWIN])
    assert verdict.status == "pass"
    assert verdict.message.endswith("; 3 more nodes were not tried")
    assert "not tried" not in reached((ABSENT, WORKED)).message


def test_a_node_of_every_kind_is_tried_before_a_second_of_any(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ("/dev/nvidiactl", "/dev/dri/renderD128", "/dev/nvidia-caps/nvidia-cap1")
    other = (*(f"/dev/nvidia{number}" for number in range(30)), *kinds)
    monkeypatch.setattr(nodes, "present", lambda _: Present("nvidia", (), (), (), other, ()))
    monkeypatch.setattr(nodes, "_ways", lambda node, _: [opened(node)])
    unused: Any = None
    trial = nodes.undeclared(unused, Asked({"gpu": "none"}, None, (), ""))
    assert isinstance(trial, Undeclared)
    paths = [target.arguments["path"] for target in trial.targets[:-1]]
    assert paths == ["/dev/nvidia0", *kinds, *(f"/dev/nvidia{number}" for number in range(1, 21))]
    assert trial.left_out == 9


def test_what_level_zero_only_sees_did_not_compute() -> None:
    devices = [["", "", "Arc A770", 0]]
    answer = {"library": "libze_loader.so.1", "version": "", "failed": None, "devices": devices}
    shown = Outcome(True, value=json.dumps(answer))
    gpu = Gpu("intel", "", "", PCI[0], None, "", ["/dev/dri/renderD128"], "ok", "", "", [])
    verdict = computed(shown, shown, picked=[Picked(gpu)])
    assert (verdict.status, verdict.message) == ("pass", "1 GPU seen by Level Zero: Arc A770")


PART = Denied("", [Attempt("reach_tcp", {"address": "192.0.2.1", "port": 9})], [Attempt("own_loopback", {})])


def process(*outcomes: Outcome, used: Outcome = REFUSED) -> Outcome:
    tried = [one._asdict() for one in outcomes]
    return Outcome(True, value=json.dumps({"computed": json.loads(used.value), "tried": tried}))


def closed(inside: Outcome, outside: Outcome) -> Verdict:
    trial = Closed("", "nvidia", {"FBX-NET-001": PART})
    [target] = trial.targets
    return trial.judge([Tried(target, inside, outside)], [])


NO_ROUTE = Outcome(False, "ENETUNREACH")


@pytest.mark.parametrize(
    ("inside", "outside", "status", "reason"),
    [
        (process(NO_ROUTE, WORKED), process(WORKED, WORKED), "pass", "closed"),
        (process(NO_ROUTE, WORKED, used=said(0)), process(WORKED, WORKED), "pass", "closed"),
        (process(WORKED, WORKED), process(WORKED, WORKED), "fail", "not_denied"),
        (process(NO_ROUTE, WORKED), process(NO_ROUTE, WORKED), "inconclusive", "control_failed"),
        (process(NO_ROUTE, NO_ROUTE), process(WORKED, WORKED), "inconclusive", "control_failed"),
        (process(NO_ROUTE), process(WORKED, WORKED), "inconclusive", "control_failed"),
        (HUNG, process(WORKED, WORKED), "inconclusive", "hang"),
        (CRASHED, process(WORKED, WORKED), "error", "probe_crash"),
        (
            process(NO_ROUTE, WORKED, used=NO_LIBRARY),
            process(WORKED, WORKED),
            "inconclusive",
            "library_missing",
        ),
        (
            process(NO_ROUTE, WORKED, used=NO_LIBRARY),
            process(WORKED, WORKED, used=NO_LIBRARY),
            "not_applicable",
            "library_missing",
        ),
    ],
)
def test_closed(inside: Outcome, outside: Outcome, status: str, reason: str) -> None:
    verdict = closed(inside, outside)
    assert (verdict.status, verdict.reason) == (status, reason), verdict.message


def test_what_stays_closed_is_said_with_what_came_before() -> None:
    passed = closed(process(NO_ROUTE, WORKED), process(WORKED, WORKED))
    assert passed.message.startswith("after cuInit: 304 CUDA_ERROR_OPERATING_SYSTEM")
    assert "FBX-NET-001" in passed.message
