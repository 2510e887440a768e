"""JSON merge patch: the RFC's table of cases and the laws that follow from it."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.patches import BadPatchError, apply_merge_patch, patch_status


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "x"}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_the_cases_of_the_rfc(document: dict[str, Any], patch: Any, result: Any) -> None:
    assert apply_merge_patch(document, patch) == result


@pytest.mark.parametrize(
    ("patch", "kind"), [([], "array"), ("x", "string"), (1, "number"), (True, "bool"), (None, "null")]
)
def test_only_an_object_is_a_patch(patch: Any, kind: str) -> None:
    with pytest.raises(BadPatchError) as caught:
        apply_merge_patch({}, patch)
    status = patch_status(caught.value)
    assert (status.code, status.reason) == (400, "BadRequest")
    assert status.message == (
        f"error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    )


def test_what_the_patch_leaves_alone_is_shared() -> None:
    document = {"metadata": {"labels": {}}, "spec": {"replicas": 1}}
    result = apply_merge_patch(document, {"spec": {"replicas": 2}})
    assert result["metadata"] is document["metadata"]
    assert document["spec"] == {"replicas": 1}


LEAVES = st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=1)
KEYS = st.sampled_from("abc")
PATCHES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


DOCUMENTS = PATCHES.map(without_nulls)


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `new` of `old`."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif isinstance(value, dict) and isinstance(old[key], dict):
            patch[key] = difference(old[key], value)
        else:
            patch[key] = value
    return patch


@given(DOCUMENTS, DOCUMENTS)
def test_a_difference_leads_from_one_document_to_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert apply_merge_patch(old, difference(old, new)) == new


@given(DOCUMENTS, PATCHES)
def test_patching_twice_is_patching_once_and_changes_no_input(
    document: dict[str, Any], patch: dict[str, Any]
) -> None:
    before = deepcopy((document, patch))
    once = apply_merge_patch(document, patch)
    assert apply_merge_patch(once, patch) == once
    assert (document, patch) == before


@given(DOCUMENTS, PATCHES)
def test_null_is_never_set_in_an_object(document: dict[str, Any], patch: dict[str, Any]) -> None:
    result = apply_merge_patch(document, patch)
    assert without_nulls(result) == result
