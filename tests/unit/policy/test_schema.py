"""What is published for authors is what the model says: JSON Schema, reference, presets."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from fleetbox.policy import load_preset, presets, reference, schema
from fleetbox.policy.model import Body, Policy, Section, mutability
from fleetbox.policy.positions import Source, compose
from fleetbox.policy.words import Mutability
from tests.unit.policy.documents import bodies

DOCS = Path(__file__).resolve().parents[3] / "docs"
VALIDATOR = jsonschema.Draft202012Validator(schema.json_schema())


def test_the_published_schema_is_the_models() -> None:
    assert (DOCS / "policy.schema.json").read_text() == schema.text(), "run `make generate`"


def test_the_reference_lists_the_models_fields() -> None:
    text = (DOCS / "policy.md").read_text()
    assert text == reference.rewritten(text), "run `make generate`"
    assert "`network.outbound[].ports`" in text


def test_the_schema_is_a_schema() -> None:
    VALIDATOR.check_schema(schema.json_schema())


@pytest.mark.parametrize("name", presets.names())
def test_presets_and_what_they_resolve_to_validate(name: str) -> None:
    text = (presets.directory() / f"{name}.yml").read_text()
    node, _ = compose(Source.of(name, text), text)
    assert node is not None
    VALIDATOR.validate(node.plain())
    VALIDATOR.validate(load_preset(name).document())


@given(bodies())
def test_valid_policies_validate(body: dict[str, Any]) -> None:
    VALIDATOR.validate(
        {"apiVersion": "fleetbox/v1", "kind": "SandboxPolicy", "metadata": {"name": "a"}, **body}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "rw"},
        {"process": {"limits": {"memory": None}}},
        {"process": {"allowed_binaries": None}},
        {"filesystem": {"unknown": 1}},
        {"network": {"mode": "proxy", "outbound": [{"host": "a.b", "ports": [0]}]}},
        {"metadata": {"name": "A/B"}},
    ],
)
def test_the_schema_refuses_what_an_editor_should_mark(wrong: dict[str, Any]) -> None:
    document = {"apiVersion": "fleetbox/v1", "kind": "SandboxPolicy", "metadata": {"name": "a"}} | wrong
    assert not VALIDATOR.is_valid(document)


def test_every_section_declares_when_a_change_takes_effect() -> None:
    for name, info in Body.model_fields.items():
        assert isinstance(info.json_schema_extra, dict), name
        assert info.json_schema_extra["x-mutability"] in list(Mutability)
    assert mutability("network.outbound[x.y]") is Mutability.LIVE
    assert mutability("environment.pass[network.mode]") is Mutability.STATIC


def test_every_field_says_what_it_means() -> None:
    def undescribed(model: type[Section]) -> list[str]:
        missing = []
        for name, info in model.model_fields.items():
            inner = info.annotation
            if isinstance(inner, type) and issubclass(inner, Section):
                missing += undescribed(inner)
            elif not info.description:
                missing.append(f"{model.__name__}.{name}")
        return missing

    assert undescribed(Policy) == []
