"""Who goes by a part of an object hears of exactly the updates that change it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.client.cache import BY_CONTROLLER, BY_NAMESPACE, BY_NODE, Cache, by_label
from tiphys.client.parts import (
    ALL,
    DELETION,
    EXISTENCE,
    FINALIZERS,
    LABELS,
    OWNERS,
    SPEC,
    STATUS,
    VERSION,
    changed_parts,
)
from tiphys.client.resources import PODS

CHANGES: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({"labels": {"app": "web"}}, {}, LABELS),
    ({"annotations": {"note": "x"}}, {}, 0),
    ({"finalizers": ["example.com/x"]}, {}, FINALIZERS),
    ({"ownerReferences": [{"uid": "rs", "controller": True}]}, {}, OWNERS),
    ({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}, {}, DELETION),
    ({"deletionGracePeriodSeconds": 0}, {}, DELETION),
    ({}, {"spec": {"nodeName": "n1"}}, SPEC),
    ({}, {"status": {"phase": "Running"}}, STATUS),
    ({"labels": {"app": "web"}}, {"status": {"phase": "Running"}}, LABELS | STATUS),
]


def pod(version: int, metadata: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    own = {"namespace": "default", "name": "a", "uid": "a", "resourceVersion": str(version)}
    return {"metadata": {**own, **metadata}, **fields}


@pytest.mark.parametrize(("metadata", "fields", "expected"), CHANGES)
def test_a_change_is_of_the_parts_that_differ(
    metadata: dict[str, Any], fields: dict[str, Any], expected: int
) -> None:
    plain, changed = pod(1, {}, {}), pod(2, metadata, fields)
    for found in (changed_parts(plain, changed), changed_parts(changed, plain)):
        assert (found | DELETION if found & DELETION else found) == expected | VERSION
    assert changed_parts(changed, pod(3, metadata, fields)) == VERSION


def test_another_object_of_the_same_name_is_all_new() -> None:
    assert changed_parts(pod(1, {}, {}), pod(2, {"uid": "b"}, {})) == ALL


@pytest.mark.parametrize("parts", [EXISTENCE, SPEC, STATUS, LABELS | DELETION, ALL, 0])
def test_a_handler_hears_of_its_parts_and_of_all_that_comes_and_goes(parts: int) -> None:
    cache = Cache(PODS)
    heard: list[tuple[str, str]] = []

    def handler(type: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        heard.append((type, (new or old or {})["metadata"]["resourceVersion"]))

    detach = cache.add_handler(handler, parts)
    expected = [("ADDED", "1")]
    cache.apply("ADDED", pod(1, {}, {}))
    version = 1
    for metadata, fields, changed in CHANGES:
        for state in (pod(version + 1, metadata, fields), pod(version + 2, {}, {})):
            version += 1
            cache.apply("MODIFIED", state)
            if (changed | VERSION) & parts:
                expected.append(("MODIFIED", str(version)))
    cache.apply("MODIFIED", pod(version + 1, {"uid": "b"}, {}))
    cache.apply("DELETED", pod(version + 2, {"uid": "b"}, {}))
    detach()
    cache.apply("ADDED", pod(version + 3, {}, {}))
    assert heard == [*expected, ("MODIFIED", str(version + 1)), ("DELETED", str(version + 1))]


words = st.sampled_from(["a", "b", "c"])
states = st.fixed_dictionaries(
    {
        "labels": st.dictionaries(st.just("app"), words),
        "annotations": st.dictionaries(st.just("note"), words),
        "ownerReferences": st.lists(st.fixed_dictionaries({"uid": words, "controller": st.booleans()})),
    }
)


@given(st.lists(st.tuples(words, states, words)))
def test_an_index_by_parts_is_what_one_made_anew_would_be(
    events: list[tuple[str, dict[str, Any], str]],
) -> None:
    app = by_label("app")
    indexes = (BY_CONTROLLER, BY_NAMESPACE, BY_NODE, app)
    values = ("a", "b", "c", "default", "orphan/default", "")
    followed, fresh = Cache(PODS), Cache(PODS)
    for index in indexes:
        followed.by(index, "")
    for version, (name, metadata, node) in enumerate(events, 1):
        obj = pod(version, {"name": name, "uid": name, **metadata}, {"spec": {"nodeName": node}})
        followed.apply("MODIFIED", obj)
        fresh.apply("MODIFIED", obj)
    for index in indexes:
        for value in values:
            found = {id(obj) for obj in followed.by(index, value)}
            assert found == {id(obj) for obj in fresh.by(index, value)}
