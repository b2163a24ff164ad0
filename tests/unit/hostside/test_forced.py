"""What the push account may ask for: the table's shapes, and nothing that looks like one."""

import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbox.bundle import Bundle
from fleetbox.conformance import collect
from fleetbox.fleet.inventory import Host
from fleetbox.hostside import paths
from fleetbox.hostside.__main__ import main
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.forced import ALLOWED, AS_ROOT, VARIABLE, judged
from fleetbox.hostside.paths import Places
from fleetbox.rollout import calls, reasons
from fleetbox.rollout.shipment import Plain, Shipment
from fleetbox.transport import Completed, Transport

PROGRAM = paths.HOST_PROGRAM
DIGEST = "sha256:" + "0123456789abcdef" * 4
EXAMPLES = {
    "facts": ["facts"],
    "status": ["status"],
    "activate": [
        "activate --delivery -",
        "activate --delivery - --confirm-within 60",
        "activate --delivery - --clear-quarantine --confirm-within 60",
    ],
    "confirm": ["confirm 12 0123456789abcdef0123456789abcdef"],
    "probe": ["probe"],
    "gpu": ["gpu", "gpu --check"],
    "gc": ["gc"],
    "audit": ["audit", "audit --since 3", "audit --verify"],
}
SENT = [f"{PROGRAM} {words}" for examples in EXAMPLES.values() for words in examples]
PREFIX = " ".join(AS_ROOT)


def refused(text: str | None) -> HostError:
    with pytest.raises(HostError) as caught:
        judged(text)
    assert (caught.value.code, caught.value.exit_code) in (("not_allowed", 2), ("unsigned", 6))
    return caught.value


def test_every_entry_has_an_example_here() -> None:
    assert EXAMPLES.keys() == {allowed.verb for allowed in ALLOWED}


@pytest.mark.parametrize("command", SENT)
def test_what_is_allowed_is_taken_word_for_word_with_sudo_or_without(command: str) -> None:
    assert judged(command) == command.split(" ")[1:]
    assert judged(f"{PREFIX} {command}") == command.split(" ")[1:]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " ",
        "id",
        "sh -c id",
        PROGRAM,
        f"{PROGRAM} ",
        f"{PROGRAM} install",
        f"{PROGRAM} install --check",
        f"{PROGRAM} forced",
        f"{PROGRAM} why --json --last 5",
        f"{PROGRAM} why -- id",
        f"{PROGRAM} activate",
        f"{PROGRAM} activate --delivery - --no-smoke",
        f"{PROGRAM} activate --delivery - --unsigned",
        f"{PROGRAM} activate --delivery /etc/shadow",
        f"{PROGRAM} activate --delivery",
        f"{PROGRAM} activate --delivery - {DIGEST}",
        f"{PROGRAM} activate --delivery - --bundle -",
        f"{PROGRAM} activate --delivery - --debug",
        f"{PROGRAM} activate --delivery - --not-narrower-than {DIGEST}",
        f"{PROGRAM} stage {DIGEST}",
        f"{PROGRAM} facts --for-ansible",
        f"{PROGRAM} --version",
        f"{PROGRAM} -h",
        f"{PROGRAM} audit --since 0",
        f"{PROGRAM} audit --since ²",
        f"{PROGRAM} audit --since 1\u0662",
        f"{PROGRAM} audit --since=7",
        f"{PROGRAM} audit --since 1234567890",
        f"{PROGRAM} gc --keep 2",
        f"{PROGRAM} watchdog --once",
        f"{PROGRAM} activate --delivery -" + " --clear-quarantine" * 3,
        f"{PROGRAM} stale",
        f"{PROGRAM} confirm 1",
        f"{PROGRAM} confirm 1 short",
        "fleetbox-host status",
        "./fleetbox-host status",
        "/tmp/usr/local/bin/fleetbox-host status",
        f"{PROGRAM}/../fleetbox-host status",
        f"sudo -n -- {PROGRAM} status",
        f"sudo {PROGRAM} status",
        f"env LC_ALL=C PATH=/tmp sudo -n -- {PROGRAM} status",
        f"{PREFIX} {PREFIX} {PROGRAM} status",
        f"{PREFIX} /bin/sh",
        f"{PREFIX} /usr/bin/python3 -I -S -",
        "scp -t /tmp",
        "rsync --server . /",
        "internal-sftp",
        "/usr/lib/openssh/sftp-server",
    ],
)
def test_anything_else_is_refused(text: str | None) -> None:
    assert refused(text).code == "not_allowed" or text == f"{PROGRAM} activate"


@pytest.mark.parametrize("prefix", ["", f"{PREFIX} "])
@pytest.mark.parametrize(
    "words",
    [
        "activate",
        f"activate {DIGEST}",
        f"activate {DIGEST} --bundle -",
        f"activate {DIGEST} --bundle - --confirm-within 60 --not-narrower-than {DIGEST}",
        f"activate {DIGEST} --no-smoke",
        f"activate {DIGEST} --delivery -",
        f"activate --bundle - {DIGEST}",
        f"activate --confirm-within 60 {DIGEST}",
        "rollback",
        "rollback --to 7",
        f"rollback --to 7 --confirm-within 60 --not-narrower-than {DIGEST}",
        "rollback --no-smoke",
    ],
)
def test_nothing_unsigned_is_taken_and_that_is_said(prefix: str, words: str) -> None:
    """Whether the host was told whom to trust or not: nothing here asks."""
    refusal = refused(f"{prefix}{PROGRAM} {words}")
    assert (refusal.code, refusal.exit_code) == ("unsigned", 6)
    assert words[:50] in refusal.message
    assert "fleetbox init" in refusal.hint


@pytest.mark.parametrize(
    "added",
    [
        "; id", ";id", "&& id", "& id", "| id", "\nid", "\n", "\r", "\r\n", "\t", " ", "\0", "$(id)", "`id`",
        "${IFS}id", "'", '"', "\\", "\\\n", "#", " #", ">/etc/x", "</etc/shadow", "*", "?", "~", "!!",
        "\u00a0", "\u2028", "\u200b", "é", "\udcff", "\x1b[2J", "\x7f", " --", " --debug", " x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [SENT[1], SENT[3], SENT[4]])
def test_nothing_can_be_added_before_within_or_after(command: str, added: str) -> None:
    for text in (command + added, added + command, command.replace(" ", f" {added} ", 1)):
        refused(text)


@pytest.mark.parametrize("quote", ["'{}'", '"{}"', "\\{}", "$'{}'"])
def test_a_word_that_is_quoted_is_another_word(quote: str) -> None:
    words = SENT[3].split(" ")
    for index, word in enumerate(words):
        refused(" ".join([*words[:index], quote.format(word), *words[index + 1 :]]))


TERMS = r"(?: --confirm-within [1-9][0-9]{0,8}| --clear-quarantine){0,2}"
SHAPE = re.compile(
    rf"(?:env LC_ALL=C sudo -n -- )?{PROGRAM} (?:facts|status|probe|gc|gpu(?: --check)?"
    r"|audit(?: --since [1-9][0-9]{0,8}| --verify)?"
    rf"|activate --delivery -{TERMS}|confirm [1-9][0-9]{{0,8}} [0-9a-f]{{32}})"
)
PIECES = st.sampled_from(
    [*AS_ROOT, PREFIX, PROGRAM, *EXAMPLES, DIGEST, "--bundle", "--delivery", "-", "--to", "7", "0", "--check",
     "install", "why", "--", " ", "  ", "\n", "\t", ";", "$(id)", "'", '"', "\\", "--no-smoke", "--debug",
     "sh", "0123456789abcdef"]
)  # fmt: skip
NEARLY = st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=9).map(" ".join)
CHANGED = st.tuples(st.sampled_from(SENT), st.integers(0, 200), st.text(max_size=2), st.integers(0, 2)).map(
    lambda drawn: drawn[0][: drawn[1]] + drawn[2] + drawn[0][drawn[1] + drawn[3] :]
)


@given(st.one_of(st.text(), NEARLY, CHANGED))
def test_what_is_accepted_is_one_of_the_shapes(text: str) -> None:
    try:
        words = judged(text)
    except HostError:
        assert not SHAPE.fullmatch(text)
        return
    assert SHAPE.fullmatch(text)
    assert shlex.split(text)[-len(words) :] == words, "a shell would have understood the same words"


def test_a_refusal_is_short_safe_to_show_and_says_why() -> None:
    said = refused("\x1b]0;x\x07" + "a" * 100_000).message
    assert len(said) < 400
    assert said.isprintable()
    assert "it replaces this program" in refused(f"{PROGRAM} install").message
    assert "asked for nothing" in refused(None).message
    assert "asked for nothing" in refused("").message


# -- through the frame --------------------------------------------------------------------------------


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(command: str, stdin: bytes = b"", *argv: str) -> tuple[int, dict[str, Any]]:
        monkeypatch.setenv(VARIABLE, command)
        code = main(["forced", *argv], stdin=io.BytesIO(stdin), places=Places(str(tmp_path)))
        [line] = capsys.readouterr().out.splitlines()
        return code, json.loads(line)

    return run


def test_an_allowed_verb_is_run(ask: Any) -> None:
    code, answer = ask(f"{PREFIX} {PROGRAM} status")
    assert (code, answer["generations"]) == (0, [])


def test_a_refused_one_is_not_and_the_answer_names_it(ask: Any) -> None:
    code, answer = ask(f"{PROGRAM} install")
    assert (code, answer["error"]["code"]) == (2, "not_allowed")
    assert f"{PROGRAM} install" in answer["error"]["message"]


def test_what_is_refused_as_unsigned_stays_known_on_the_host(ask: Any, tmp_path: Path) -> None:
    for directory in (paths.STATE, paths.LOGS):
        Path(Places(str(tmp_path)).under(directory)).mkdir(parents=True)
    code, answer = ask(f"{PROGRAM} rollback --to 3")
    assert (code, answer["error"]["code"]) == (6, "unsigned")
    [entry] = ask(f"{PROGRAM} audit")[1]["entries"]
    assert (entry["event"], entry["code"]) == ("refused", "unsigned")
    assert "rollback --to 3" in entry["message"]


def test_the_verb_itself_takes_no_arguments(ask: Any) -> None:
    code, answer = ask(f"{PROGRAM} status", b"", "status")
    assert (code, answer["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize("user", ["root", "dev", "nobody", "0"])
def test_checks_run_as_the_configured_user_or_not_at_all(ask: Any, tmp_path: Path, user: str) -> None:
    request = json.dumps({"checks": [], "user": user}).encode()
    assert ask(f"{PROGRAM} probe", request)[1]["error"]["code"] == "not_allowed"
    config = tmp_path / paths.HOST_CONFIG.lstrip("/")
    config.parent.mkdir(parents=True)
    config.write_text('{"workload_user": "daemon"}')
    assert ask(f"{PROGRAM} probe", request)[1]["error"]["code"] == "not_allowed"
    code, _ = ask(f"{PROGRAM} probe", json.dumps({"checks": [], "user": "daemon"}).encode())
    assert code == 0


@pytest.mark.parametrize(
    "params", [{"names": ["../../x"]}, {"a": {"b": ["${HOME}/../x"]}}, {"places": ["/a/.."]}]
)
def test_no_check_makes_files_somewhere_else(ask: Any, params: dict[str, Any]) -> None:
    request = json.dumps({"checks": [{"id": "FBX-FS-004", "params": params}]}).encode()
    assert ask(f"{PROGRAM} probe", request)[1]["error"]["code"] == "usage"


# -- what a control machine sends -----------------------------------------------------------------------


class Recorder:
    """A way to a host that notes what would go over it, as sshd would hand it on."""

    is_root = False
    local_address = None

    def __init__(self) -> None:
        self.sent: list[str] = []

    def run(self, argv: list[str], *, stdin: bytes = b"", timeout: float) -> Completed:
        self.sent.append(shlex.join(argv))
        return Completed(5, b"{}", b"")

    def close(self) -> None:
        pass


HOST = Host(name="h", groups=(), connection="ssh", address="h", port=None, user="push", identity_file=None)


def test_what_a_signed_push_verify_and_rollback_send_is_allowed() -> None:
    way = Recorder()
    transport: Transport = way
    terms = calls.Terms(clear_quarantine=True)
    # A signed rollback is one of these, too.
    calls.activate(transport, Shipment(DIGEST, ("--delivery", "-"), b""), terms)
    calls.confirm(transport, 12, "0123456789abcdef" * 2)
    calls.status(transport)
    calls.audit(transport, 1)
    collect.from_host(HOST, transport, collect.Intent("base", DIGEST, []))
    assert len(way.sent) == 5
    for command in way.sent:
        assert command.startswith(PREFIX)
        judged(command)


def test_what_a_machine_without_trust_sends_is_refused_as_unsigned() -> None:
    way = Recorder()
    transport: Transport = way
    terms = calls.Terms()
    plain = Plain(Bundle(DIGEST, b"", {}), not_narrower_than=(DIGEST,) * 10)
    calls.activate(transport, plain.to("h1"), terms)
    calls.rollback(transport, None, terms)
    calls.rollback(transport, 12, terms)
    assert [refused(command).code for command in way.sent] == ["unsigned"] * 3


def test_what_runs_programs_of_the_control_machine_s_choice_is_not() -> None:
    way = Recorder()
    calls.streamed_facts(way, paths.PYTHON)
    reasons.last(way, count=5, user=None)
    reasons.rerun(way, ("id",), user=None, policy=None, workspace=None, timeout=5)
    assert refused(way.sent[0])
    assert len([refused(command) for command in way.sent]) >= 3
