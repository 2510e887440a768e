"""Sets of fields: the form on the wire, the order, and the algebra."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.apply.fieldset import (
    FieldSet,
    FieldSetError,
    contains,
    difference,
    from_paths,
    has,
    intersection,
    key_element,
    leaves,
    parse,
    path_text,
    paths,
    plain_key_element,
    recursive_difference,
    union,
    value_element,
)

ELEMENTS = st.sampled_from(
    [
        "f:a",
        "f:b",
        "f:c.d/e",
        'k:{"name":"x"}',
        'k:{"port":80,"protocol":"TCP"}',
        'k:{"port":443,"protocol":"TCP"}',
        'v:"a"',
        "v:1",
        "v:true",
        "i:0",
    ]
)
PATHS = st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple)
SETS = st.lists(PATHS, max_size=12).map(from_paths)


def members(fields: FieldSet) -> set[tuple[str, ...]]:
    return set(paths(fields))


def is_canonical(fields: FieldSet) -> bool:
    """No branch says nothing: what is below a name is empty, or has more in it than a dot."""
    return all(
        branch == {} or (set(branch) != {"."} and is_canonical(branch))
        for name, branch in fields.items()
        if name != "."
    )


class TestForm:
    # From the golden data of upstream's serializer.
    GOLDEN = (
        '{"f:aaa":{},"f:aab":{},"k:{\\"name\\":\\"first\\"}":{},"k:{\\"name\\":\\"second\\"}":{},'
        '"k:{\\"port\\":443,\\"protocol\\":\\"tcp\\"}":{},"k:{\\"port\\":443,\\"protocol\\":\\"udp\\"}":{},'
        '"v:1":{},"v:2":{},"v:\\"aa\\"":{},"v:\\"ab\\"":{},"v:true":{},"i:1":{},"i:2":{}}'
    )

    def test_order_is_that_of_upstream(self) -> None:
        shuffled = dict(reversed(json.loads(self.GOLDEN).items()))
        assert json.dumps(parse(shuffled), separators=(",", ":")) == self.GOLDEN

    def test_numbers_are_ordered_as_numbers(self) -> None:
        names = ['k:{"port":80}', 'k:{"port":443}', "v:9", "v:10", 'k:{"name":"a b"}', 'k:{"name":"a"}']
        wanted = ['k:{"name":"a"}', 'k:{"name":"a b"}', 'k:{"port":80}', 'k:{"port":443}', "v:9", "v:10"]
        assert list(parse({name: {} for name in names})) == wanted

    def test_dot_comes_first(self) -> None:
        assert list(parse({"f:a": {"f:b": {}, ".": {}}})["f:a"]) == [".", "f:b"]

    def test_keys_are_written_in_one_way(self) -> None:
        assert parse({'k:{ "b": 2.0, "a": "x" }': {}}) == {'k:{"a":"x","b":2}': {}}
        assert (
            plain_key_element(("a", "b"), ("x", 2)) == key_element({"b": 2, "a": "x"}) == 'k:{"a":"x","b":2}'
        )

    def test_a_key_may_be_true_or_one(self) -> None:
        assert key_element({"a": True}) == 'k:{"a":true}'
        assert plain_key_element(("a",), (1,)) == 'k:{"a":1}'

    def test_a_dot_alone_is_a_leaf(self) -> None:
        assert parse({"f:a": {".": {}}}) == {"f:a": {}}

    def test_unknown_kinds_of_elements_are_dropped(self) -> None:
        assert parse({"f:aaa": {}, "r:aab": {}}) == {"f:aaa": {}}

    @pytest.mark.parametrize(
        "raw", [[], None, {"f:a": 1}, {"nonsense": {}}, {"k:{": {}}, {"k:1": {}}, {"i:x": {}}]
    )
    def test_nonsense_is_refused(self, raw: Any) -> None:
        with pytest.raises(FieldSetError):
            parse(raw)

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            (("f:spec", "f:replicas"), ".spec.replicas"),
            (("f:l", 'k:{"name":"x"}', "f:image"), '.l[name="x"].image'),
            (("f:l", 'k:{"port":80,"protocol":"TCP"}'), '.l[port=80,protocol="TCP"]'),
            (("f:s", value_element("a")), '.s[="a"]'),
            (("f:s", value_element(True)), ".s[=true]"),
            (("f:s", "i:3"), ".s[3]"),
        ],
    )
    def test_path_text(self, path: tuple[str, ...], text: str) -> None:
        assert path_text(path) == text

    def test_paths_of_a_level_come_before_those_below(self) -> None:
        fields = {"f:a": {".": {}, "f:z": {}}, "f:b": {}}
        assert list(paths(fields)) == [("f:a",), ("f:b",), ("f:a", "f:z")]

    def test_leaves(self) -> None:
        assert leaves({"f:a": {".": {}, "f:b": {}}, "f:c": {}}) == {"f:a": {"f:b": {}}, "f:c": {}}


class TestAlgebra:
    @given(SETS)
    def test_round_trip(self, fields: FieldSet) -> None:
        again = parse(json.loads(json.dumps(fields)))
        assert again == fields
        assert json.dumps(again) == json.dumps(fields)
        assert from_paths(list(paths(fields))) == fields

    @given(SETS, SETS)
    def test_union(self, one: FieldSet, other: FieldSet) -> None:
        both = union(one, other)
        assert members(both) == members(one) | members(other)
        assert is_canonical(both)
        assert json.dumps(parse(both)) == json.dumps(both), "out of order"

    @given(SETS, SETS)
    def test_difference(self, one: FieldSet, other: FieldSet) -> None:
        rest = difference(one, other)
        assert members(rest) == members(one) - members(other)
        assert is_canonical(rest)
        assert json.dumps(parse(rest)) == json.dumps(rest), "out of order"

    @given(SETS, SETS)
    def test_recursive_difference(self, one: FieldSet, other: FieldSet) -> None:
        gone = members(other)
        rest = recursive_difference(one, other)
        assert members(rest) == {
            path for path in members(one) if not any(path[: n + 1] in gone for n in range(len(path)))
        }
        assert is_canonical(rest)

    @given(SETS, SETS)
    def test_intersection(self, one: FieldSet, other: FieldSet) -> None:
        shared = intersection(one, other)
        assert members(shared) == members(one) & members(other)
        assert is_canonical(shared)

    @given(SETS, SETS)
    def test_contains(self, one: FieldSet, other: FieldSet) -> None:
        assert contains(one, other) == (members(other) <= members(one))
        assert contains(union(one, other), other)

    @given(SETS, PATHS)
    def test_has(self, fields: FieldSet, path: tuple[str, ...]) -> None:
        assert has(fields, path) == (path in members(fields))

    @given(SETS, SETS)
    def test_what_does_not_change_is_not_copied(self, one: FieldSet, other: FieldSet) -> None:
        assert union(one, intersection(one, other)) is one or not one
        assert difference(one, difference(other, one)) is one
