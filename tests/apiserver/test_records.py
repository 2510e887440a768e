"""Records: owners are cut out of the bytes of an object, and whatever an object says cannot hide where."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.apiserver.records import Record, encode_stored, with_version
from tiphys.machinery.errors import StatusError

texts = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["\t", '"managedFields":[', '"fieldsV1":{', "}]},", "],", '\\"fieldsV1\\":{}', ""]
)
fields = st.recursive(
    st.just({}), lambda below: st.dictionaries(texts.map(lambda text: f"f:{text}"), below, max_size=3)
)
entries = st.lists(
    st.fixed_dictionaries(
        {
            "manager": texts,
            "operation": st.just("Update"),
            "apiVersion": texts,
            "fieldsType": st.just("FieldsV1"),
            "fieldsV1": fields,
        },
        optional={"time": texts, "subresource": texts},
    ),
    max_size=4,
)


def record(obj: dict[str, object]) -> Record:
    return Record("/registry/core/x/n/a", "n", "a", 7, with_version(encode_stored(obj), 7))


@given(owners=entries, value=texts)
def test_owners_come_and_go_with_an_object(owners: list[object], value: str) -> None:
    metadata = {"name": "a", "annotations": {value: value, "managedFields": value}}
    template = {"metadata": {"managedFields": owners, "name": value}}
    obj = {
        "metadata": {**metadata, "managedFields": owners},
        "kind": "X",
        "apiVersion": "v1",
        "spec": template,
    }
    made = record(obj)
    named = {**metadata, "resourceVersion": "7"}
    assert made.object == {**obj, "metadata": named}
    whole = {**obj, "metadata": {**named, "managedFields": owners}} if owners else made.object
    assert made.full == whole
    assert orjson.loads(orjson.dumps(made.printable)) == whole
    assert orjson.loads(made.data) == whole
    assert made.data.startswith(b'{"kind":"X","apiVersion":"v1","metadata":{"resourceVersion":"7",')
    old, new = made.states()
    assert old == new == whole
    assert old["spec"] is not new["spec"]
    again = record(new)
    assert again.data == made.data
    assert again.at(9).full["metadata"]["resourceVersion"] == "9"
    assert b"\n" not in made.data


@given(
    owners=st.lists(st.just({"manager": "m", "fieldsV1": {}}), max_size=1),
    value=texts,
    length=st.integers(0, 3) | st.integers(3900, 4200),
    letter=st.sampled_from("x\u00e9\u20ac\U0001f600{}"),
)
def test_metadata_is_found_in_the_bytes(owners: list[object], value: str, length: int, letter: str) -> None:
    """However long it is, and whatever letter is cut in two where we stop to look."""
    metadata = {"name": "a", "annotations": {value: letter * length, letter: value}, "managedFields": owners}
    made = record({"metadata": metadata, "kind": "X", "apiVersion": "v1", "metadata2": {letter: value * 50}})
    assert orjson.loads(made.metadata) == made.full["metadata"]
    assert made.metadata in made.data


def test_metadata_of_bytes_that_others_wrote() -> None:
    data = b'{"kind":"X","metadata":{ "name" : "a" , "labels": {} } ,"spec":{"metadata":{}}}'
    assert Record("k", "", "a", 1, data).metadata == b'{ "name" : "a" , "labels": {} }'
    with pytest.raises(ValueError, match="delimiter"):
        _ = Record("k", "", "a", 1, b'{"kind":"X","metadata":{"name":"a"').metadata


def _nested(steps: str, levels: int) -> object:
    value: object = 1
    for level in range(levels):
        match steps[level % len(steps)]:
            case "{":
                value = {"a": 1, "b": value, "c": "{"}
            case "[":
                value = [1, value, "[{"]
            case "e":
                value = [value, {}]
    return value


@pytest.mark.parametrize("steps", ["{", "[", "e", "{[", "{{[[", "[e{"])
def test_what_is_nested_too_deeply_is_refused(steps: str) -> None:
    """The object itself is a level, and 50 of orjson's 254 are kept for what stands around it."""
    head = {"kind": "X", "apiVersion": "v1", "metadata": {"name": "a"}}
    for innermost in ({}, [], {"a": {}}, "{"):
        encode_stored({**head, "spec": [innermost, _nested(steps, 201)]})
        with pytest.raises(StatusError, match="exceeded max depth"):
            encode_stored({**head, "spec": [innermost, _nested(steps, 203)]})
