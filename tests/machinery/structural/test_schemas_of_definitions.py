"""What the validation of a CustomResourceDefinition says of its schemas, word for word as upstream says it."""

from __future__ import annotations

from typing import Any

import pytest
from custom_resources import OBJECT_META, obj, of_spec, texts

from tiphys.machinery.structural import schema_errors

STRING, INTEGER = {"type": "string"}, {"type": "integer"}
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
ROOT = "spec.validation.openAPIV3Schema"
A = f"{ROOT}.properties[a]"


def spec_of(*schemas: dict[str, Any], **version: Any) -> dict[str, Any]:
    return {
        "versions": [
            {"name": f"v{number}", "schema": {"openAPIV3Schema": schema}, **version}
            for number, schema in enumerate(schemas, 1)
        ]
    }


def wrong(*schemas: dict[str, Any], old: dict[str, Any] | None = None, **version: Any) -> list[str]:
    before = None if old is None else spec_of(old)
    return texts(schema_errors(spec_of(*schemas, **version), before, object_meta=OBJECT_META))


LIST_MAP = {"type": "array", "x-kubernetes-list-type": "map"}
NAMED = {**obj(name=STRING), "required": ["name"]}

# schema of a property, what is wrong
PROPERTIES: list[tuple[dict[str, Any], list[str]]] = [
    (STRING, []),
    ({"x-kubernetes-int-or-string": True, "anyOf": [INTEGER, STRING]}, []),
    ({"x-kubernetes-int-or-string": True, "allOf": [{"anyOf": [INTEGER, STRING]}, {"pattern": "^a"}]}, []),
    ({}, [f"{A}.type: Required value: must not be empty for specified object fields"]),
    ({"type": "array"}, [f"{A}.items: Required value: must be specified"]),
    (
        {"type": "array", "items": {}},
        [f"{A}.items.type: Required value: must not be empty for specified array items"],
    ),
    (
        {"type": "tuple"},
        [
            f'{A}.type: Unsupported value: "tuple": supported values: "array", "boolean", "integer", "number", '
            '"object", "string"'
        ],
    ),
    (
        {"type": "null"},
        [
            f'{A}.type: Unsupported value: "null": supported values: "array", "boolean", "integer", "number", '
            '"object", "string"',
            f"{A}.type: Forbidden: type cannot be set to null, use nullable as an alternative",
        ],
    ),
    (
        {**STRING, "pattern": "("},
        [
            f'{A}.pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: error parsing regexp: '
            "missing closing ): `(`"
        ],
    ),
    (
        {"type": "array", "items": STRING, "uniqueItems": True},
        [
            f"{A}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes "
            "quadratic"
        ],
    ),
    (
        {**obj(b=STRING), "additionalProperties": STRING},
        [f"{A}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    ),
    ({**STRING, "$ref": "#/definitions/x"}, [f"{A}.$ref: Forbidden: $ref is not supported"]),
    ({**STRING, "id": "x"}, [f"{A}.id: Forbidden: id is not supported"]),
    (
        {"type": "array", "items": [STRING]},
        [f"{A}.items: Forbidden: items must be a schema object and not an array"],
    ),
    (
        {**OPEN, "x-kubernetes-preserve-unknown-fields": False},
        [f"{A}.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"],
    ),
    (
        {"x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
        [f"{A}.type: Required value: must be object if x-kubernetes-embedded-resource is true"],
    ),
    (
        {"type": "object", "x-kubernetes-embedded-resource": True},
        [
            f"{A}.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without "
            "x-kubernetes-preserve-unknown-fields"
        ],
    ),
    # Junctors
    (
        {**STRING, "allOf": [{"type": "string", "description": "x", "default": "y", "nullable": True}]},
        [
            f"{A}.allOf[0].default: Forbidden: must be undefined to be structural",
            f"{A}.allOf[0].description: Forbidden: must be empty to be structural",
            f"{A}.allOf[0].nullable: Forbidden: must be false to be structural",
            f"{A}.allOf[0].type: Forbidden: must be empty to be structural",
        ],
    ),
    # Lists
    (
        {"type": "array", "items": STRING, "x-kubernetes-list-type": "bag"},
        [
            f'{A}.x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map"',
        ],
    ),
    (
        {**STRING, "x-kubernetes-list-type": "set"},
        [f'{A}.type: Invalid value: "string": must be array if x-kubernetes-list-type is specified'],
    ),
    (
        {"type": "array", "items": obj(), "x-kubernetes-list-type": "set"},
        [
            f"{A}.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with "
            "x-kubernetes-list-type=set"
        ],
    ),
    (
        {**LIST_MAP, "items": NAMED},
        [
            f"{A}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"
        ],
    ),
    (
        {**LIST_MAP, "items": NAMED, "x-kubernetes-list-map-keys": ["name", "other", "name"]},
        [
            f'{A}.x-kubernetes-list-map-keys: Invalid value: ["name","other","name"]: entries must all be names of '
            "item properties",
            f'{A}.x-kubernetes-list-map-keys: Invalid value: ["name","other","name"]: must not contain duplicate '
            "entries",
        ],
    ),
    (
        {**LIST_MAP, "items": obj(name=STRING), "x-kubernetes-list-map-keys": ["name"]},
        [
            f"{A}.items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys, so "
            "it must have a default or be a required property"
        ],
    ),
    (
        {"type": "array", "items": NAMED, "x-kubernetes-list-map-keys": ["name"]},
        [
            f"{A}.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"
        ],
    ),
    (
        {**obj(), "x-kubernetes-map-type": "loose"},
        [f'{A}.x-kubernetes-map-type: Unsupported value: "loose": supported values: "atomic", "granular"'],
    ),
    # Defaults
    ({**STRING, "default": "x"}, []),
    (
        {**STRING, "default": 1},
        [
            f'{A}.default: Invalid value: "integer": {A}.default in body must be of type string: "integer"'.replace(
                f"{A}.default in", " in"
            )
        ],
    ),
    (
        {**obj(b=STRING), "default": {"b": "x", "c": 1}},
        [f'{A}.default: Invalid value: {{"b":"x","c":1}}: must not have unknown fields'],
    ),
    (
        {**OPEN, "x-kubernetes-embedded-resource": True, "default": {"kind": "A"}},
        [f"{A}.default.apiVersion: Required value"],
    ),
    (
        {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "properties": {"metadata": {**obj(name=STRING), "default": {"name": "a/b"}}},
        },
        [
            f'{A}.properties[metadata].default: Invalid value: {{"name":"a/b"}}: must result in valid metadata: '
            "metadata.name: Invalid value: \"a/b\": may not contain '/'"
        ],
    ),
    (
        {**INTEGER, "default": 1, "x-kubernetes-validations": [{"rule": "self > 1", "message": "low"}]},
        [f"{A}.default: Invalid value: 1: low"],
    ),
]


@pytest.mark.parametrize(("schema", "errors"), PROPERTIES)
def test_a_property(schema: dict[str, Any], errors: list[str]) -> None:
    assert wrong(obj(a=schema)) == errors


@pytest.mark.parametrize(
    ("schema", "errors"),
    [
        ({}, [f"{ROOT}.type: Required value: must not be empty at the root"]),
        (STRING, [f'{ROOT}.type: Invalid value: "string": must be object at the root']),
        ({**obj(), "nullable": True}, [f"{ROOT}.nullable: Forbidden: nullable cannot be true at the root"]),
        (
            {"type": "object", "additionalProperties": STRING},
            [f"{ROOT}.additionalProperties: Forbidden: must not be used at the root"],
        ),
        (
            obj(metadata=obj(name=STRING, labels={"type": "object"})),
            [
                f"{ROOT}.properties[metadata]: Forbidden: must not specify anything other than name and "
                "generateName, but metadata is implicitly specified"
            ],
        ),
        (obj(metadata=obj(name={**STRING, "maxLength": 5})), []),
        (obj(kind=INTEGER), [f'{ROOT}.properties[kind].type: Invalid value: "integer": must be string']),
        (
            obj(metadata=obj(name={**STRING, "default": "x"})),
            [
                f"{ROOT}.properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata"
            ],
        ),
        (
            {
                **of_spec(a=STRING),
                "anyOf": [{"properties": {"spec": {"properties": {"b": {"maxLength": 1}}}}}],
            },
            [
                f"{ROOT}.properties[spec].properties[b]: Required value: because it is defined in "
                f"{ROOT}.anyOf[0].properties[spec].properties[b]"
            ],
        ),
        (
            {**obj(), "not": {"properties": {"metadata": {}}}},
            [
                f"{ROOT}.not.properties[metadata]: Forbidden: must not be specified in a nested context",
                f"{ROOT}.properties[metadata]: Required value: because it is defined in "
                f"{ROOT}.not.properties[metadata]",
            ],
        ),
    ],
)
def test_the_root(schema: dict[str, Any], errors: list[str]) -> None:
    assert wrong(schema) == errors


def test_the_status_is_split_off() -> None:
    status = {"subresources": {"status": {}}}
    assert wrong(obj(status=obj()), **status) == []
    [error] = wrong({**obj(), "maxProperties": 3}, **status)
    assert error.startswith(f'{ROOT}: Invalid value: {{"maxProperties":3,')
    assert "only [Description Type Format Title " in error
    assert error.endswith(
        "] fields are allowed at the root of the schema if the status subresource is enabled"
    )


def test_where_it_is_said() -> None:
    """A schema that all versions share is moved upstream, and so are its faults."""
    bad, good = obj(a={}), obj(a=STRING)
    detail = "Required value: must not be empty for specified object fields"
    assert wrong(bad, bad) == [f"{A}.type: {detail}"]
    assert wrong(good, bad) == [f"spec.versions[1].schema.openAPIV3Schema.properties[a].type: {detail}"]


# Rules


def ruled(schema: dict[str, Any], text: str, **more: Any) -> dict[str, Any]:
    return {**schema, "x-kubernetes-validations": [{"rule": text, **more}]}


RULE = f"{A}.x-kubernetes-validations[0]"


@pytest.mark.parametrize(
    ("schema", "errors"),
    [
        (ruled(STRING, " "), [f"{RULE}.rule: Required value: rule is not specified"]),
        (
            ruled(STRING, "true", message=" "),
            [f'{RULE}.message: Invalid value: " ": message must be non-empty if specified'],
        ),
        (
            ruled(STRING, "true", message="a\nb"),
            [f'{RULE}.message: Invalid value: "a\\nb": message must not contain line breaks'],
        ),
        (
            ruled(STRING, "true &&\ntrue"),
            [f"{RULE}.message: Required value: message must be specified if rule contains line breaks"],
        ),
        (
            ruled(STRING, "true", messageExpression=" "),
            [f"{RULE}.messageExpression: Required value: messageExpression must be non-empty if specified"],
        ),
        (
            ruled(STRING, "true", reason="Bad"),
            [
                f'{RULE}.reason: Unsupported value: "Bad": supported values: "FieldValueDuplicate", '
                '"FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"'
            ],
        ),
        (
            ruled(obj(b=STRING), "true", fieldPath=".c"),
            [f'{RULE}.fieldPath: Invalid value: ".c": fieldPath must be a valid path'],
        ),
        (
            ruled(obj(b=STRING), "self.c == 'x'"),
            [
                f'{RULE}.rule: Invalid value: {{"Rule":"self.c == \'x\'","Message":"","MessageExpression":"",'
                '"Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:5: '
                "undefined field 'c'\n | self.c == 'x'\n | ....^"
            ],
        ),
        (
            ruled(STRING, "size(self)"),
            [
                f'{RULE}.rule: Invalid value: {{"Rule":"size(self)","Message":"","MessageExpression":"",'
                '"Reason":null,"FieldPath":"","OptionalOldSelf":null}: cel expression must evaluate to a bool'
            ],
        ),
        (
            ruled(STRING, "true", messageExpression="5"),
            [
                f'{RULE}.messageExpression: Invalid value: {{"Rule":"true","Message":"","MessageExpression":"5",'
                '"Reason":null,"FieldPath":"","OptionalOldSelf":null}: messageExpression must evaluate to a string'
            ],
        ),
        (
            ruled(STRING, "true", optionalOldSelf=True),
            [f"{RULE}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"],
        ),
        (
            {"type": "array", "maxItems": 2, "items": ruled(STRING, "self == oldSelf")},
            [
                f'{A}.items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be '
                f"used on the uncorrelatable portion of the schema within {A}"
            ],
        ),
        (ruled(OPEN, "self == self"), []),
    ],
)
def test_a_rule(schema: dict[str, Any], errors: list[str]) -> None:
    assert wrong(obj(a=schema)) == errors


ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)
COSTLY = ruled({"type": "array", "items": {**STRING, "maxLength": 10}}, "self.all(x, self.all(y, x == y))")


def test_a_rule_that_could_cost_too_much() -> None:
    assert wrong(obj(a=COSTLY)) == [
        f"{RULE}.rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {ADVICE}",
        f"{RULE}.rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 "
        "schema",
        f"{ROOT}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds "
        f"budget by factor of more than 100x {ADVICE}",
    ]
    assert wrong(obj(a={**COSTLY, "maxItems": 100})) == []


def test_a_rule_counts_as_often_as_it_can_be_evaluated() -> None:
    inner = ruled({**STRING, "maxLength": 1000}, "self.contains('x')")
    assert wrong(obj(a={"type": "array", "items": inner, "maxItems": 100})) == []
    [error, *_] = wrong(obj(a={"type": "array", "items": inner}))
    assert error == (
        f"{A}.items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of "
        f"42.0x {ADVICE}"
    )


def test_a_message_that_could_cost_too_much() -> None:
    """Upstream knows no size of `string(…)`: kubernetes/kubernetes#124234."""
    schema = obj(a=ruled(obj(n=INTEGER), "self.n >= 0", messageExpression="'bad: ' + string(self.n)"))
    assert wrong(schema)[0] == (
        f"{RULE}.messageExpression: Forbidden: estimated messageExpression cost exceeds budget by factor of more than "
        f"100x {ADVICE}"
    )


def test_rules_of_a_faulty_schema_are_left_alone() -> None:
    schema = obj(a={**ruled(STRING, "self.b"), "uniqueItems": True})
    assert wrong(schema) == [
        f"{A}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
    ]


# What was accepted once


def test_what_was_accepted_may_stay() -> None:
    for schema in (
        obj(a={"type": "array", "items": obj(), "x-kubernetes-list-type": "set"}),
        obj(a={**LIST_MAP, "items": obj(name=STRING), "x-kubernetes-list-map-keys": ["name"]}),
        obj(a={**obj(b=STRING), "default": {"c": 1}}),
    ):
        assert wrong(schema) != []
        assert wrong(schema, old=schema) == []


def test_the_cost_of_an_unchanged_rule_is_not_held_against_it() -> None:
    costly = ruled(
        {"type": "array", "maxItems": 2000, "items": {**STRING, "maxLength": 10}},
        "self.all(x, self.all(y, x == y))",
    )
    assert wrong(obj(a=costly)) == [
        f"{RULE}.rule: Forbidden: estimated rule cost exceeds budget by factor of 3.6x {ADVICE}"
    ]
    assert wrong(obj(a=costly), old=obj(a=costly)) == []


def test_the_root_of_a_schema_with_a_status_is_an_object() -> None:
    detail = (
        'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
    )
    status: dict[str, Any] = {"subresources": {"status": {}}}
    first = {"name": "v1", "schema": {"openAPIV3Schema": {"type": "array"}}}
    second = {"name": "v2", "schema": {"openAPIV3Schema": {"type": "object"}}}
    for versions, place in (
        ([first | status], "spec.validation"),
        # All versions have one schema, so that the status of any of them counts.
        ([first, first | status | {"name": "v2"}], "spec.validation"),
        ([first | status, second], "spec.versions[0].schema"),
    ):
        found = [str(each) for each in schema_errors({"versions": versions}, None, object_meta=OBJECT_META)]
        assert f'{place}.openAPIV3Schema.type: Invalid value: "array": {detail}' in found
    found = [
        str(each)
        for each in schema_errors({"versions": [first, second | status]}, None, object_meta=OBJECT_META)
    ]
    assert not any(detail in each for each in found)
