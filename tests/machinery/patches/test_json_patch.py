"""JSON patch: every operation, its errors, and the laws they obey."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.patches import BadPatchError, PatchError, apply_json_patch, patch_status
from tiphys.machinery.patches.json_patch import COPY_LIMIT_BYTES, json_equal


def op(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **more}


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        # add
        ({"a": 1}, op("add", "/b", value=2), {"a": 1, "b": 2}),
        ({"a": 1}, op("add", "/a", value=2), {"a": 2}),
        ({"a": [1, 3]}, op("add", "/a/1", value=2), {"a": [1, 2, 3]}),
        ({"a": [1]}, op("add", "/a/1", value=2), {"a": [1, 2]}),
        ({"a": [1]}, op("add", "/a/-", value=2), {"a": [1, 2]}),
        ({"a": [1]}, op("add", "/a/-1", value=2), {"a": [1, 2]}),
        ({"a": []}, op("add", "/a/0", value=1), {"a": [1]}),
        ({"a": 1}, op("add", "/b"), {"a": 1, "b": None}),
        ({"a/b": {"c~d": 1}}, op("add", "/a~1b/c~0d", value=2), {"a/b": {"c~d": 2}}),
        ({"": {}}, op("add", "//x", value=1), {"": {"x": 1}}),
        # remove
        ({"a": 1, "b": 2}, op("remove", "/b"), {"a": 1}),
        ({"a": [1, 2]}, op("remove", "/a/0"), {"a": [2]}),
        ({"a": [1, 2]}, op("remove", "/a/-1"), {"a": [1]}),
        ({"a": {"b": None}}, op("remove", "/a/b"), {"a": {}}),
        # replace
        ({"a": 1}, op("replace", "/a", value=[2]), {"a": [2]}),
        ({"a": [1, 2]}, op("replace", "/a/1", value=3), {"a": [1, 3]}),
        ({"a": 1}, op("replace", "/b", value=2), {"a": 1, "b": 2}),
        # move and copy
        ({"a": {"x": 1}}, op("move", "/b", **{"from": "/a/x"}), {"a": {}, "b": 1}),
        ({"a": [1, 2, 3]}, op("move", "/a/0", **{"from": "/a/2"}), {"a": [3, 1, 2]}),
        ({"a": {"x": 1}}, op("copy", "/b", **{"from": "/a"}), {"a": {"x": 1}, "b": {"x": 1}}),
        ({"a": {"x": 1}}, op("copy", "/a/y", **{"from": "/a"}), {"a": {"x": 1, "y": {"x": 1}}}),
        # test
        ({"a": {"x": [1, True]}}, op("test", "/a", value={"x": [1, True]}), {"a": {"x": [1, True]}}),
        ({"a": 1}, op("test", "/a", value=1.0), {"a": 1}),
        ({"a": 1}, op("test", "/b", value=None), {"a": 1}),
    ],
)
def test_operations(document: Any, operation: dict[str, Any], result: Any) -> None:
    before = deepcopy(document)
    assert apply_json_patch(document, [operation]) == result
    assert document == before


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (
            op("add", "/x/y", value=1),
            'add operation does not apply: doc is missing path: "/x/y": missing value',
        ),
        (
            op("add", "/s/y", value=1),
            'add operation does not apply: doc is missing path: "/s/y": missing value',
        ),
        (op("add", "", value=1), 'add operation does not apply: doc is missing path: "": missing value'),
        (
            op("add", "/l/5", value=1),
            "error in add for path: '/l/5': Unable to access invalid index: 5: invalid index referenced",
        ),
        (
            op("add", "/l/x", value=1),
            "error in add for path: '/l/x': strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            op("remove", "/x"),
            "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
        ),
        (op("remove", "/x/y"), 'remove operation does not apply: doc is missing path: "/x/y": missing value'),
        (
            op("remove", "/l/2"),
            "error in remove for path: '/l/2': Unable to access invalid index: 2: invalid index referenced",
        ),
        (
            op("replace", "/x/y", value=1),
            "replace operation does not apply: doc is missing path: /x/y: missing value",
        ),
        (
            op("replace", "/l/9", value=1),
            "replace operation does not apply: doc is missing key: /l/9: missing value",
        ),
        (
            op("move", "/y", **{"from": "/x/y"}),
            "move operation does not apply: doc is missing from path: /x/y: missing value",
        ),
        (
            op("move", "/y", **{"from": "/x"}),
            "error in move for path: 'x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            op("move", "/x/y", **{"from": "/s"}),
            "move operation does not apply: doc is missing destination path: /x/y: missing value",
        ),
        (op("move", "/y"), "move operation failed to decode from: missing value"),
        (
            op("copy", "/y", **{"from": "/x/y"}),
            "copy operation does not apply: doc is missing from path: /x/y: missing value",
        ),
        (
            op("copy", "/y", **{"from": "/l/7"}),
            "error in copy for from: '/l/7': Unable to access invalid index: 7: invalid index referenced",
        ),
        (op("test", "/s", value="no"), "testing value /s failed: test failed"),
        (op("test", "/one", value=True), "testing value /one failed: test failed"),
        (op("test", "/x/y", value=1), "test operation does not apply: is missing path: /x/y: missing value"),
        (
            op("test", "/l/4", value=1),
            "error in test for path: '/l/4': Unable to access invalid index: 4: invalid index referenced",
        ),
        ({"op": "add", "value": 1}, "add operation failed to decode path: missing value"),
        ({"path": "/s"}, "Unexpected kind: unknown"),
        (op("merge", "/s"), "Unexpected kind: merge"),
    ],
)
def test_what_does_not_apply(operation: dict[str, Any], message: str) -> None:
    with pytest.raises(PatchError) as caught:
        apply_json_patch({"s": "text", "one": 1, "l": [0, 1]}, [operation])
    assert str(caught.value) == message
    status = patch_status(caught.value)
    assert (status.code, status.reason) == (422, "Invalid")
    assert status.message == "the server rejected our request due to an error in our request"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({}, "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (["x"], "json: cannot unmarshal string into Go value of type handlers.jsonPatchOp"),
        (
            [{"op": 1, "path": "/a"}],
            "json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
        ),
    ],
)
def test_what_is_no_patch(patch: Any, message: str) -> None:
    with pytest.raises(BadPatchError) as caught:
        apply_json_patch({}, patch)
    status = patch_status(caught.value)
    assert (status.code, status.reason, status.message) == (
        400,
        "BadRequest",
        f"error decoding patch: {message}",
    )


def test_too_many_operations() -> None:
    with pytest.raises(PatchError) as caught:
        apply_json_patch({}, [op("test", "/a", value=None)] * 10_001)
    status = patch_status(caught.value)
    assert (status.code, status.reason) == (413, "RequestEntityTooLarge")
    assert status.message == (
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    )


def test_copies_of_copies_cannot_fill_the_memory() -> None:
    doubling = [op("copy", "/a/-", **{"from": "/a"})] * 40
    with pytest.raises(PatchError, match=f"exceeding the limit {COPY_LIMIT_BYTES}"):
        apply_json_patch({"a": ["x" * 1000]}, doubling)


def test_a_copy_and_its_original_change_apart() -> None:
    patch = [
        op("add", "/a/x", value=1),
        op("copy", "/b", **{"from": "/a"}),
        op("add", "/a/y", value=2),
        op("add", "/b/z", value=3),
    ]
    assert apply_json_patch({"a": {}}, patch) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "z": 3}}


def test_what_a_patch_inserts_is_not_changed_by_its_later_operations() -> None:
    inserted: dict[str, Any] = {"x": {}}
    patch = [op("add", "/a", value=inserted), op("add", "/b", value=inserted), op("add", "/a/x/y", value=1)]
    assert apply_json_patch({}, patch) == {"a": {"x": {"y": 1}}, "b": {"x": {}}}
    assert inserted == {"x": {}}


def test_what_the_patch_leaves_alone_is_shared() -> None:
    document = {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    result = apply_json_patch(document, [op("replace", "/spec/containers/0/name", value="c")])
    assert result["metadata"] is document["metadata"]
    assert result["spec"]["containers"][1] is document["spec"]["containers"][1]  # type: ignore[index]


LEAVES = st.none() | st.booleans() | st.integers(0, 2) | st.text("ab", max_size=1)
KEYS = st.sampled_from(["a", "b", "~/", "0"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=3)


def difference(old: Any, new: Any, path: str = "") -> list[dict[str, Any]]:
    """A JSON patch that makes `new` of `old`."""
    if json_equal(old, new):
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        places = {key: f"{path}/{key.replace('~', '~0').replace('/', '~1')}" for key in {*old, *new}}
        removed = [op("remove", places[key]) for key in old if key not in new]
        added = [op("add", places[key], value=new[key]) for key in new if key not in old]
        changed = [each for key in old if key in new for each in difference(old[key], new[key], places[key])]
        return changed + removed + added
    if isinstance(old, list) and isinstance(new, list):
        shared = min(len(old), len(new))
        changed = [each for i in range(shared) for each in difference(old[i], new[i], f"{path}/{i}")]
        removed = [op("remove", f"{path}/{shared}")] * (len(old) - shared)
        return changed + removed + [op("add", f"{path}/-", value=value) for value in new[shared:]]
    return [op("test", path, value=old), op("replace", path, value=new)]


@given(DOCUMENTS, DOCUMENTS)
def test_a_difference_leads_from_one_document_to_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = difference(old, new)
    before = deepcopy((old, patch))
    assert json_equal(apply_json_patch(old, patch), new)
    assert json_equal(before[0], old)
    assert patch == before[1]


PATHS = st.lists(KEYS | st.sampled_from(["-", "1", "-1"]), max_size=3).map(
    lambda keys: "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
)
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": PATHS,
        "from": PATHS,
        "value": VALUES,
    }
)


@given(DOCUMENTS, st.lists(OPERATIONS, max_size=6))
def test_any_patch_applies_or_is_refused_and_changes_no_input(
    document: dict[str, Any], patch: list[dict[str, Any]]
) -> None:
    before = deepcopy((document, patch))
    try:
        apply_json_patch(document, patch)
    except PatchError:
        pass
    assert (document, patch) == before
