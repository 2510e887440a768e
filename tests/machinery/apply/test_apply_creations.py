"""Creations are remembered by form: what is remembered of one object must hold for every other of the same form."""

from __future__ import annotations

from typing import Any

from apply_stage import START, built_in, custom
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.apply import Target, update
from tiphys.machinery.apply.creations import KNOWN_LIMIT, Creations, form_of

MAKERS = [
    lambda: built_in("core/v1.Pod", "v1"),
    lambda: built_in("core/v1.ConfigMap", "v1"),
    lambda: custom(None),
]
SCALARS = st.sampled_from(["", "a", "b", 0, 1, 2, True, False, None, 1.5, 0.0])
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), max_size=2)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("xyz")}, optional={"image": st.sampled_from(["", "i", "j"])}
    ),
    max_size=2,
    unique_by=lambda container: container["name"],
)
OBJECTS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from(["", "n", "m"]), "labels": LABELS}
        )
    },
    optional={
        "data": LABELS,
        "immutable": st.booleans(),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": CONTAINERS,
                "hostNetwork": st.booleans(),
                "nodeName": SCALARS,
                "x": SCALARS,
            },
        ),
        "other": st.one_of(
            SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.sampled_from("pq"), SCALARS)
        ),
    },
)


def owners(target: Target, obj: dict[str, Any]) -> Any:
    return update(target, None, obj, "tester", START)


@given(st.sampled_from(MAKERS), st.lists(OBJECTS, min_size=2, max_size=8))
def test_what_came_before_changes_nothing(make: Any, objects: list[dict[str, Any]]) -> None:
    shared = make()
    for obj in objects:
        assert owners(shared, obj) == owners(make(), obj)


def test_one_form_whatever_stands_in_it() -> None:
    def config_map(name: str, value: str) -> dict[str, Any]:
        return {
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"app": name}},
            "data": {"key": value},
        }

    assert form_of(config_map("one", "a")) == form_of(config_map("two", "b"))
    assert form_of(config_map("one", "a")) != form_of(config_map("two", ""))


def test_no_more_is_kept_than_is_worth_it() -> None:
    assert form_of({"data": {f"key-{number}": "x" for number in range(1000)}}) is None
    assert form_of({"spec": {"list": ["x" * 100] * 100}}) is None
    creations = Creations()
    for number in range(3 * KNOWN_LIMIT):
        creations.remember(number, {})
    assert creations.find(0) is None
    assert creations.find(3 * KNOWN_LIMIT - 1) == {}
