"""The order of groups and versions, as upstream's helpers sort APIServices."""

import pytest

from tiphys.api.scheme import built_in
from tiphys.apiserver.aggregation.priorities import BUILT_IN, FIRST_GROUP, Priority, of_local, ordered
from tiphys.machinery.gvk import GroupVersion
from tiphys.machinery.versions import preference


@pytest.mark.parametrize(
    "expected",
    [
        ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"],
        ["v1", "v1beta2", "v1beta1", "v1alpha2", "v01", "v1beta0", "v1gamma1"],
    ],
)
def test_stable_versions_come_first_and_of_equals_the_higher(expected: list[str]) -> None:
    assert sorted(expected, key=preference) == expected


def test_every_group_version_of_ours_has_a_priority() -> None:
    served = set(built_in().group_versions())
    assert {version for version in served if version.group != FIRST_GROUP} == set(BUILT_IN)


def test_a_group_has_the_highest_priority_of_its_versions() -> None:
    priorities = {
        GroupVersion("low.example", "v1"): Priority(100, 10),
        GroupVersion("high.example", "v1"): Priority(50, 10),
        GroupVersion("high.example", "v2"): Priority(200, 5),
    }
    assert ordered(priorities) == {"high.example": ["v1", "v2"], "low.example": ["v1"]}


def test_of_equal_groups_one_document_goes_by_the_group_and_the_other_by_the_object() -> None:
    priorities = {
        GroupVersion("a.example", "v1beta1"): Priority(1000, 100),
        GroupVersion("b.example", "v1"): Priority(1000, 100),
    }
    assert list(ordered(priorities)) == ["a.example", "b.example"]
    assert list(ordered(priorities, by_service=True)) == ["b.example", "a.example"]


def test_custom_resources_come_last_and_their_versions_go_by_their_names() -> None:
    versions = [GroupVersion("shop.example", name) for name in ("v1beta1", "v2", "v1")]
    priorities = {version: of_local(version) for version in (*versions, *built_in().group_versions())}
    groups = ordered(priorities)
    assert list(groups)[-1] == "shop.example"
    assert groups["shop.example"] == ["v2", "v1", "v1beta1"]
    assert next(iter(groups)) == FIRST_GROUP
