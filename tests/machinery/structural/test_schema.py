"""Reading, defaulting and validating a custom resource."""

import json
from typing import Any

import pytest
from custom_resources import META, obj, of_spec, structural, texts, widget

from tiphys.machinery.schema import DecodeError

STRING, INTEGER = {"type": "string"}, {"type": "integer"}
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
NESTED = of_spec(
    name=STRING,
    list={"type": "array", "items": obj(a=STRING)},
    map={"type": "object", "additionalProperties": obj(a=STRING)},
    open={**OPEN, "properties": {"known": obj(a=STRING)}},
)


def test_what_is_in_order_is_not_copied() -> None:
    given = widget(
        spec={"name": "x", "list": [{"a": "b"}], "map": {"k": {"a": "b"}}, "open": {"x": [None, 1.5]}}
    )
    read = structural(NESTED).check(given)
    assert read.object is given
    assert read.complaints == ()


def test_unknown_fields_are_pruned_and_told() -> None:
    given = widget(
        spec={
            "foo": 1,
            "list": [{"a": "b", "x": 1}],
            "map": {"k": {"y": 1}},
            "open": {"z": 1, "known": {"w": 1}},
        },
        status={},
    )
    given["metadata"]["bar"] = 1
    before = json.dumps(given)
    read = structural(NESTED).check(given)
    assert read.object == widget(spec={"list": [{"a": "b"}], "map": {"k": {}}, "open": {"z": 1, "known": {}}})
    assert read.complaints == (
        'unknown field "metadata.bar"',
        'unknown field "spec.foo"',
        'unknown field "spec.list[0].x"',
        'unknown field "spec.map.k.y"',
        'unknown field "spec.open.known.w"',
        'unknown field "status"',
    )
    assert json.dumps(given) == before


def test_repeated_names_are_told() -> None:
    source = b'{"apiVersion": "stable.example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"name": "x", "name": "y", "z": 1}}'
    read = structural(NESTED).check(json.loads(source), duplicates_source=source)
    assert read.complaints == ('duplicate field "spec.name"', 'unknown field "spec.z"')
    assert read.object["spec"] == {"name": "y"}


def test_all_is_kept_when_the_definition_says_so() -> None:
    given = widget(anything={"a": [1]}, spec={"foo": None})
    assert structural(None, preserve_unknown_fields=True).check(given).object == given


def test_without_a_schema_only_the_metadata_stays() -> None:
    assert structural({"type": "object"}).check(widget(spec={})).object == META


def test_numbers_are_read_as_they_are_stored() -> None:
    schema = of_spec(n={"type": "number"}, open=OPEN)
    read = structural(schema).check(widget(spec={"n": 2.0, "open": {"x": 1.0, "y": 1.5, "z": 2**70}}))
    assert repr(read.object["spec"]) == repr({"n": 2, "open": {"x": 1, "y": 1.5, "z": float(2**70)}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": "x"}, "json: cannot unmarshal string into Go value of type v1.ObjectMeta"),
        (
            {"metadata": {"labels": {"a": 1}}},
            "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string",
        ),
        ({"kind": 5}, ".kind accessor error: 5 is of the type int64, expected string"),
        (
            {"spec": {"object": {"apiVersion": 1}}},
            "spec.object.apiVersion: Invalid value: 1: must be a string",
        ),
        (
            {"spec": {"object": {"metadata": {"name": 1}}}},
            'spec.object.metadata: Invalid value: {"name":1}: json: cannot unmarshal number into Go struct field '
            "ObjectMeta.name of type string",
        ),
    ],
)
def test_what_cannot_be_read(changes: dict[str, Any], message: str) -> None:
    schema = of_spec(object={**OPEN, "x-kubernetes-embedded-resource": True})
    with pytest.raises(DecodeError) as caught:
        structural(schema).check({**META, **changes})
    assert str(caught.value) == message


def test_metadata_of_embedded_resources_is_read_like_any() -> None:
    embedded = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "properties": {"spec": obj(a=STRING)},
    }
    given = widget(
        spec={
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "a", "labels": None, "creationTimestamp": None, "foo": 1},
                "spec": {"a": "b", "c": "d"},
                "status": {},
            }
        }
    )
    read = structural(of_spec(object=embedded)).check(given)
    assert read.object["spec"]["object"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"a": "b"},
    }
    assert read.complaints == (
        'unknown field "spec.object.spec.c"',
        'unknown field "spec.object.status"',
        'unknown field "spec.object.metadata.foo"',
    )


def test_embedded_resources_are_validated() -> None:
    schema = structural(of_spec(object={**OPEN, "x-kubernetes-embedded-resource": True}))
    given = widget(spec={"object": {"kind": "No Kind", "metadata": {"name": "a/b", "labels": {"-": "x"}}}})
    assert texts(schema.validate(given)) == [
        "spec.object.apiVersion: Required value",
        'spec.object.kind: Invalid value: "No Kind": may have mixed case, but should otherwise match: a DNS-1035 '
        "label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and "
        "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
        "'[a-z]([-a-z0-9]*[a-z0-9])?')",
        "spec.object.metadata.name: Invalid value: \"a/b\": may not contain '/'",
        'spec.object.metadata.labels: Invalid value: "-": name part must consist of alphanumeric characters, '
        "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
        "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    ]


# Defaults


def defaulted(schema: dict[str, Any], **fields: Any) -> dict[str, Any]:
    made = structural(schema)
    read = made.check(widget(**fields)).object
    made.default(read)
    return {name: value for name, value in read.items() if name not in META}


def test_defaults() -> None:
    schema = obj(
        spec={
            **obj(
                a={**STRING, "default": "x"},
                inner={**obj(b={**INTEGER, "default": 1}, c=INTEGER), "default": {"c": 2}},
                list={"type": "array", "items": obj(d={"type": "boolean", "default": False})},
                map={"type": "object", "additionalProperties": obj(e={**STRING, "default": ""})},
            ),
            "default": {},
        }
    )
    assert defaulted(schema) == {"spec": {"a": "x", "inner": {"b": 1, "c": 2}}}
    assert defaulted(schema, spec={"a": "y", "inner": {}, "list": [{}, {"d": True}], "map": {"k": {}}}) == {
        "spec": {
            "a": "y",
            "inner": {"b": 1},
            "list": [{"d": False}, {"d": True}],
            "map": {"k": {"e": ""}},
        }
    }


def test_defaults_are_never_shared() -> None:
    schema = structural(of_spec(list={"type": "array", "items": STRING, "default": ["a"]}))
    one, other = widget(spec={}), widget(spec={})
    schema.default(one)
    schema.default(other)
    one["spec"]["list"].append("b")
    assert other["spec"]["list"] == ["a"]


def test_nulls() -> None:
    """A null that may not be is no value; one that may stays, default or not."""
    schema = of_spec(
        plain=STRING,
        defaulted={**STRING, "default": "x"},
        nullable={**STRING, "nullable": True},
        both={**STRING, "nullable": True, "default": "x"},
    )
    nothing = dict.fromkeys(("plain", "defaulted", "nullable", "both"))
    assert defaulted(schema, spec=nothing) == {"spec": {"defaulted": "x", "nullable": None, "both": None}}


def test_defaults_are_pruned() -> None:
    schema = of_spec(a={**obj(b=STRING), "default": {"b": "x", "unknown": 1}})
    assert defaulted(schema, spec={}) == {"spec": {"a": {"b": "x"}}}


def test_what_the_store_has_is_read_by_the_schema_of_today() -> None:
    schema = structural(of_spec(a={**STRING, "default": "x"}))
    complete = widget(spec={"a": "y"})
    assert schema.from_store(complete) is complete
    assert schema.from_store(widget(spec={"old": 1}))["spec"] == {"a": "x"}
    malformed = {**META, "metadata": {"name": "a", "labels": {"a": 1}}, "spec": {"a": "y"}}
    assert schema.from_store(malformed)["metadata"] == {"name": "a"}


# Lists, status, ratcheting

SET = {"type": "array", "items": STRING, "x-kubernetes-list-type": "set"}
MAP = {
    "type": "array",
    "items": {**obj(name=STRING, port=INTEGER, value={**STRING, "maxLength": 3}), "required": ["name"]},
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name", "port"],
}


def test_items_that_are_there_twice() -> None:
    schema = structural(of_spec(set=SET, map=MAP))
    twice = widget(spec={"set": ["a", "b", "a", "a"], "map": [{"name": "x"}, {"name": "x", "value": "y"}]})
    assert texts(schema.validate(twice)) == [
        'spec.set[2]: Duplicate value: "a"',
        'spec.map[1]: Duplicate value: {"name":"x"}',
    ]
    # What was so before is forgiven.
    assert schema.validate(twice, twice) == []


def test_what_was_wrong_before_and_is_the_same_is_forgiven() -> None:
    schema = structural(
        of_spec(a={**STRING, "maxLength": 3}, map=MAP, atomic={**SET, "items": {**STRING, "maxLength": 1}})
    )
    old = widget(spec={"a": "long", "map": [{"name": "x", "value": "long"}, {"name": "y"}]})
    new = widget(spec={"a": "long", "map": [{"name": "y", "value": "long"}, {"name": "x", "value": "long"}]})
    assert texts(schema.validate(new, old)) == ["spec.map[0].value: Too long: may not be more than 3 bytes"]
    changed = widget(spec={"a": "longer"})
    assert texts(schema.validate(changed, old)) == ["spec.a: Too long: may not be more than 3 bytes"]


def test_junctors_forgive_nothing() -> None:
    schema = structural(of_spec(a=INTEGER, b={**STRING, "allOf": [{"maxLength": 1}]}))
    old = widget(spec={"a": 1, "b": "xx"})
    # The value of b as a whole is the same, so what its schema says is forgiven.
    assert schema.validate(widget(spec={"a": 2, "b": "xx"}), old) == []


def test_a_status_update_checks_the_status_alone() -> None:
    schema = structural(obj(spec=obj(a=INTEGER), status=obj(b={**INTEGER, "maximum": 1})))
    old = widget(spec={"a": "x"})
    new = widget(spec={"a": "x"}, status={"b": 2})
    assert texts(schema.validate_status(new, old)) == [
        "status.b: Invalid value: 2: b in body should be less than or equal to 1"
    ]
