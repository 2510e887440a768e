"""What is wrong with a value, word for word as upstream says it."""

from typing import Any

import pytest
from custom_resources import faults, obj, of_spec, widget

STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
IN_BODY = "spec.a in body"

# schema of spec.a, value, what is wrong
CASES: list[tuple[dict[str, Any], Any, list[str]]] = [
    (INTEGER, 3, []),
    (INTEGER, "3", [f'spec.a: Invalid value: "string": {IN_BODY} must be of type integer: "string"']),
    (INTEGER, 1.5, [f'spec.a: Invalid value: "number": {IN_BODY} must be of type integer: "number"']),
    (INTEGER, True, [f'spec.a: Invalid value: "boolean": {IN_BODY} must be of type integer: "boolean"']),
    (NUMBER, 3, []),
    (NUMBER, [], [f'spec.a: Invalid value: "array": {IN_BODY} must be of type number: "array"']),
    (STRING, {}, [f'spec.a: Invalid value: "object": {IN_BODY} must be of type string: "object"']),
    (STRING, None, [f'spec.a: Invalid value: "null": {IN_BODY} must be of type string: "null"']),
    ({"type": "string", "nullable": True}, None, []),
    (
        {"x-kubernetes-int-or-string": True},
        1.5,
        [f'spec.a: Invalid value: "number": {IN_BODY} must be of type integer,string: "number"'],
    ),
    ({"x-kubernetes-int-or-string": True}, "80%", []),
    # Text
    ({**STRING, "maxLength": 3}, "äöü", []),
    ({**STRING, "maxLength": 3}, "abcd", ["spec.a: Too long: may not be more than 3 bytes"]),
    (
        {**STRING, "minLength": 3},
        "ab",
        [f'spec.a: Invalid value: "ab": {IN_BODY} should be at least 3 chars long'],
    ),
    (
        {**STRING, "pattern": "^[a-z]+$"},
        "A",
        [f"spec.a: Invalid value: \"A\": {IN_BODY} should match '^[a-z]+$'"],
    ),
    (
        {**STRING, "pattern": r"^\d+$"},
        "٣",
        [f"spec.a: Invalid value: \"٣\": {IN_BODY} should match '^\\d+$'"],
    ),
    ({**STRING, "enum": ["a", "b"]}, "c", ['spec.a: Unsupported value: "c": supported values: "a", "b"']),
    ({**INTEGER, "enum": [1, 2]}, 3, ['spec.a: Unsupported value: 3: supported values: "1", "2"']),
    (
        {**STRING, "format": "ipv4"},
        "::1",
        [f'spec.a: Invalid value: "::1": {IN_BODY} must be of type ipv4: "::1"'],
    ),
    ({**INTEGER, "format": "int32"}, 2**40, []),
    # Numbers
    (
        {**INTEGER, "maximum": 10},
        11,
        [f"spec.a: Invalid value: 11: {IN_BODY} should be less than or equal to 10"],
    ),
    (
        {**INTEGER, "maximum": 10, "exclusiveMaximum": True},
        10,
        [f"spec.a: Invalid value: 10: {IN_BODY} should be less than 10"],
    ),
    (
        {**NUMBER, "minimum": 0.5},
        0.25,
        [f"spec.a: Invalid value: 0.25: {IN_BODY} should be greater than or equal to 0.5"],
    ),
    # Whole numbers are compared with the whole part of a limit.
    ({**NUMBER, "minimum": 2.5}, 2, []),
    (
        {**NUMBER, "minimum": 2.5, "exclusiveMinimum": True},
        2,
        [f"spec.a: Invalid value: 2: {IN_BODY} should be greater than 2"],
    ),
    ({**INTEGER, "multipleOf": 5}, 12, [f"spec.a: Invalid value: 12: {IN_BODY} should be a multiple of 5"]),
    # Lists
    (
        {"type": "array", "items": STRING, "maxItems": 1},
        ["a", "b"],
        ["spec.a: Too many: 2: must have at most 1 item"],
    ),
    (
        {"type": "array", "items": STRING, "minItems": 1},
        [],
        [f"spec.a: Invalid value: 0: {IN_BODY} should have at least 1 items"],
    ),
    (
        {"type": "array", "items": STRING},
        ["a", 1],
        ['spec.a[1]: Invalid value: "integer": spec.a[1] in body must be of type string: "integer"'],
    ),
    # Objects
    ({**obj(b=STRING), "required": ["b", "c"]}, {}, ["spec.a.b: Required value", "spec.a.c: Required value"]),
    (
        {"type": "object", "additionalProperties": INTEGER, "maxProperties": 1},
        {"x": 1, "y": "2"},
        [
            "spec.a: Too many: 2: must have at most 1 item",
            'spec.a.y: Invalid value: "string": spec.a.y in body must be of type integer: "string"',
        ],
    ),
    (
        {"type": "object", "additionalProperties": INTEGER, "minProperties": 1},
        {},
        [f"spec.a: Invalid value: 0: {IN_BODY} should have at least 1 properties"],
    ),
    # Junctors
    (
        {**STRING, "not": {"pattern": "^x"}},
        "xy",
        ['<nil>: Invalid value: "": "spec.a" must not validate the schema (not)'],
    ),
    (
        {**obj(b=STRING, c=STRING), "oneOf": [{"required": ["b"]}, {"required": ["c"]}]},
        {"b": "", "c": ""},
        [
            '<nil>: Invalid value: "": "spec.a" must validate one and only one schema (oneOf). '
            "Found 2 valid alternatives"
        ],
    ),
    (
        {**obj(b=STRING, c=STRING), "oneOf": [{"required": ["b"]}, {"required": ["c"]}]},
        {},
        [
            '<nil>: Invalid value: "": "spec.a" must validate one and only one schema (oneOf). Found none valid',
            "spec.a.b: Required value",
        ],
    ),
    (
        {**STRING, "anyOf": [{"maxLength": 1}, {"pattern": "^xx"}]},
        "abc",
        [
            '<nil>: Invalid value: "": "spec.a" must validate at least one schema (anyOf)',
            "spec.a: Too long: may not be more than 1 byte",
        ],
    ),
    (
        {**STRING, "allOf": [{"maxLength": 5}, {"pattern": "^x"}]},
        "abc",
        [
            f"spec.a: Invalid value: \"abc\": {IN_BODY} should match '^x'",
            '<nil>: Invalid value: "": "spec.a" must validate all the schemas (allOf)',
        ],
    ),
]


@pytest.mark.parametrize(("schema", "value", "wrong"), CASES)
def test_what_is_wrong(schema: dict[str, Any], value: Any, wrong: list[str]) -> None:
    assert faults(of_spec(a=schema), widget(spec={"a": value})) == wrong
