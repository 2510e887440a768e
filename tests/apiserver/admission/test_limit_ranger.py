"""LimitRanger: what the [sig-scheduling] LimitRange conformance tests do, and each of its messages."""

from __future__ import annotations

from typing import Any

import pytest
from counting import NAMESPACE, PODS, claim, pod
from served import MERGE_PATCH, Client

from tiphys.apiserver.admission.limit_ranger import pod_faults

LIMITS = f"{NAMESPACE}/limitranges"


async def limit(client: Client, type: str, **item: Any) -> dict[str, Any]:
    body = {"metadata": {"name": type.lower()}, "spec": {"limits": [{"type": type, **item}]}}
    return await client.create(LIMITS, body)


async def resources(client: Client, body: dict[str, Any]) -> Any:
    return (await client.create(PODS, body))["spec"]["containers"][0]["resources"]


async def refusal(client: Client, path: str, body: Any) -> str:
    answer = await client.call("POST", path, body)
    assert answer.status == 403, answer.body
    message: str = answer.body["message"]
    return message


async def test_a_limit_range_with_defaults(client: Client) -> None:
    default = {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"}
    request = {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"}
    await limit(
        client,
        "Container",
        min={"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "100Gi"},
        max={"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
        default=default,
        defaultRequest=request,
    )
    assert await resources(client, pod("none")) == {"limits": default, "requests": request}
    told = (await client.get(f"{PODS}/none"))["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
    assert told == (
        "LimitRanger plugin set: cpu, ephemeral-storage, memory request for container c; "
        "cpu, ephemeral-storage, memory limit for container c"
    )
    part = pod("part", {"cpu": "300m", "memory": "250Mi"}, {"cpu": "300m"})
    assert await resources(client, part) == {
        "requests": {**request, "cpu": "300m", "memory": "250Mi"},
        "limits": {**default, "cpu": "300m"},
    }
    low, high = pod("low", {"cpu": "10m"}), pod("high", {"cpu": "600m"}, {"cpu": "600m"})
    assert await refusal(client, PODS, low) == (
        'pods "low" is forbidden: minimum cpu usage per Container is 50m, but request is 10m'
    )
    assert await refusal(client, PODS, high) == (
        'pods "high" is forbidden: maximum cpu usage per Container is 500m, but limit is 600m'
    )
    found = await client.get(f"{LIMITS}/container")
    found["spec"]["limits"][0]["min"] = {"cpu": "9m", "memory": "49Mi", "ephemeral-storage": "49Gi"}
    await client.put(f"{LIMITS}/container", found)
    await client.create(PODS, low)
    await refusal(client, PODS, high)
    await client.delete(f"{LIMITS}/container")
    await client.create(PODS, high)


async def test_limit_ranges_of_several_namespaces(client: Client) -> None:
    await client.create("/api/v1/namespaces", {"metadata": {"name": "other"}})
    item = {"type": "Container", "max": {"memory": "1Gi"}}
    for namespace in ("default", "other"):
        labels = {"e2e": "yes", "in": namespace}
        body = {"metadata": {"name": "l", "labels": labels}, "spec": {"limits": [item]}}
        await client.create(f"/api/v1/namespaces/{namespace}/limitranges", body)
    listed = await client.get("/api/v1/limitranges?labelSelector=e2e%3Dyes")
    assert len(listed["items"]) == 2
    changes = {
        "metadata": {"labels": {"l": "patched"}},
        "spec": {"limits": [{**item, "max": {"memory": "2Gi"}}]},
    }
    patched = await client.patch(f"{LIMITS}/l", changes)
    assert patched["spec"]["limits"][0]["max"] == {"memory": "2Gi"}
    await client.delete(f"{LIMITS}?labelSelector=l%3Dpatched")
    left = (await client.get("/api/v1/limitranges?labelSelector=e2e%3Dyes"))["items"]
    assert [item["metadata"]["namespace"] for item in left] == ["other"]


CONTAINER = "usage per Container is"
RATIO = "cpu max limit to request ratio per Container is 2"
MESSAGES = (
    ("min", {"cpu": "1"}, {}, {}, f"minimum cpu {CONTAINER} 1.  No request is specified"),
    ("min", {"cpu": "1"}, {"cpu": "1m"}, {}, f"minimum cpu {CONTAINER} 1, but request is 1m"),
    ("max", {"cpu": "1"}, {"cpu": "2"}, {"cpu": "2"}, f"maximum cpu {CONTAINER} 1, but limit is 2"),
    ("max", {"d.io/d": "1"}, {}, {}, f"maximum d.io/d {CONTAINER} 1.  No limit is specified"),
    ("maxLimitRequestRatio", {"cpu": "2"}, {}, {}, f"{RATIO}, but no request is specified or request is 0"),
    ("maxLimitRequestRatio", {"cpu": "2"}, {"cpu": "1"}, {}, f"{RATIO}, but no limit is specified or limit is 0"),
    (
        "maxLimitRequestRatio",
        {"cpu": "2"},
        {"cpu": "300m"},
        {"cpu": "1"},
        f"{RATIO}, but provided ratio is 3.333333",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("part", "bound", "requests", "limits", "message"), MESSAGES)
async def test_each_message(
    client: Client, part: str, bound: Any, requests: Any, limits: Any, message: str
) -> None:
    # Defaults would follow from the bounds; a LimitRange without them is made by another hand.
    made = await limit(client, "Container", **{part: bound})
    for field in ("default", "defaultRequest"):
        made["spec"]["limits"][0].pop(field, None)
    assert list(pod_faults(pod("p", requests, limits), made)) == [message]


async def test_all_faults_are_told_at_once(client: Client) -> None:
    await limit(client, "Pod", min={"cpu": "2"}, max={"memory": "1Gi"}, maxLimitRequestRatio={"cpu": "2"})
    body = pod("p", {"cpu": "1"}, {"cpu": "3", "memory": "2Gi"})
    body["spec"]["initContainers"] = [{"name": "i", "image": "i", "resources": {"limits": {"memory": "3Gi"}}}]
    assert await refusal(client, PODS, body) == (
        'pods "p" is forbidden: [minimum cpu usage per Pod is 2, but request is 1, '
        "maximum memory usage per Pod is 1Gi, but limit is 3Gi, "
        "cpu max limit to request ratio per Pod is 2, but provided ratio is 3.000000]"
    )


async def test_resources_of_the_pod_as_a_whole(client: Client) -> None:
    await limit(client, "Pod", max={"cpu": "1"})
    whole = pod("p", resources={"limits": {"cpu": "2"}})
    assert (await refusal(client, PODS, whole)).endswith("maximum cpu usage per Pod is 1, but limit is 2")
    whole["spec"]["resources"] = {"limits": {"cpu": "1"}}
    await client.create(PODS, whole)


async def test_claims(client: Client) -> None:
    await limit(client, "PersistentVolumeClaim", min={"storage": "1Gi"}, max={"storage": "2Gi"})
    path = f"{NAMESPACE}/persistentvolumeclaims"
    assert await refusal(client, path, claim("small", "1Mi")) == (
        'persistentvolumeclaims "small" is forbidden: '
        "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"
    )
    assert (await refusal(client, path, claim("large", "3Gi"))).endswith(
        "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"
    )
    await client.create(path, claim("right", "2Gi"))


async def test_a_resize_is_held_to_the_bounds(client: Client) -> None:
    await limit(client, "Container", max={"cpu": "1"})
    await client.create(PODS, pod("p", {"cpu": "500m"}, {"cpu": "800m"}))
    await client.patch(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    body = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}}
    answer = await client.call(
        "PATCH", f"{PODS}/p/resize", body, content_type="application/strategic-merge-patch+json"
    )
    assert answer.status == 403
    assert answer.body["message"].endswith("maximum cpu usage per Container is 1, but limit is 2")


async def test_what_is_going_is_left_alone(client: Client) -> None:
    path = f"{NAMESPACE}/persistentvolumeclaims"
    going = claim("c", "1Gi")
    going["metadata"]["finalizers"] = ["example.com/f"]
    await client.create(path, going)
    await client.delete(f"{path}/c")
    await limit(client, "PersistentVolumeClaim", min={"storage": "5Gi"})
    answer = await client.call(
        "PATCH", f"{path}/c", {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH
    )
    assert answer.status == 200
