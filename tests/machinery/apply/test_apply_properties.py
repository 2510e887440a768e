"""What holds for any objects and any row of writes."""

import copy
import json
from typing import Any

import pytest
from apply_stage import METADATA, START, Stage, built_in, canonical, custom
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tiphys.machinery.apply import Target, apply, update
from tiphys.machinery.apply.claims import merge_claim, read_claim
from tiphys.machinery.apply.fieldset import FieldSet, contains, intersection, parse, same, union
from tiphys.machinery.apply.merging import merge, prune
from tiphys.machinery.apply.target import without_unowned
from tiphys.machinery.apply.typed import compare, everything, fields_of
from tiphys.machinery.apply.validation import validate
from tiphys.machinery.errors import StatusError

THING = custom("""
number: {type: integer}
set: {type: array, x-kubernetes-list-type: set, items: {type: string}}
atomic: {type: array, items: {type: string}}
map: {type: object, additionalProperties: {type: string}}
maps: {type: object, additionalProperties: {type: object, additionalProperties: {type: string}}}
struct:
  type: object
  properties:
    name: {type: string}
    inner: {type: object, properties: {a: {type: string}, b: {type: string}}}
whole: {type: object, x-kubernetes-map-type: atomic, additionalProperties: {type: string}}
any: {x-kubernetes-preserve-unknown-fields: true}
list:
  type: array
  x-kubernetes-list-type: map
  x-kubernetes-list-map-keys: [name]
  items:
    type: object
    properties:
      name: {type: string}
      value: {type: integer}
      set: {type: array, x-kubernetes-list-type: set, items: {type: string}}
""")
SHAPE = THING.shape

NAMES = st.sampled_from("abc")
NUMBERS = st.integers(1, 3)
SETS = st.lists(NAMES, min_size=1, max_size=3, unique=True)
MAPS = st.dictionaries(NAMES, NAMES, min_size=1, max_size=2)
ITEMS = st.fixed_dictionaries({"name": NAMES}, optional={"value": NUMBERS, "set": SETS})
STRUCTS = st.fixed_dictionaries(
    {}, optional={"name": NAMES, "inner": st.fixed_dictionaries({}, optional={"a": NAMES, "b": NAMES})}
)
LISTS = st.lists(ITEMS, min_size=1, max_size=3, unique_by=lambda item: item["name"])
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "number": NUMBERS,
    "set": SETS,
    "atomic": st.lists(NAMES, max_size=2),
    "map": MAPS,
    "maps": st.dictionaries(NAMES, MAPS, min_size=1, max_size=2),
    "struct": STRUCTS,
    "whole": MAPS,
    "any": st.one_of(NUMBERS, MAPS, st.dictionaries(NAMES, MAPS, min_size=1), st.lists(NUMBERS)),
    "list": LISTS,
}
CONTENT = st.fixed_dictionaries({}, optional=PARTS)
MANAGERS = st.sampled_from(["one", "two", "three"])
WRITES = st.lists(st.tuples(st.sampled_from(["apply", "force", "update"]), MANAGERS, CONTENT), max_size=6)


@given(CONTENT, CONTENT)
def test_merging_twice_is_merging_once(live: dict[str, Any], applied: dict[str, Any]) -> None:
    merged = merge(SHAPE, live, applied)
    assert merge(SHAPE, merged, applied) is merged
    assert merge(SHAPE, live, live) is live


@given(CONTENT, CONTENT)
def test_merging_changes_only_what_is_applied(live: dict[str, Any], applied: dict[str, Any]) -> None:
    before = copy.deepcopy((live, applied))
    merged = merge(SHAPE, live, applied)
    assert (live, applied) == before
    found = compare(SHAPE, live, merged)
    wanted = everything(SHAPE, applied)
    assert contains(wanted, found.changed)
    # Nothing goes but what stood where a value of another kind comes, which only `any` and atomic parts allow.
    assert set(found.removed) <= {"f:any"}


@given(CONTENT, CONTENT)
def test_what_is_remembered_of_merging_is_what_merging_does(
    live: dict[str, Any], applied: dict[str, Any]
) -> None:
    for _ in range(2):
        parts = read_claim(THING, applied).parts
        merged, plain = merge_claim(SHAPE, live, applied, parts), merge(SHAPE, live, applied)
        assert merged == plain
        assert (merged is live) == (plain is live)
        again = merge_claim(SHAPE, merged, applied, parts)
        assert again is merged


@given(CONTENT, CONTENT)
def test_sets_are_the_same_when_they_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    mine, theirs = fields_of(SHAPE, one), fields_of(SHAPE, other)
    for _ in range(2):
        assert same(mine, theirs) == (mine == theirs)
        assert same(mine, fields_of(SHAPE, copy.deepcopy(one)))


@given(CONTENT, CONTENT)
def test_differences_are_mirrored(old: dict[str, Any], new: dict[str, Any]) -> None:
    there, back = compare(SHAPE, old, new), compare(SHAPE, new, old)
    assert contains(there.changed, back.removed)
    assert contains(back.changed, there.removed)
    assert (there == ({}, {})) == (_sorted_sets(old) == _sorted_sets(new))
    for fields in (*there, *back):
        assert json.dumps(parse(fields)) == json.dumps(fields)


def _sorted_sets(content: dict[str, Any]) -> dict[str, Any]:
    """Of lists that are owned by element, the order is no difference."""
    content = copy.deepcopy(content)
    for holder in (content, *content.get("list", [])):
        if "set" in holder:
            holder["set"].sort()
    content.get("list", []).sort(key=lambda item: item["name"])
    return content


@given(CONTENT, CONTENT)
def test_pruning_what_is_held_changes_nothing(value: dict[str, Any], other: dict[str, Any]) -> None:
    fields = fields_of(SHAPE, value)
    assert prune(SHAPE, value, fields, [fields]) is value
    merged = merge(SHAPE, value, other)
    rest = prune(SHAPE, merged, fields_of(SHAPE, other), [everything(SHAPE, value)])
    assert not compare(SHAPE, value, rest).removed or "any" in other


def _write(stage: Stage, verb: str, manager: str, content: dict[str, Any]) -> None:
    if verb == "update":
        stage.update(manager, content)
        return
    try:
        stage.apply(manager, content, force=verb == "force")
        return
    except StatusError as error:
        code = error.code
    assert (code, verb) == (409, "apply")


def _fields(stage: Stage, operation: str = "") -> FieldSet:
    """All that is owned."""
    found: FieldSet = {}
    for entry in stage.entries:
        if not operation or entry["operation"] == operation:
            found = union(found, entry["fieldsV1"])
    return found


@settings(max_examples=80)
@given(WRITES)
def test_any_row_of_writes(writes: list[tuple[str, str, dict[str, Any]]]) -> None:
    stage = Stage(THING)
    for verb, manager, content in writes:
        _write(stage, verb, manager, content)
        if stage.live is None:
            continue
        identities = [(each["manager"], each["operation"]) for each in stage.entries]
        assert len(set(identities)) == len(identities)
        assert contains(everything(SHAPE, without_unowned(stage.object)), _fields(stage)), (
            "owned, but not there"
        )
        for entry in stage.entries:
            assert json.dumps(parse(entry["fieldsV1"])) == json.dumps(entry["fieldsV1"])


@settings(max_examples=80)
@given(WRITES, MANAGERS, CONTENT)
def test_what_is_forced_is_there_and_owned(
    writes: list[tuple[str, str, dict[str, Any]]], manager: str, content: dict[str, Any]
) -> None:
    stage = Stage(THING)
    for verb, writer, written in writes:
        _write(stage, verb, writer, written)
    stage.apply(manager, content, force=True)
    live = stage.object
    assert merge(SHAPE, live, content) is live, "applied, but not there"
    own = [each for each in stage.entries if (each["manager"], each["operation"]) == (manager, "Apply")]
    assert [each["fieldsV1"] for each in own] == [fields for fields in [fields_of(SHAPE, content)] if fields]
    if own:
        assert stage.apply(manager, content) is live, "applying again is no change"


@settings(max_examples=80)
@given(CONTENT, CONTENT)
def test_disjoint_appliers_commute(one: dict[str, Any], other: dict[str, Any]) -> None:
    apart = intersection(everything(SHAPE, one), everything(SHAPE, other))
    assume(not apart or _agree(one, other))
    results = []
    for order in ((("one", one), ("two", other)), (("two", other), ("one", one))):
        stage = Stage(THING)
        for manager, content in order:
            stage.apply(manager, content)
        results.append((_sorted_sets(stage.content), stage.owners))
    assert results[0] == results[1]


def _agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether nobody would change what the other set."""
    return all(
        not intersection(compare(SHAPE, first, merge(SHAPE, first, second)).changed, fields_of(SHAPE, first))
        for first, second in ((one, other), (other, one))
    ) and type(one.get("any")) is type(other.get("any"))


@given(CONTENT, CONTENT)
def test_giving_up_brings_back_what_was(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Who applies and then applies nothing leaves no trace, but where he took over or shared an object."""
    stage = Stage(THING)
    stage.update("creator", one)
    before = stage.content
    try:
        stage.apply("guest", other)
    except StatusError:
        return
    stage.apply("guest", {})
    assert _sorted_sets(stage.content) == _sorted_sets(before)
    assert "guest" not in stage.owners or not other


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "name", "containers", "ports", "env", "labels", "a"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
POD = built_in("core/v1.Pod", "v1")


@settings(max_examples=100)
@given(
    st.dictionaries(st.sampled_from(["spec", "status", "a"]), JSON),
    st.sampled_from([POD, THING, custom(None)]),
)
def test_any_json_is_applied_or_refused(content: dict[str, Any], target: Target) -> None:
    """Never anything but a Status; what is accepted can be written to from then on."""
    body = {"apiVersion": target.api_version, "kind": target.kind, "metadata": {"name": "x"}, **content}
    if validate(target.shape, body):
        with pytest.raises(StatusError, match=r"failed to create typed patch object \(/x; ") as raised:
            apply(target, None, body, "one", force=False, now=START)
        assert raised.value.code == 500
        return
    obj = canonical(apply(target, None, body, "one", force=False, now=START))
    apply(target, obj, body, "two", force=True, now=START)
    apply(
        target,
        obj,
        {key: body[key] for key in ("apiVersion", "kind", "metadata")},
        "one",
        force=False,
        now=START,
    )


@given(JSON)
def test_metadata_of_any_kind(value: Any) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": value}
    if validate(POD.shape, body):
        with pytest.raises(StatusError):
            apply(POD, None, body, "one", force=False, now=START)
    else:
        assert apply(POD, None, body, "one", force=False, now=START)["kind"] == "Pod"


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = {"any": found}
    return found


@pytest.mark.parametrize("target", [POD, THING, custom(None)])
def test_applied_and_nested_too_deeply(target: Target) -> None:
    body = {"apiVersion": target.api_version, "kind": target.kind, "metadata": {"name": "x"}, **nested(5000)}
    with pytest.raises(StatusError) as raised:
        apply(target, None, body, "one", force=False, now=START)
    assert (raised.value.code, raised.value.message) == (400, "json: exceeded max depth")


def test_updated_and_nested_too_deeply() -> None:
    stage = Stage(THING)
    stage.apply("one", "any: 1")
    body = {**stage.object, **nested(5000)}
    assert update(THING, stage.object, body, "two", START) is stage.entries
    assert update(THING, None, body, "two", START) is None


def test_elements_without_keys_in_what_is_stored() -> None:
    """Only an update can bring them there. It does not fail; whoever applies is told."""
    stage = Stage(THING)
    stage.apply("one", "list: [{name: a}]")
    entries = stage.entries
    new = stage.update("two", "list: [{value: 1}]")
    assert new["metadata"]["managedFields"] == entries
    with pytest.raises(StatusError) as raised:
        stage.apply("one", "list: [{name: a}]")
    assert (raised.value.code, raised.value.message) == (
        500,
        "failed to create typed live object (default/x; example.com/v1, Kind=Thing): .list: element 0: "
        'associative list with keys has an element that omits all key fields ["name"] '
        "(and doesn't have default values for any key fields)",
    )


def test_metadata_shape_is_that_of_every_object() -> None:
    assert fields_of(METADATA, {"labels": {"a": "b"}}) == {"f:labels": {"f:a": {}}}
