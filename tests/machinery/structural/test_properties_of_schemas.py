"""What holds for every schema and every object: above all, that the fast gates never say yes where the exact half says no."""

import copy
from typing import Any

import pytest
from custom_resources import OBJECT_META, structural
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import ANYTHING, cases, fitting, schemas, value_rules

from tiphys.machinery.errors import Path
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.schema import DecodeError
from tiphys.machinery.structural import non_structural_reasons, openapi, schema_errors, values
from tiphys.machinery.structural.correlation import same
from tiphys.machinery.structural.gates import value_gate
from tiphys.machinery.structural.pruning import copied

Case = tuple[dict[str, Any], dict[str, Any]]


@settings(max_examples=100, deadline=None)
@given(st.data(), schemas() | value_rules(2))
def test_the_gate_of_values_is_never_lax(data: st.DataObject, schema: dict[str, Any]) -> None:
    passes = value_gate(schema)
    for _ in range(4):
        value = copied(data.draw(fitting(schema) | ANYTHING))
        if passes(value):
            assert values.validate(value, schema, path=Path("a")) == []


@pytest.mark.parametrize("schema", [{"multipleOf": 1}, {"not": {"not": {"multipleOf": 1}}}])
@pytest.mark.parametrize("value", [1, None, "a", 2**53, float(2**53), float(2**63), -1e30])
def test_large_floats_are_no_multiples(schema: dict[str, Any], value: Any) -> None:
    if value_gate(schema)(value):
        assert values.validate(value, schema, path=Path("a")) == []


@pytest.mark.parametrize("word", ["Length", "Items", "Properties"])
@pytest.mark.parametrize("value", ["", "a", [], [1], {}, {"a": 1}, 1])
def test_limits_below_nothing(word: str, value: Any) -> None:
    """Nobody refuses a definition with them: at least so little is always there, at most so little never is."""
    assert value_gate({f"min{word}": -1})(value)
    most = {f"max{word}": -1}
    assert not value_gate(most)(value)
    assert value_gate({"properties": {"a": most}})({})


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [({"required": ["a", "a"]}, {"a": 1}, {}), ({"enum": ["a", 1, "a", 1]}, "a", "b")],
)
def test_what_is_said_twice(schema: dict[str, Any], good: Any, bad: Any) -> None:
    assert value_gate(schema)(good)
    assert not value_gate(schema)(bad)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_gate_of_reading_is_never_lax(case: Case) -> None:
    schema, value = case
    made = structural(schema)
    before = copy.deepcopy(value)
    try:
        untouched = made.check(value).object is value
    except DecodeError:
        return
    if untouched:
        exact, unknown = made._read(value)
        assert same(exact, value)
        assert unknown == []
    assert same(value, before)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_reading_and_defaulting_are_stable(case: Case) -> None:
    schema, value = case
    made = structural(schema)
    try:
        read = made.check(value).object
    except DecodeError:
        return
    again = made.check(read)
    assert same(again.object, read)
    assert again.complaints == ()
    filled = copied(read)
    made.default(filled)
    twice = copied(filled)
    made.default(twice)
    assert same(twice, filled)
    assert made.check(filled).complaints == ()


@settings(max_examples=40, deadline=None)
@given(cases())
def test_what_does_not_change_is_forgiven(case: Case) -> None:
    """An update that changes nothing is refused only for what ratcheting does not know: fields outside of the schema,
    and embedded resources."""
    schema, value = case
    made = structural(schema)
    try:
        read = made.check(value).object
    except DecodeError:
        return
    fresh, kept = made.validate(read), made.validate(read, read)
    assert set(map(str, kept)) <= set(map(str, fresh))


@settings(max_examples=40, deadline=None)
@given(schemas())
def test_every_schema_is_judged_and_published(schema: dict[str, Any]) -> None:
    root = {"type": "object", "properties": {"spec": schema}}
    errors = schema_errors(
        {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": root}}]}, None, object_meta=OBJECT_META
    )
    reasons = non_structural_reasons(root)
    assert {error.body() for error in reasons} <= {error.body() for error in errors}
    before = copy.deepcopy(root)
    for version in ("v2", "v3"):
        made = openapi(root, version=version, gvk=GroupVersionKind("g", "v1", "K"))
        assert made["type"] == "object"
    assert root == before
