"""What is remembered of what was applied, and what is passed over as it is the same, changes nothing of the result."""

import copy
from typing import Any

import pytest
from apply_stage import Stage, built_in, canonical, custom
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.apply import RESET_SPEC, RESET_STATUS, Target
from tiphys.machinery.apply.claims import (
    NAMES_LIMIT,
    PART_LIMIT_BYTES,
    PARTS_LIMIT,
    merge_claim,
    read_claim,
)
from tiphys.machinery.apply.merging import merge
from tiphys.machinery.apply.target import Differences, without_unowned
from tiphys.machinery.apply.typed import FieldReader, compare

POD = built_in("core/v1.Pod", "v1", ignored=RESET_STATUS)
STATUS_OF_POD = built_in("core/v1.Pod", "v1", ignored=RESET_SPEC)
LABELS_ONLY = built_in("core/v1.Pod", "v1", only={"f:metadata": {"f:labels": {}}, "f:spec": {}})
CONFIG_MAP = built_in("core/v1.ConfigMap", "v1")
OPEN = custom(None)
THING = custom("""
map: {type: object, additionalProperties: {type: string}}
whole: {type: object, x-kubernetes-map-type: atomic, additionalProperties: {type: string}}
inner: {type: object, properties: {a: {type: string}, numbers: {type: array, items: {type: integer}}}}
""")
TARGETS = [POD, STATUS_OF_POD, LABELS_ONLY, CONFIG_MAP, OPEN, THING]

words = st.sampled_from(["a", "b", "c"])
odd: st.SearchStrategy[Any] = st.sampled_from([None, 1, True, "", {}, []])
texts = st.dictionaries(words, st.one_of(words, words, odd), max_size=3)
metadata = st.fixed_dictionaries(
    {"name": words},
    optional={
        "namespace": words,
        "labels": st.one_of(texts, odd),
        "annotations": texts,
        "finalizers": st.lists(words, unique=True),
        "ownerReferences": st.lists(
            st.fixed_dictionaries({"uid": words}, optional={"name": words}),
            max_size=2,
            unique_by=lambda each: each["uid"],
        ),
        "generation": st.integers(1, 2),
        "resourceVersion": words,
        "unheard": words,
    },
)
items = st.fixed_dictionaries({"name": words}, optional={"image": st.one_of(words, odd), "value": words})
field = st.one_of(texts, st.fixed_dictionaries({}, optional={"containers": st.lists(items, max_size=2)}), odd)
NAMES = ["spec", "status", "data", "map", "whole", "inner", "unheard"]
contents = st.fixed_dictionaries(
    {}, optional={"metadata": st.one_of(metadata, odd), **dict.fromkeys(NAMES, field)}
)
objects = st.fixed_dictionaries({"metadata": metadata}, optional=dict.fromkeys(NAMES, field))


def object_of(target: Target, content: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": target.api_version, "kind": target.kind, **content}


@given(st.sampled_from(TARGETS), contents)
def test_a_claim_is_what_reading_the_whole_object_finds(target: Target, content: dict[str, Any]) -> None:
    applied = object_of(target, content)
    for _ in range(2):  # what was not remembered, and what was
        reader = FieldReader()
        try:
            expected = target.owned(reader.read(target.shape, copy.deepcopy(applied)))
        except ValueError:
            with pytest.raises(ValueError, match="associative list"):
                read_claim(target, applied)
            continue
        claim = read_claim(target, applied)
        assert claim.fields == expected
        assert list(claim.fields) == list(expected)
        assert (claim.has_nulls, claim.is_odd) == (reader.has_nulls, reader.is_odd)


@given(st.sampled_from(TARGETS), contents, contents)
def test_merging_a_claim_is_merging_what_was_applied(
    target: Target, before: dict[str, Any], content: dict[str, Any]
) -> None:
    live, applied = object_of(target, before), object_of(target, content)
    kept = copy.deepcopy((live, applied))
    for _ in range(2):
        try:
            plain = merge(target.shape, live, applied)
            parts = read_claim(target, applied).parts
        except ValueError:
            return
        merged = merge_claim(target.shape, live, applied, parts)
        assert merged == plain
        assert (merged is live) == (plain is live)
    assert (live, applied) == kept


@given(st.sampled_from(TARGETS), objects, objects, st.booleans())
def test_differences_are_those_of_all_that_can_be_owned(
    target: Target, before: dict[str, Any], after: dict[str, Any], shared: bool
) -> None:
    old, new = object_of(target, before), object_of(target, after)
    if shared:
        new = {**new, **{name: value for name, value in old.items() if name in NAMES}}
        new["metadata"] = {**old["metadata"], **new["metadata"]}
    try:
        found = compare(target.shape, without_unowned(old), without_unowned(new))
    except ValueError:
        with pytest.raises(ValueError, match="associative list"):
            Differences(target, old, new)
        return
    own = Differences(target, old, new).own
    assert own == (target.owned(found.changed), target.owned(found.removed))


def test_values_of_an_applied_map_that_are_no_texts_are_looked_at_each_time() -> None:
    body = {"metadata": {"name": "x", "labels": {"a": "b"}}}
    assert not read_claim(CONFIG_MAP, object_of(CONFIG_MAP, body)).is_odd
    body["metadata"]["labels"] = {"a": 1}
    assert read_claim(CONFIG_MAP, object_of(CONFIG_MAP, body)).is_odd
    body["metadata"]["labels"] = {"a": None}
    assert read_claim(CONFIG_MAP, object_of(CONFIG_MAP, body)).has_nulls


def test_what_is_too_large_or_too_much_is_not_remembered_and_not_lost() -> None:
    for size in (PART_LIMIT_BYTES - 100, PART_LIMIT_BYTES + 100):
        body = object_of(CONFIG_MAP, {"metadata": {"name": "x"}, "data": {"value": "x" * size}})
        for _ in range(2):
            claim = read_claim(CONFIG_MAP, body)
            assert claim.fields == {"f:data": {"f:value": {}}}
            assert merge_claim(CONFIG_MAP.shape, body, body, claim.parts) is body
    many = {f"label-{number}": "x" for number in range(NAMES_LIMIT + 1)}
    for labels in (many, dict(list(many.items())[1:])):
        body = object_of(CONFIG_MAP, {"metadata": {"name": "x", "labels": labels}})
        for _ in range(2):
            assert len(read_claim(CONFIG_MAP, body).fields["f:metadata"]["f:labels"]) == len(labels)
    for number in (*range(PARTS_LIMIT + 5), 0):
        body = object_of(CONFIG_MAP, {"metadata": {"name": "x"}, "data": {str(number): "x"}})
        assert read_claim(CONFIG_MAP, body).fields == {"f:data": {f"f:{number}": {}}}


def test_a_part_that_added_nothing_adds_what_another_took_away() -> None:
    stage = Stage(CONFIG_MAP)
    body = {"data": {"a": "1"}}
    stage.apply("one", body)
    stage.apply("one", body)
    stage.update("two", {"data": {"a": "2", "b": "1"}})
    before = canonical(stage.object)
    stage.apply("one", body, force=True)
    assert before["data"] == {"a": "2", "b": "1"}
    assert stage.object["data"] == {"a": "1", "b": "1"}
