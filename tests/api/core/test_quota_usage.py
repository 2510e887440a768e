"""What objects use of quotas: one row a case."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tiphys.api.core.quotas.amounts import read, written
from tiphys.api.core.quotas.evaluators import evaluator_of, is_counted, total
from tiphys.machinery.gvk import GroupResource
from tiphys.machinery.meta import format_time
from tiphys.testing.clock import FakeClock

NOW = FakeClock().now()
PODS = GroupResource("", "pods")
COUNT = {"count/pods": "1"}
ALIVE = {**COUNT, "pods": "1"}


def pod(*containers: dict[str, Any], status: Any = None, metadata: Any = None, **spec: Any) -> dict[str, Any]:
    named = [{"name": f"c{at}", "resources": resources} for at, resources in enumerate(containers)]
    return {"metadata": metadata or {}, "spec": {"containers": named, **spec}, "status": status or {}}


def going(seconds_ago: int, grace: int) -> dict[str, Any]:
    since = format_time(NOW - timedelta(seconds=seconds_ago))
    return {"deletionTimestamp": since, "deletionGracePeriodSeconds": grace}


def requests(**amounts: str) -> dict[str, str]:
    both = {f"{kind}{name}": amount for name, amount in amounts.items() for kind in ("", "requests.")}
    return {**ALIVE, **both}


def given(resources: Any, allocated: Any, *conditions: Any) -> dict[str, Any]:
    statuses = [{"name": "c0", "resources": resources, "allocatedResources": allocated}]
    return {"containerStatuses": statuses, "conditions": list(conditions)}


REFUSED = {"type": "PodResizePending", "status": "True", "reason": "Infeasible"}
BEFORE = given({"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}, {"cpu": "2"})
SMALL = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
CASES = (
    ("nothing", pod({}), ALIVE),
    (
        "several containers",
        pod({"requests": {"cpu": "1"}}, {"requests": {"cpu": "500m"}}),
        requests(cpu="1500m"),
    ),
    (
        "an init container that needs more",
        pod(
            {"requests": {"cpu": "1"}},
            initContainers=[{"name": "i", "resources": {"requests": {"cpu": "2"}}}],
        ),
        requests(cpu="2"),
    ),
    (
        "overhead of a runtime class",
        pod({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}, overhead={"cpu": "100m"}),
        {**requests(cpu="1100m"), "limits.cpu": "2100m"},
    ),
    (
        "huge pages and devices",
        pod({"requests": {"hugepages-2Mi": "4Mi", "example.com/d": "1"}, "limits": {"example.com/d": "1"}}),
        {**requests(**{"hugepages-2Mi": "4Mi"}), "requests.example.com/d": "1"},
    ),
    (
        "devices of a class",
        pod({"requests": {"deviceclass.resource.kubernetes.io/gpu": "2"}}),
        {**ALIVE, "requests.deviceclass.resource.kubernetes.io/gpu": "2"},
    ),
    ("the pod as a whole", pod({}, resources={"requests": {"cpu": "3"}}), requests(cpu="3")),
    ("one that is over", pod({"requests": {"cpu": "1"}}, status={"phase": "Failed"}), COUNT),
    ("one that is going", pod({"requests": {"cpu": "1"}}, metadata=going(5, 30)), requests(cpu="1")),
    ("one that should be gone", pod({"requests": {"cpu": "1"}}, metadata=going(31, 30)), COUNT),
    ("one that still has more", pod(SMALL, status=BEFORE), {**requests(cpu="2"), "limits.cpu": "3"}),
    (
        "one that cannot be resized",
        pod(
            {"requests": {"cpu": "9"}, "limits": {"cpu": "9"}},
            status=given({"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}, {"cpu": "2"}, REFUSED),
        ),
        {**requests(cpu="2"), "limits.cpu": "3"},
    ),
)


@pytest.mark.parametrize(("obj", "used"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_pods(obj: Any, used: dict[str, str]) -> None:
    assert written(evaluator_of(PODS).usage(obj, NOW)) == used


COUNTED = (
    ("pods", True), ("count/pods", True), ("limits.ephemeral-storage", True), ("hugepages-1Gi", True),
    ("requests.hugepages-1Gi", True), ("requests.example.com/d", True), ("limits.example.com/d", False),
    ("requests.kubernetes.io/x", False), ("requests.deviceclass.resource.kubernetes.io/gpu", True),
    ("requests.storage", False), ("services", False), ("count/pods.example.com", False),
)  # fmt: skip


@pytest.mark.parametrize(("name", "counted"), COUNTED, ids=[row[0] for row in COUNTED])
def test_names_that_pods_are_counted_by(name: str, *, counted: bool) -> None:
    assert evaluator_of(PODS).counts(name) == counted


def test_a_claim_that_has_been_given_more() -> None:
    claims = evaluator_of(GroupResource("", "persistentvolumeclaims"))
    obj = {
        "metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
        "spec": {"storageClassName": "new", "resources": {"requests": {"storage": "1.5"}}},
        "status": {"allocatedResources": {"storage": "2Gi"}},
    }
    used = claims.usage(obj, NOW)
    assert written(used)["old.storageclass.storage.k8s.io/requests.storage"] == "2Gi"
    del obj["status"]
    assert written(claims.usage(obj, NOW))["requests.storage"] == "2"


def test_a_sum_over_what_is_in_scope() -> None:
    quota = {"spec": {"hard": {"pods": "9", "cpu": "9", "services": "9"}, "scopes": ["NotBestEffort"]}}
    objects = [pod({"requests": {"cpu": "1"}}), pod({}), pod({"requests": {"cpu": "250m"}})]
    sums = total(evaluator_of(PODS), quota, objects, NOW)
    assert sums == read({"pods": "2", "cpu": "1250m"})


def test_what_is_only_asked_is_not_counted() -> None:
    assert not is_counted(GroupResource("authorization.k8s.io", "localsubjectaccessreviews"))
    assert not is_counted(GroupResource("", "events"))
    assert is_counted(GroupResource("apps", "deployments"))
