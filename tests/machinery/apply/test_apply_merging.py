"""What is applied merges in, and in which order; what is given up goes."""

from typing import Any

import pytest
import yaml
from apply_stage import built_in, custom

from tiphys.machinery.apply.fieldset import FieldSet
from tiphys.machinery.apply.merging import merge, prune

SHAPE = custom("""
number: {type: number}
set: {type: array, x-kubernetes-list-type: set, items: {type: string}}
atomic: {type: array, items: {type: string}}
map: {type: object, additionalProperties: {type: string}}
struct: {type: object, properties: {name: {type: string}, value: {type: integer}}}
any: {x-kubernetes-preserve-unknown-fields: true}
list:
  type: array
  x-kubernetes-list-type: map
  x-kubernetes-list-map-keys: [name]
  items: {type: object, properties: {name: {type: string}, value: {type: integer}, more: {type: integer}}}
""").shape


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        ("{number: 1}", "{number: 2}", "{number: 2}"),
        ("{}", "{map: {}}", "{map: {}}"),
        ("{}", "{map: null}", "{map: null}"),
        ("{map: null}", "{map: {}}", "{map: {}}"),
        ("{map: {}}", "{map: null}", "{map: null}"),
        ("{map: {a: b}}", "{map: null}", "{map: {a: b}}"),
        ("{map: {a: b}}", "{map: {c: d}}", "{map: {a: b, c: d}}"),
        ("{struct: {name: b, value: 1}}", "{struct: {}}", "{struct: {name: b, value: 1}}"),
        ("{atomic: [a]}", "{atomic: null}", "{atomic: null}"),
        ("{atomic: [a, b]}", "{atomic: []}", "{atomic: []}"),
        ("{atomic: [a, a, a]}", "{atomic: [a, a]}", "{atomic: [a, a]}"),
        ("{set: [a, b, c]}", "{set: []}", "{set: [a, b, c]}"),
        ("{set: []}", "{set: [a, b]}", "{set: [a, b]}"),
        ("{any: {a: {b: 1}, c: [1]}}", "{any: {a: {d: 2}, c: [2]}}", "{any: {a: {b: 1, d: 2}, c: [2]}}"),
        ("{any: 1}", "{any: {a: 1}}", "{any: {a: 1}}"),
        ("{any: {a: 1}}", "{any: [1]}", "{any: [1]}"),
        (
            "{list: [{name: a, value: 1, more: 2}, {name: b}]}",
            "{list: [{name: a, value: 3}]}",
            "{list: [{name: a, value: 3, more: 2}, {name: b}]}",
        ),
        # Who cannot be told from each other is replaced as one.
        ("{list: [{name: a, value: 1}, {name: a, more: 2}]}", "{list: [{name: a}]}", "{list: [{name: a}]}"),
        ("{set: [a, a, b]}", "{set: [a]}", "{set: [a, b]}"),
        ("{set: [a, a, b]}", "{set: [c]}", "{set: [a, a, b, c]}"),
    ],
)
def test_merge(live: str, applied: str, merged: str) -> None:
    assert merge(SHAPE, yaml.safe_load(live), yaml.safe_load(applied)) == yaml.safe_load(merged)


@pytest.mark.parametrize(
    ("live", "applied", "order"),
    [
        ("abc", "ab", "abc"),
        ("ab", "abc", "abc"),
        ("abcd", "adcb", "adcb"),
        ("a", "b", "ab"),
        ("abcd", "axcy", "abxcdy"),
        ("xay", "ba", "xbay"),
        ("abx", "ba", "bxa"),
        ("bxa", "ab", "xab"),
        ("", "ab", "ab"),
        ("dcba", "ad", "cbad"),
    ],
)
def test_order(live: str, applied: str, order: str) -> None:
    """The applied order holds; what nobody applies stays before what it stood before."""
    assert merge(SHAPE, {"set": [*live]}, {"set": [*applied]}) == {"set": [*order]}
    items = merge(
        SHAPE, {"list": [{"name": name} for name in live]}, {"list": [{"name": name} for name in applied]}
    )
    assert [item["name"] for item in items["list"]] == [*order]


def test_nothing_new_is_the_same_object() -> None:
    live = {
        "struct": {"name": "a"},
        "list": [{"name": "a", "value": 1}],
        "set": ["a", "b"],
        "map": {"x": "y"},
    }
    assert merge(SHAPE, live, {"list": [{"name": "a"}], "set": ["b"], "map": {}, "struct": None}) is live


def test_what_stays_is_shared() -> None:
    live = {"struct": {"name": "a"}, "list": [{"name": "a"}, {"name": "b"}]}
    merged = merge(SHAPE, live, {"list": [{"name": "b", "value": 1}]})
    assert merged["struct"] is live["struct"]
    assert merged["list"][0] is live["list"][0]
    assert live["list"] == [{"name": "a"}, {"name": "b"}]


def test_types_of_go_keep_no_nulls() -> None:
    pod = built_in("core/v1.Pod", "v1").shape
    applied = {
        "metadata": {"creationTimestamp": None, "labels": None},
        "spec": {"containers": [{"name": "a", "image": None}]},
    }
    assert merge(pod, {}, applied) == {"metadata": {}, "spec": {"containers": [{"name": "a"}]}}
    live = {"spec": {"hostname": "h", "containers": [{"name": "a", "image": "i"}]}}
    applied = {"spec": {"hostname": None, "containers": [{"name": "a", "image": None}]}}
    assert merge(pod, live, applied) == {"spec": {"containers": [{"name": "a"}]}}


LIST: FieldSet = {"f:list": {'k:{"name":"a"}': {".": {}, "f:value": {}}}}


@pytest.mark.parametrize(
    ("value", "given_up", "held", "rest"),
    [
        ("{number: 1, struct: {name: a}}", {"f:number": {}}, {}, "{struct: {name: a}}"),
        ("{number: 1}", {"f:number": {}}, {"f:number": {}}, "{number: 1}"),
        ("{struct: {name: a, value: 1}}", {"f:struct": {"f:name": {}}}, {}, "{}"),
        (
            "{struct: {name: a, value: 1}}",
            {"f:struct": {"f:name": {}}},
            {"f:struct": {"f:value": {}}},
            "{struct: {value: 1}}",
        ),
        ("{map: {a: b, c: d}}", {"f:map": {"f:a": {}}}, {"f:map": {}}, "{map: {c: d}}"),
        ("{map: {a: b}}", {"f:map": {"f:a": {}}}, {"f:map": {}}, "{map: {}}"),
        ("{set: [a, b]}", {"f:set": {'v:"a"': {}}}, {"f:set": {}}, "{set: [b]}"),
        ("{set: [a, b]}", {"f:set": {'v:"a"': {}}}, {"f:set": {'v:"b"': {}}}, "{set: [b]}"),
        # An element goes with all that is in it, whoever owns that …
        (
            "{list: [{name: a, value: 1, more: 2}]}",
            LIST,
            {"f:list": {'k:{"name":"a"}': {"f:more": {}}}},
            "{list: []}",
        ),
        # … unless somebody owns the element itself.
        (
            "{list: [{name: a, value: 1, more: 2}]}",
            LIST,
            {"f:list": {'k:{"name":"a"}': {".": {}, "f:more": {}}}},
            "{list: [{name: a, more: 2}]}",
        ),
        ("{any: {a: {b: 1, c: 2}}}", {"f:any": {"f:a": {"f:b": {}}}}, {"f:any": {}}, "{any: {a: {c: 2}}}"),
        ("{atomic: [a]}", {"f:atomic": {}}, {}, "{}"),
        ("{set: []}", {"f:set": {'v:"a"': {}}}, {}, "{set: []}"),
    ],
)
def test_prune(value: str, given_up: FieldSet, held: FieldSet, rest: str) -> None:
    before: dict[str, Any] = yaml.safe_load(value)
    assert prune(SHAPE, before, given_up, [held]) == yaml.safe_load(rest)
    assert before == yaml.safe_load(value)


def test_nothing_given_up_is_the_same_object() -> None:
    value = {"list": [{"name": "a", "value": 1}], "map": {"a": "b"}}
    assert (
        prune(SHAPE, value, {"f:map": {"f:x": {}}, "f:list": {'k:{"name":"b"}': {}}}, [LIST, {"f:map": {}}])
        is value
    )
