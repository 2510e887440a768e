"""Which requests rules and selectors ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tiphys.api.scheme import built_in
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.matching import Criteria, configures_admission, convert, equivalents
from tiphys.apiserver.call import ANONYMOUS
from tiphys.machinery.errors import StatusError

SCHEME = built_in()
NAMESPACES = {"shop": {"team": "a"}, "lab": {"team": "b"}}


class _Objects:
    def cache(self, group: str, plural: str) -> Any:
        def get(namespace: str, name: str) -> Any:
            labels = NAMESPACES.get(name)
            return None if labels is None else SimpleNamespace(labels=labels)

        return SimpleNamespace(get=get)


def request(resource: str, operation: str = "CREATE", **more: Any) -> Attributes:
    """`apps/v1/deployments`, `v1/pods/status`."""
    *group, version, plural = resource.split("/")[: 3 if "." in resource or resource[0] != "v" else 2]
    row = SCHEME.by_resource("".join(group), version, plural)
    assert row is not None
    namespace = more.pop("namespace", "shop" if row.namespaced else "")
    fields = {
        "call": SimpleNamespace(server=SimpleNamespace(scheme=SCHEME)),
        "operation": operation,
        "row": row,
        "kind": row.gvk,
        "namespace": namespace,
        "name": "x",
        "user": ANONYMOUS,
        "objects": _Objects(),
        "object": {"metadata": {"name": "x", "labels": {"app": "web"}}},
        **more,
    }
    return Attributes(**fields)


def rule(resources: list[str], groups: str = "", versions: str = "v1", **more: Any) -> dict[str, Any]:
    return {
        "operations": ["CREATE"],
        "apiGroups": [groups],
        "apiVersions": [versions],
        "resources": resources,
        **more,
    }


PODS = request("v1/pods")
STATUS = request("v1/pods", subresource="status")
ROLE = request("rbac.authorization.k8s.io/v1/clusterroles")
SPACE = request("v1/namespaces", name="shop")


@pytest.mark.parametrize(
    ("attributes", "one", "matches"),
    [
        (PODS, rule(["pods"]), True),
        (PODS, rule(["*"]), True),
        (PODS, rule(["*/*"], "*", "*", operations=["*"]), True),
        (PODS, rule(["pods/*"]), True),
        (PODS, rule(["pods/status"]), False),
        (PODS, rule(["services"]), False),
        (PODS, rule(["pods"], "apps"), False),
        (PODS, rule(["pods"], operations=["UPDATE", "DELETE"]), False),
        (PODS, rule(["pods"], scope="Namespaced"), True),
        (PODS, rule(["pods"], scope="Cluster"), False),
        (STATUS, rule(["pods"]), False),
        (STATUS, rule(["pods/status"]), True),
        (STATUS, rule(["pods/*"]), True),
        (STATUS, rule(["*/status"]), True),
        (STATUS, rule(["*"]), False),
        (ROLE, rule(["*"], "*", scope="Cluster"), True),
        (ROLE, rule(["*"], "*", scope="Namespaced"), False),
        (SPACE, rule(["namespaces"], scope="Cluster"), True),
        (PODS, rule(["pods"], resourceNames=["x", "y"]), True),
        (PODS, rule(["pods"], resourceNames=["y"]), False),
    ],
)
def test_rules(attributes, one, matches):
    criteria = Criteria({"matchPolicy": "Exact"}, [one])
    assert (criteria.match(attributes) is not None) == matches
    assert (criteria.match(attributes) is not None) == matches  # from what is remembered


def test_exclusion_wins():
    everything = rule(["*"], "*", "*")
    assert Criteria({"excludeResourceRules": [rule(["pods"])]}, [everything]).match(PODS) is None
    assert Criteria({"excludeResourceRules": [rule(["pods"], resourceNames=["other"])]}, [everything]).match(
        PODS
    )
    assert Criteria({"excludeResourceRules": [rule(["pods"])]}, []).match(PODS) is None
    assert Criteria({}, []).match(PODS)
    assert Criteria({}, [], needs_rules=True).match(PODS) is None


def test_other_versions_of_the_same_objects():
    scaler = request("autoscaling/v1/horizontalpodautoscalers")
    newer = rule(["horizontalpodautoscalers"], "autoscaling", "v2")
    found = Criteria({"matchPolicy": "Equivalent"}, [newer]).match(scaler)
    assert found is not None
    assert found.kind.api_version == "autoscaling/v2"
    assert Criteria({"matchPolicy": "Exact"}, [newer]).match(scaler) is None
    assert Criteria({}, [newer]).match(scaler) is None
    excluded = {"matchPolicy": "Equivalent", "excludeResourceRules": [newer]}
    assert Criteria(excluded, [rule(["*"], "*", "*")]).match(scaler) is None
    event = SCHEME.by_resource("", "v1", "events")
    assert [each.api_version for each in equivalents(SCHEME, event)] == ["events.k8s.io/v1"]


async def test_objects_in_other_versions():
    old, new = (SCHEME.by_resource("autoscaling", v, "horizontalpodautoscalers") for v in ("v1", "v2"))
    obj = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a"},
        "spec": {"maxReplicas": 2, "targetCPUUtilizationPercentage": 50},
    }
    converted = await convert(old, new, obj)
    assert converted["apiVersion"] == "autoscaling/v2"
    assert converted["spec"]["metrics"][0]["resource"]["name"] == "cpu"
    assert await convert(new, old, converted) == obj


@pytest.mark.parametrize(
    ("attributes", "field", "labels", "matches"),
    [
        (PODS, "objectSelector", {"app": "web"}, True),
        (PODS, "objectSelector", {"app": "db"}, False),
        (
            request("v1/pods", old={"metadata": {"labels": {"app": "db"}}}),
            "objectSelector",
            {"app": "db"},
            True,
        ),
        (request("v1/pods", object={"command": ["sh"]}), "objectSelector", {"app": "web"}, False),
        (request("v1/pods", object={"command": ["sh"]}), "objectSelector", {}, True),
        (PODS, "namespaceSelector", {"team": "a"}, True),
        (PODS, "namespaceSelector", {"team": "b"}, False),
        (ROLE, "namespaceSelector", {"team": "b"}, True),
        (SPACE, "namespaceSelector", {"app": "web"}, True),
        (
            request("v1/namespaces", "DELETE", name="lab", object=None),
            "namespaceSelector",
            {"team": "b"},
            True,
        ),
        (request("v1/pods", namespace="gone"), "namespaceSelector", {}, True),
    ],
)
def test_selectors(attributes, field, labels, matches):
    every = rule(["*"], "*", "*", operations=["*"])
    criteria = Criteria({field: {"matchLabels": labels} if labels else {}}, [every])
    assert (criteria.match(attributes) is not None) == matches


def test_a_namespace_that_is_not_there():
    criteria = Criteria({"namespaceSelector": {"matchLabels": {"team": "a"}}}, [rule(["*"])])
    with pytest.raises(StatusError, match='namespaces "gone" not found'):
        criteria.match(request("v1/pods", namespace="gone"))


def test_what_nobody_comes_between():
    mine = [row.plural for row in SCHEME if configures_admission(row)]
    assert len(set(mine)) == 6
    assert not configures_admission(SCHEME.by_resource("", "v1", "pods"))
