"""YAML as nodes with places: what is read, what is refused, and that nothing hostile gets far."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleetbox.policy import positions
from fleetbox.policy.errors import Violation
from fleetbox.policy.positions import Node, Source, compose


def read(text: str) -> tuple[Node | None, list[Violation]]:
    return compose(Source.of("f.yml", text), text)


def plain(text: str) -> object:
    node, violations = read(text)
    assert violations == []
    assert node is not None
    return node.plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("True", "True"),
        ("'true'", "true"),
        ("12", 12),
        ("-1", -1),
        ("'12'", "12"),
        ("012", "012"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1.5", "1.5"),
        ("9" * 5000, "9" * 5000),
        ("2024-01-01", "2024-01-01"),
        ("null", None),
        ("~", "~"),
        ("~/.ssh", "~/.ssh"),
        ("=", "="),
    ],
)
def test_only_true_false_null_and_decimal_numbers_are_not_text(text: str, value: object) -> None:
    assert plain(f"a: {text}") == {"a": value}


def test_an_alias_stands_for_its_anchor() -> None:
    assert plain("a: &x [1, {b: c}]\nd: *x\n") == {"a": [1, {"b": "c"}], "d": [1, {"b": "c"}]}


@pytest.mark.parametrize(
    ("text", "problem", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", "key given twice", 3, 1),
        ("a: 1\n---\nb: 2\n", "a second document", 2, 1),
        ("a: !!python/object/apply:os.system [x]\n", "a YAML tag", 1, 4),
        ("a: !!str 1\n", "a YAML tag", 1, 4),
        ("1: a\n", "a key that is not text", 1, 1),
        ("true: a\n", "a key that is not text", 1, 1),
        ("? [a]\n: b\n", "a key that is not text", 1, 3),
        ("a: *b\n", "no anchor named b", 1, 4),
        ("a: &b [*b]\n", "an alias that contains itself", 1, 8),
        ("a:\n\tb: 1\n", "not readable as YAML", 2, 1),
        ("a: \x1b[2J\n", "a character that no YAML file may hold", 1, 4),
        ("a: \x00\n", "a character that no YAML file may hold", 1, 4),
        ("a: [1\n", "not readable as YAML", 1, 1),
        ("a: 'b\n", "not readable as YAML", 1, 1),
        ("a: @b\n", "not readable as YAML", 1, 4),
    ],
)
def test_what_is_wrong_with_the_yaml_is_said_at_its_place(
    text: str, problem: str, line: int, column: int
) -> None:
    _, violations = read(text)
    found = violations[0]
    assert found.problem.startswith(problem)
    if "readable" not in problem or column > 1:
        assert (found.line, found.column) == (line, column)


def test_a_tab_is_named_as_the_reason() -> None:
    _, violations = read("a:\n\tb: 1\n")
    assert "tab" in violations[0].hint


def test_a_duplicate_key_keeps_the_first_value_and_names_its_line() -> None:
    node, violations = read("a: 1\na: 2\n")
    assert node is not None
    assert node.plain() == {"a": 1}
    assert "line 1" in violations[0].hint


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [" + ",".join("x" * 10) + "]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [laughs(9), "[" * 100_000, "{a: " * 60_000, "- " * 100_000, "a: &a [x]\n" + "b: [*a]\n" * 40_000],
    ids=["billion laughs", "flow nesting", "mapping nesting", "block nesting", "many aliases"],
)
@pytest.mark.timeout(60)  # no measurement: it ends, or it explodes
def test_a_bomb_is_refused_before_it_goes_off(text: str) -> None:
    node, violations = read(text)
    assert node is None
    assert violations


def test_nesting_through_aliases_counts() -> None:
    text = "d0: &d0 [x]\n" + "".join(f"d{i}: &d{i} [*d{i - 1}]\n" for i in range(1, 60))
    _, violations = read(text)
    assert violations[0].problem == "nested too deeply"


def test_lines_are_counted_as_yaml_counts_them() -> None:
    node, _ = read("a: '\x85\u2028'\r\nb: 1\nc: 1\n")
    assert node is not None
    place = node.at(("c",)).position
    assert place.source.lines[place.line - 1] == "c: 1"


@given(st.text(alphabet=st.sampled_from("ab:-[]{},&*!|>'\"#%@`? \n\t~\x85\u2028é\U0001f600"), max_size=40))
def test_any_text_is_a_node_or_violations_and_both_loaders_agree(text: str) -> None:
    node, violations = read(text)
    assert node is None or not isinstance(node, list)
    for violation in violations:
        assert 1 <= violation.line <= len(Source.of("f", text).lines)
    saved = positions._LOADER
    positions._LOADER = yaml.SafeLoader
    try:
        other, other_violations = read(text)
    finally:
        positions._LOADER = saved
    if node is not None and other is not None and not violations and not other_violations:
        assert node.plain() == other.plain()
