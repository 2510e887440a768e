"""Strategic merge patch: merged lists, directives, order, errors."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.patches import (
    BadPatchError,
    PatchError,
    PatchField,
    PatchSchema,
    apply_strategic_patch,
    patch_status,
)

MERGE = frozenset({"merge"})


class Block:
    """A type with the given fields; with `every`, a map whose values are all alike."""

    def __init__(self, every: PatchField | None = None, **fields: PatchField) -> None:
        self._fields = fields
        self._every = every

    def field(self, name: str) -> PatchField | None:
        return self._fields.get(name, self._every)


PORT = Block()
CONTAINER = Block(
    ports=PatchField(MERGE, "containerPort", items=PORT),
    args=PatchField(),
    env=PatchField(MERGE, "name", items=Block()),
    resources=PatchField(value=Block(limits=PatchField(value=Block()))),
)
VOLUME = Block()
POD_SPEC = Block(
    containers=PatchField(MERGE, "name", items=CONTAINER),
    volumes=PatchField(frozenset({"merge", "retainKeys"}), "name", items=VOLUME),
    tolerations=PatchField(),
    selector=PatchField(frozenset({"replace"}), value=Block()),
)
METADATA = Block(
    finalizers=PatchField(MERGE),
    labels=PatchField(value=Block()),
    nested=PatchField(value=Block(every=PatchField(value=CONTAINER))),
)
POD: PatchSchema = Block(spec=PatchField(value=POD_SPEC), metadata=PatchField(value=METADATA))


def patched(document: Any, patch: Any) -> Any:
    before = deepcopy((document, patch))
    result = apply_strategic_patch(document, patch, POD)
    assert (document, patch) == before
    return result


def named(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, **more} for name in names]


def containers(*names: str) -> dict[str, Any]:
    return {"spec": {"containers": named(*names)}}


def names_of(result: Any, field: str = "containers") -> list[str]:
    return [element["name"] for element in result["spec"][field]]


# Objects


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"b": "2"}}}, {"metadata": {"labels": {"a": "1", "b": "2"}}}),
        ({"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"a": None}}}, {"metadata": {"labels": {}}}),
        ({"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": None}}, {"metadata": {}}),
        ({}, {"metadata": {"labels": None}}, {"metadata": {}}),
        ({}, {"metadata": {"labels": {"a": None, "b": "1"}}}, {"metadata": {"labels": {"b": "1"}}}),
        ({"spec": {"tolerations": [1, 2]}}, {"spec": {"tolerations": [3]}}, {"spec": {"tolerations": [3]}}),
        ({"spec": {"selector": {"a": 1}}}, {"spec": {"selector": {"b": 2}}}, {"spec": {"selector": {"b": 2}}}),
        ({"spec": "text"}, {"spec": {"a": 1}}, {"spec": {"a": 1}}),
        ({"spec": {"a": 1}}, {"spec": "text"}, {"spec": "text"}),
        ({"unknown": {"a": [1]}}, {"unknown": {"a": [2], "b": 1}}, {"unknown": {"a": [2], "b": 1}}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)  # fmt: skip
def test_objects_merge_and_other_values_replace(document: Any, patch: Any, result: Any) -> None:
    assert patched(document, patch) == result


@pytest.mark.parametrize(
    ("patch", "labels"),
    [
        ({"$patch": "replace", "b": "2", "c": None}, {"b": "2"}),
        ({"$patch": "delete"}, {}),
    ],
)
def test_directives_of_an_object(patch: Any, labels: dict[str, str]) -> None:
    document = {"metadata": {"labels": {"a": "1"}}}
    assert patched(document, {"metadata": {"labels": patch}}) == {"metadata": {"labels": labels}}


def test_a_directive_for_what_is_not_there_leaves_nothing() -> None:
    assert patched({"metadata": {}}, {"metadata": {"labels": {"$patch": "delete"}}}) == {"metadata": {}}


def test_the_values_of_a_map_have_a_type_too() -> None:
    document = {"metadata": {"nested": {"any": {"env": named("A", value="1")}}}}
    result = patched(document, {"metadata": {"nested": {"any": {"env": named("A", other="2")}}}})
    assert result["metadata"]["nested"]["any"]["env"] == [{"name": "A", "value": "1", "other": "2"}]


# Lists of objects


def test_elements_merge_by_their_key() -> None:
    document = {"spec": {"containers": [{"name": "a", "image": "one", "args": ["x"]}, {"name": "b"}]}}
    result = patched(document, {"spec": {"containers": [{"name": "a", "image": "two"}]}})
    assert result["spec"]["containers"] == [{"name": "a", "image": "two", "args": ["x"]}, {"name": "b"}]


def test_lists_inside_elements_merge_too() -> None:
    document = {
        "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 443}]}]}
    }
    patch = {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "web"}]}]}}
    assert patched(document, patch)["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "name": "web"},
        {"containerPort": 443},
    ]


@pytest.mark.parametrize(
    ("server", "patch", "order"),
    [
        ("abc", "d", "dabc"),  # what is new to the server comes first
        ("abc", "b", "abc"),
        ("abc", "ca", "bca"),  # what the patch names has the patch's order
        ("abc", "bd", "abdc"),
        ("", "ab", "ab"),
        ("abc", "", "abc"),
    ],
)
def test_the_order_without_being_told(server: str, patch: str, order: str) -> None:
    assert "".join(names_of(patched(containers(*server), containers(*patch)))) == order


def test_elements_are_deleted_by_their_key() -> None:
    patch = {"spec": {"containers": [{"name": "b", "$patch": "delete"}, {"name": "x", "$patch": "delete"}]}}
    assert names_of(patched(containers("a", "b", "c"), patch)) == ["a", "c"]


def test_a_list_can_be_replaced_whole() -> None:
    patch = {"spec": {"containers": [{"name": "z", "image": None}, {"$patch": "replace"}]}}
    assert patched(containers("a", "b"), patch)["spec"]["containers"] == [{"name": "z"}]


def test_retain_keys_clears_the_other_fields() -> None:
    document = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    patch = {
        "spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}
    }
    assert patched(document, patch)["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_what_is_added_carries_neither_nulls_nor_directives() -> None:
    patch = {
        "spec": {
            "containers": [
                {
                    "name": "a",
                    "image": None,
                    "$setElementOrder/env": named("E"),
                    "env": named("E", value=None),
                },
                {"name": "gone", "$patch": "delete"},
            ]
        }
    }
    assert patched({}, patch) == {"spec": {"containers": [{"name": "a", "env": [{"name": "E"}]}]}}


# Lists of plain values


@pytest.mark.parametrize(
    ("server", "patch", "result"),
    [
        (["a"], {"finalizers": ["b"]}, ["b", "a"]),
        (["a", "b"], {"finalizers": ["b"]}, ["a", "b"]),
        (["a", "b", "c"], {"$deleteFromPrimitiveList/finalizers": ["b", "x"]}, ["a", "c"]),
        (
            ["a", "b"],
            {
                "$setElementOrder/finalizers": ["c", "b"],
                "$deleteFromPrimitiveList/finalizers": ["a"],
                "finalizers": ["c"],
            },
            ["c", "b"],
        ),
        (["a", "b"], {"$setElementOrder/finalizers": ["b", "a"]}, ["b", "a"]),
        (None, {"$deleteFromPrimitiveList/finalizers": ["a"]}, None),
        (None, {"$setElementOrder/finalizers": ["a"], "finalizers": ["a"]}, ["a"]),
        (None, {"$setElementOrder/finalizers": ["a"]}, None),
    ],
)
def test_sets_of_plain_values(server: list[str] | None, patch: Any, result: list[str] | None) -> None:
    document = {"metadata": {"finalizers": server} if server is not None else {}}
    assert patched(document, {"metadata": patch})["metadata"].get("finalizers") == result


# Order


@pytest.mark.parametrize(
    ("server", "patch", "wanted", "order"),
    [
        ("abc", "", "cba", "cba"),
        ("abc", "d", "abcd", "abcd"),
        ("abc", "", "ca", "bca"),  # the server's own keep their place before those they stood before
        ("abcd", "", "ac", "abcd"),
        ("", "ab", "ba", None),
        ("ax", "b", "ab", "abx"),
    ],
)
def test_the_order_that_the_patch_wants(server: str, patch: str, wanted: str, order: str | None) -> None:
    change: dict[str, Any] = {"$setElementOrder/containers": named(*wanted)}
    if patch:
        change["containers"] = named(*patch)
    document = containers(*server) if server else {"spec": {}}
    if order is None:
        with pytest.raises(PatchError, match=r"doesn't match \$setElementOrder list"):
            patched(document, {"spec": change})
    else:
        assert "".join(names_of(patched(document, {"spec": change}))) == order


def test_deletion_and_order_go_together() -> None:
    change = {
        "$setElementOrder/containers": named("c", "a"),
        "containers": [{"name": "a", "image": "new"}, {"name": "b", "$patch": "delete"}],
    }
    result = patched(containers("a", "b", "c"), {"spec": change})
    assert result["spec"]["containers"] == [{"name": "c"}, {"name": "a", "image": "new"}]


# Errors

ONE = {
    "spec": {"containers": named("a"), "volumes": named("v")},
    "metadata": {"finalizers": ["a"], "labels": {}},
}


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        (
            {"spec": {"containers": [{"image": "x"}]}},
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            {"spec": {"containers": [{"$patch": "delete"}]}},
            500,
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        (
            {"spec": {"containers": [{"name": "a", "$patch": "merge"}]}},
            500,
            "merging lists cannot yet be specified in the patch",
        ),
        (
            {"spec": {"containers": [{"name": "a", "$patch": "drop"}]}},
            500,
            "unknown patch type: drop in map: map[$patch:drop name:a]",
        ),
        (
            {"metadata": {"labels": {"$patch": "merge"}}},
            500,
            "unknown patch type: merge in map: map[$patch:merge]",
        ),
        ({"metadata": {"finalizers": ["b", 1]}}, 500, "list element types are not identical: [[a] [b 1]]"),
        ({"spec": {"containers": ["a"]}}, 500, "list element types are not identical: [[map[name:a]] [a]]"),
        (
            {"metadata": {"finalizers": [["b"]]}},
            422,
            "the server rejected our request due to an error in our request",
        ),
        (
            {"spec": {"volumes": [{"name": "v", "$retainKeys": "x"}]}},
            400,
            "invalid patch format of retainKeys",
        ),
        (
            {"spec": {"volumes": [{"name": "v", "emptyDir": {}, "$retainKeys": ["name"]}]}},
            400,
            "invalid patch format of retainKeys",
        ),
        ({"metadata": {"$deleteFromPrimitiveList": ["a"]}}, 400, "invalid patch format of primitive list"),
        ({"metadata": {"$setElementOrder": ["a"]}}, 400, "invalid patch format of setElementOrder list"),
        (
            {"metadata": {"$setElementOrder/finalizers": "a"}},
            500,
            "expected a []interface {}, but received a string",
        ),
        (
            {"spec": {"$setElementOrder/containers": named("a"), "containers": named("b")}},
            500,
            "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
        ),
        ([], 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ],
)
def test_errors(patch: Any, code: int, message: str) -> None:
    with pytest.raises(PatchError) as caught:
        patched(ONE, patch)
    status = patch_status(caught.value)
    assert (status.code, status.message) == (code, message)
    assert isinstance(caught.value, BadPatchError) == (code == 400)


def test_a_merge_key_must_be_a_plain_value() -> None:
    with pytest.raises(PatchError, match="no plain value at merge key: name"):
        patched(ONE, {"spec": {"containers": [{"name": {"a": 1}}]}})


def test_without_a_schema_lists_are_replaced() -> None:
    assert apply_strategic_patch({"a": [1], "b": {"c": 1}}, {"a": [2], "b": {"d": 2}}, None) == {
        "a": [2],
        "b": {"c": 1, "d": 2},
    }


def test_what_the_patch_leaves_alone_is_shared() -> None:
    document = containers("a", "b")
    result = patched(document, {"spec": {"containers": [{"name": "a", "image": "x"}]}})
    assert result["spec"]["containers"][1] is document["spec"]["containers"][1]


# Laws

NAMES = st.sampled_from("abcd")
CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": NAMES}, optional={"image": st.sampled_from(["x", "y"])}),
    unique_by=lambda element: element["name"],
    max_size=4,
)
LABELS = st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=3)
DOCUMENTS = st.builds(
    lambda labels, elements, finalizers: {
        "metadata": {"labels": labels, "finalizers": finalizers},
        "spec": {"containers": elements},
    },
    LABELS,
    CONTAINERS,
    st.lists(NAMES, unique=True, max_size=3),
)


@given(DOCUMENTS, DOCUMENTS)
def test_patching_twice_is_patching_once(document: dict[str, Any], patch: dict[str, Any]) -> None:
    once = patched(document, patch)
    assert patched(once, patch) == once


@given(DOCUMENTS, DOCUMENTS)
def test_a_document_patched_holds_the_patch_and_loses_nothing(
    document: dict[str, Any], patch: dict[str, Any]
) -> None:
    result = patched(document, patch)
    assert result["metadata"]["labels"] == {**document["metadata"]["labels"], **patch["metadata"]["labels"]}
    assert set(names_of(result)) == set(names_of(document)) | set(names_of(patch))
    assert len(names_of(result)) == len(set(names_of(result)))
    order = names_of(result)
    assert [name for name in order if name in names_of(patch)] == names_of(patch)
    rest = [name for name in names_of(document) if name not in names_of(patch)]
    assert [name for name in order if name not in names_of(patch)] == rest


@given(DOCUMENTS, st.permutations("abcd"))
def test_the_wanted_order_is_kept(document: dict[str, Any], wanted: list[str]) -> None:
    result = patched(document, {"spec": {"$setElementOrder/containers": named(*wanted)}})
    assert names_of(result) == [name for name in wanted if name in names_of(document)]


# Objects of a patch without directives are merged in a shorter way

names = st.sampled_from(["name", "a$b", "labels", "ports", "free"])
values = st.recursive(
    st.sampled_from([None, 1, True, "x", 1.5]),
    lambda below: st.one_of(
        st.dictionaries(names, below, max_size=3),
        st.lists(below, max_size=3),
        st.lists(
            st.fixed_dictionaries({"name": st.sampled_from("ab")}, optional={"free": below}), max_size=2
        ),
    ),
    max_leaves=8,
)


MANY: PatchSchema = Block(
    labels=PatchField(value=Block()),
    ports=PatchField(MERGE, "name", items=Block(free=PatchField(MERGE, "name", items=Block()))),
    free=PatchField(frozenset({"replace"}), value=Block()),
)


def with_idle_directives(value: Any) -> Any:
    """The same patch, with a directive in every object that finds nothing to do."""
    if isinstance(value, dict):
        idle: dict[str, Any] = {"$deleteFromPrimitiveList/nothing": []}
        return {**idle, **{name: with_idle_directives(item) for name, item in value.items()}}
    return [with_idle_directives(item) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(names, values, max_size=4), st.dictionaries(names, values, max_size=4))
def test_a_patch_without_directives_does_what_it_does_with_idle_ones(
    document: dict[str, Any], patch: dict[str, Any]
) -> None:
    def outcome(sent: dict[str, Any]) -> Any:
        try:
            return apply_strategic_patch(deepcopy(document), sent, MANY)
        except PatchError as error:
            return type(error)

    assert outcome(patch) == outcome(with_idle_directives(patch))
