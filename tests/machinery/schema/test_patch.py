"""A struct as strategic merge patches see it."""

from tiphys.api.types import TYPES
from tiphys.machinery.patches.strategic import apply_strategic_patch
from tiphys.machinery.schema import patch_schema

POD = patch_schema(TYPES.struct("core/v1.Pod"))


def test_lists_that_merge_know_their_key_and_the_type_of_their_elements() -> None:
    spec = POD.field("spec")
    assert spec is not None
    assert spec.value is not None
    containers = spec.value.field("containers")
    assert containers is not None
    assert (containers.strategy, containers.merge_key) == (frozenset({"merge"}), "name")
    assert containers.items is not None
    ports = containers.items.field("ports")
    assert ports is not None
    assert ports.merge_key == "containerPort"


def test_two_strategies_at_once() -> None:
    spec = POD.field("spec")
    assert spec is not None
    assert spec.value is not None
    volumes = spec.value.field("volumes")
    assert volumes is not None
    assert volumes.strategy == frozenset({"merge", "retainKeys"})


def test_an_unknown_field_is_none() -> None:
    assert POD.field("nothing") is None


def test_every_name_of_a_map_is_alike() -> None:
    properties = patch_schema(TYPES.struct("apiextensions/v1.JSONSchemaProps")).field("properties")
    assert properties is not None
    assert properties.value is not None
    inner = properties.value.field("whatever")
    assert inner is not None
    assert inner.value is not None
    assert inner.value.field("x-kubernetes-validations") is not None


def test_a_patch_merges_what_the_types_say() -> None:
    pod = {"spec": {"containers": [{"name": "a", "args": ["1", "2"]}, {"name": "b"}]}}
    patch = {"spec": {"containers": [{"name": "a", "image": "x", "args": ["3"]}]}}
    assert apply_strategic_patch(pod, patch, POD) == {
        "spec": {"containers": [{"name": "a", "image": "x", "args": ["3"]}, {"name": "b"}]}
    }
