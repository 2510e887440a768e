"""Rules of a schema, evaluated on objects."""

from typing import Any

import pytest
from custom_resources import obj, of_spec, structural, texts, widget

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


def rule(text: str, **more: Any) -> dict[str, Any]:
    return {"x-kubernetes-validations": [{"rule": text, **more}]}


def broken(
    schema: dict[str, Any], spec: Any, old: Any = None, warnings: list[str] | None = None
) -> list[str]:
    before = None if old is None else widget(spec=old)
    warn = None if warnings is None else warnings.append
    return texts(structural(schema).validate(widget(spec=spec), before, warn=warn))


REPLICAS = obj(min=INTEGER, max=INTEGER)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "spec: Invalid value: failed rule: self.min <= self.max"),
        ({"message": " too few "}, "spec: Invalid value: too few"),
        (
            {"messageExpression": "'at most %d'.format([self.max])", "message": "no"},
            "spec: Invalid value: at most 1",
        ),
        # A message that cannot be made is none.
        ({"messageExpression": "string(1 / (self.max - 1))", "message": "no"}, "spec: Invalid value: no"),
        ({"messageExpression": "'a\\nb'"}, "spec: Invalid value: failed rule: self.min <= self.max"),
        ({"fieldPath": ".max", "message": "no"}, "spec.max: Invalid value: no"),
        ({"reason": "FieldValueForbidden", "message": "no"}, "spec: Forbidden: no"),
        ({"reason": "FieldValueRequired", "message": "no"}, "spec: Required value: no"),
        ({"reason": "FieldValueDuplicate", "message": "no"}, "spec: Duplicate value"),
    ],
)
def test_what_a_broken_rule_says(more: dict[str, Any], message: str) -> None:
    schema = obj(spec={**REPLICAS, **rule("self.min <= self.max", **more)})
    assert broken(schema, {"min": 2, "max": 1}) == [message]
    assert broken(schema, {"min": 1, "max": 1}) == []


def test_scalars_are_shown() -> None:
    schema = of_spec(a={**STRING, **rule("self.startsWith('x')", message="no")})
    assert broken(schema, {"a": "y"}) == ['spec.a: Invalid value: "y": no']


def test_what_fails_is_told_with_its_rule() -> None:
    division = of_spec(a={**INTEGER, **rule("1 / self > 0")})
    assert broken(division, {"a": 0}) == [
        'spec.a: Invalid value: "integer": division by zero evaluating rule: 1 / self > 0'
    ]
    overload = of_spec(a={"x-kubernetes-int-or-string": True, **rule("self > 5", message="high")})
    assert broken(overload, {"a": "x"}) == [
        "spec.a: Invalid value: \"\": 'no such overload': call arguments did not match a supported operator, "
        "function or macro signature for rule: high"
    ]


def test_the_root_sees_its_name() -> None:
    schema = {**obj(spec=obj()), **rule("self.metadata.name == 'b' && self.kind == 'Widget'", message="no")}
    assert texts(structural(schema).validate(widget())) == ["<nil>: Invalid value: no"]


def test_formats_are_times_and_bytes() -> None:
    schema = of_spec(
        at={**STRING, "format": "date-time"},
        on={**STRING, "format": "date"},
        wait={**STRING, "format": "duration"},
        data={**STRING, "format": "byte"},
    )
    schema["properties"]["spec"] |= rule(
        "self.at.getHours() == 12 && self.on.getFullYear() == 2026 && self.wait > duration('1h') && self.data == b'hi'"
    )
    spec = {"at": "2026-11-28T12:00:00Z", "on": "2026-11-28", "wait": "2 hours", "data": "aGk="}
    assert broken(schema, spec) == []
    assert len(broken(schema, {**spec, "wait": "30m"})) == 1


def test_names_are_escaped() -> None:
    schema = obj(
        spec={**obj(**{"namespace": STRING, "a-b": STRING}), **rule("self.__namespace__ == self.a__dash__b")}
    )
    assert broken(schema, {"namespace": "x", "a-b": "x"}) == []
    assert len(broken(schema, {"namespace": "x", "a-b": "y"})) == 1


def test_rules_wait_for_a_valid_object() -> None:
    schema = obj(spec={**obj(a=INTEGER), **rule("self.a > 1")})
    assert broken(schema, {"a": "x"}) == [
        'spec.a: Invalid value: "string": spec.a in body must be of type integer: "string"',
        "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
        "correct the existing errors to complete validation",
    ]


def test_transition_rules() -> None:
    schema = of_spec(a={**STRING, **rule("self == oldSelf", message="may not change")})
    assert broken(schema, {"a": "x"}) == []
    assert broken(schema, {"a": "x"}, {"a": "x"}) == []
    assert broken(schema, {"a": "x"}, {"a": "y"}) == ['spec.a: Invalid value: "x": may not change']
    assert broken(schema, {"a": "x"}, {}) == []


def test_optional_old_self() -> None:
    text = "oldSelf.hasValue() ? self >= oldSelf.value() : self == 0"
    schema = of_spec(a={**INTEGER, **rule(text, optionalOldSelf=True, message="no")})
    assert broken(schema, {"a": 0}) == []
    assert broken(schema, {"a": 1}) == ["spec.a: Invalid value: 1: no"]
    assert broken(schema, {"a": 1}, {"a": 2}) == ["spec.a: Invalid value: 1: no"]
    assert broken(schema, {"a": 3}, {"a": 2}) == []


def test_items_of_map_lists_have_their_old_selves() -> None:
    items = {**obj(name=STRING, size=INTEGER), **rule("self.size >= oldSelf.size", message="may not shrink")}
    keyed = {
        "type": "array",
        "items": items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    old = {"a": [{"name": "x", "size": 5}, {"name": "y", "size": 1}]}
    new = {"a": [{"name": "y", "size": 2}, {"name": "x", "size": 4}, {"name": "z", "size": 0}]}
    assert broken(of_spec(a=keyed), new, old) == ["spec.a[1]: Invalid value: may not shrink"]


def test_what_was_broken_before_only_warns() -> None:
    schema = of_spec(a={**STRING, **rule("self != 'bad'", message="no")}, b=STRING)
    warnings: list[str] = []
    assert broken(schema, {"a": "bad", "b": "2"}, {"a": "bad", "b": "1"}, warnings) == []
    assert warnings == ['spec.a: Invalid value: "bad": no']
    assert broken(schema, {"a": "bad"}, {"a": "good"}) == ['spec.a: Invalid value: "bad": no']


def test_sets_are_equal_in_any_order() -> None:
    kept = {"type": "array", "items": STRING, "x-kubernetes-list-type": "set", **rule("self == oldSelf")}
    assert broken(of_spec(a=kept), {"a": ["x", "y"]}, {"a": ["y", "x"]}) == []


def test_all_rules_together_may_cost_so_much() -> None:
    each = {**STRING, **rule("self.contains(self + self)", message="no")}
    schema = of_spec(a={"type": "array", "items": each})
    found = broken(schema, {"a": ["x" * 5000] * 50})
    assert found[-1].endswith("running out of cost budget, no further validation rules will be run")


def test_one_rule_may_cost_so_much() -> None:
    schema = of_spec(a={"type": "array", "items": INTEGER, **rule("self.all(x, self.all(y, x == y))")})
    assert broken(schema, {"a": [1] * 2000}) == [
        "spec.a: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation "
        "rules will be run due to call cost exceeds limit for rule: self.all(x, self.all(y, x == y))"
    ]
