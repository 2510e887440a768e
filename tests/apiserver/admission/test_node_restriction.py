"""What a node may write: its own things, and nothing that lets it reach further."""

from __future__ import annotations

from typing import Any

import pytest
from served import Client

from tiphys.apiserver.admission.node_restriction import forbidden_labels

CORE = "/api/v1/namespaces/default"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
MERGE = "application/merge-patch+json"


def node(client: Client, name: str = "n1") -> Client:
    return client.as_user(f"system:node:{name}", "system:nodes", "system:authenticated")


async def reason(client: Client, method: str, target: str, body: Any = None, **headers: str) -> str:
    """What stands behind "is forbidden: ", "" for what is allowed."""
    answer = await client.call(method, target, body, **headers)
    assert answer.status in (200, 201, 403), answer.body
    return str(answer.body["message"]).partition(" is forbidden: ")[2] if answer.status == 403 else ""


async def bound_pod(client: Client, name: str, to: str) -> Any:
    spec = {"nodeName": to, "containers": [{"name": "c", "image": "i"}]}
    return await client.create(f"{CORE}/pods", {"metadata": {"name": name}, "spec": spec})


async def test_its_own_node(client: Client) -> None:
    mine, other = {"metadata": {"name": "n1"}}, {"metadata": {"name": "n2"}}
    assert await reason(node(client), "POST", "/api/v1/nodes", mine) == ""
    assert await reason(node(client), "POST", "/api/v1/nodes", other) == (
        'node "n1" is not allowed to modify node "n2"'
    )
    taint = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
    patch = {"content_type": MERGE}
    assert await reason(node(client), "PATCH", "/api/v1/nodes/n1", taint, **patch) == (
        'node "n1" is not allowed to modify taints'
    )
    label = {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "1", "mine": "1"}}}
    assert await reason(node(client), "PATCH", "/api/v1/nodes/n1", label, **patch) == (
        "is not allowed to modify labels: node-restriction.kubernetes.io/x"
    )
    allowed = {"metadata": {"labels": {"mine": "1", "topology.kubernetes.io/zone": "z"}}}
    assert await reason(node(client), "PATCH", "/api/v1/nodes/n1", allowed, **patch) == ""


@pytest.mark.parametrize(
    ("key", "forbidden"),
    [
        ("example.com/x", False),
        ("plain", False),
        ("kubernetes.io/hostname", False),
        ("kubernetes.io/x", True),
        ("x.k8s.io/y", True),
        ("node.kubernetes.io/anything", False),
        ("a.kubelet.kubernetes.io/anything", False),
        ("node-role.kubernetes.io/control-plane", True),
        ("a.node-restriction.kubernetes.io/x", True),
    ],
)
def test_labels(key: str, forbidden: bool) -> None:
    assert forbidden_labels({key: "1"}, {}) == ([key] if forbidden else [])
    assert forbidden_labels({}, {key: "1"}) == ([key] if forbidden else [])
    assert forbidden_labels({key: "1"}, {key: "1"}) == []


async def test_only_mirror_pods_that_open_nothing(client: Client) -> None:
    made = await client.create("/api/v1/nodes", {"metadata": {"name": "n1"}})
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": "n1",
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    metadata = {
        "name": "m",
        "annotations": {"kubernetes.io/config.mirror": "h"},
        "ownerReferences": [owner],
    }
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}

    async def refused(metadata: Any, spec: Any) -> str:
        return await reason(node(client), "POST", f"{CORE}/pods", {"metadata": metadata, "spec": spec})

    assert "can only create mirror pods" in await refused({"name": "m"}, spec)
    assert "spec.nodeName set to itself" in await refused(metadata, {**spec, "nodeName": "n2"})
    assert "an owner reference" in await refused({**metadata, "ownerReferences": []}, spec)
    stale = {**metadata, "ownerReferences": [{**owner, "uid": "x"}]}
    assert "UID mismatch" in await refused(stale, spec)
    opened = {**spec, "volumes": [{"name": "v", "configMap": {"name": "s"}}]}
    assert await refused(metadata, opened) == 'node "n1" can not create pods that reference configmaps'
    assert await refused(metadata, spec) == ""


async def test_only_pods_that_run_on_it(client: Client) -> None:
    await bound_pod(client, "mine", "n1")
    await bound_pod(client, "other", "n2")
    status = {"status": {"phase": "Running"}}
    kubelet, patch = node(client), {"content_type": MERGE}
    assert await reason(kubelet, "PATCH", f"{CORE}/pods/mine/status", status, **patch) == ""
    assert "can only update pod status for pods" in await reason(
        kubelet, "PATCH", f"{CORE}/pods/other/status", status, **patch
    )
    relabelled = {**status, "metadata": {"labels": {"a": "b"}}}
    assert "cannot update labels through pod status" in await reason(
        kubelet, "PATCH", f"{CORE}/pods/mine/status", relabelled, **patch
    )
    eviction = {"metadata": {"name": "other"}}
    assert "can only evict pods" in await reason(kubelet, "POST", f"{CORE}/pods/other/eviction", eviction)
    assert "can only delete pods" in await reason(kubelet, "DELETE", f"{CORE}/pods/other")
    assert await reason(kubelet, "DELETE", f"{CORE}/pods/mine?gracePeriodSeconds=0") == ""


async def test_tokens_for_its_pods_only(client: Client) -> None:
    mine = await bound_pod(client, "mine", "n1")
    path = f"{CORE}/serviceaccounts/default/token"

    async def refused(**reference: str) -> str:
        given = {"kind": "Pod", "apiVersion": "v1", **reference} if reference else None
        spec = {"boundObjectRef": given} if given else {}
        return await reason(node(client), "POST", path, {"spec": spec})

    assert await refused() == "node requested token not bound to a pod"
    assert await refused(name="mine") == "node requested token with a pod binding without a uid"
    assert await refused(name="mine", uid=mine["metadata"]["uid"]) == ""
    await bound_pod(client, "second", "n1")
    other = await bound_pod(client, "other", "n2")
    assert await refused(name="other", uid=other["metadata"]["uid"]) == (
        "node requested token bound to a pod scheduled on a different node"
    )


async def test_tokens_for_whom_its_pods_want_some(client: Client) -> None:
    drivers = (("inline", ["of-inline"]), ("persistent", ["of-persistent", ""]), ("tokenless", []))
    for name, audiences in drivers:
        requests = [{"audience": audience} for audience in audiences]
        spec = {"attachRequired": False, "tokenRequests": requests}
        await client.create("/apis/storage.k8s.io/v1/csidrivers", {"metadata": {"name": name}, "spec": spec})
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "persistent", "volumeHandle": "h"},
    }
    await client.create("/api/v1/persistentvolumes", {"metadata": {"name": "v"}, "spec": volume})
    asks = {"requests": {"storage": "1Gi"}}
    for claim in ("claim", "user-own"):
        spec = {
            "volumeName": "v",
            "accessModes": ["ReadWriteOnce"],
            "resources": asks,
            "storageClassName": "",
        }
        await client.create(f"{CORE}/persistentvolumeclaims", {"metadata": {"name": claim}, "spec": spec})

    async def refused(name: str, volumes: Any, *audiences: str) -> str:
        spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}], "volumes": volumes}
        made = await client.create(f"{CORE}/pods", {"metadata": {"name": name}, "spec": spec})
        reference = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": made["metadata"]["uid"]}
        asked = {"spec": {"boundObjectRef": reference, "audiences": list(audiences)}}
        found = await reason(node(client), "POST", f"{CORE}/serviceaccounts/default/token", asked)
        await client.call("DELETE", f"{CORE}/pods/{name}?gracePeriodSeconds=0")
        return found

    token = {"serviceAccountToken": {"audience": "vault", "path": "t"}}
    of_pod = [{"name": "t", "projected": {"sources": [token]}}]
    told = (
        "not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"
    )
    assert await refused("user", of_pod, "vault") == ""
    assert await refused("user", of_pod, "other") == f'audience "other" {told}'
    assert await refused("user", of_pod, "vault", "other") == "node may only request 0 or 1 audiences"
    assert await refused("user", [{"name": "t", "csi": {"driver": "inline"}}], "of-inline") == ""
    assert "of-inline" in await refused("user", [{"name": "t", "csi": {"driver": "tokenless"}}], "of-inline")
    claimed = [{"name": "t", "persistentVolumeClaim": {"claimName": "claim"}}]
    assert await refused("user", claimed, "of-persistent") == ""
    template = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": asks}}
    own = [{"name": "own", "ephemeral": {"volumeClaimTemplate": template}}]
    assert await refused("user", own, "of-persistent") == ""


async def test_tokens_for_whom_an_administrator_allows(client: Client) -> None:
    mine = await bound_pod(client, "mine", "n1")
    rule = {"verbs": ["request-serviceaccounts-token-audience"], "apiGroups": [""], "resources": ["registry"]}
    role = {"kind": "ClusterRole", "name": "audiences", "apiGroup": "rbac.authorization.k8s.io"}
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "mine", "uid": mine["metadata"]["uid"]}
    asked = {"spec": {"boundObjectRef": reference, "audiences": ["registry"]}}
    path = f"{CORE}/serviceaccounts/default/token"
    assert 'audience "registry" not found' in await reason(node(client), "POST", path, asked)
    await client.create(f"{rbac}/clusterroles", {"metadata": {"name": "audiences"}, "rules": [rule]})
    nodes = {"kind": "Group", "name": "system:nodes", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "audiences"}, "roleRef": role, "subjects": [nodes]}
    await client.create(f"{rbac}/clusterrolebindings", binding)
    assert await reason(node(client), "POST", path, asked) == ""


async def test_its_own_lease_and_csi_node(client: Client) -> None:
    kubelet = node(client)
    assert await reason(kubelet, "POST", LEASES, {"metadata": {"name": "n1"}}) == ""
    assert await reason(kubelet, "POST", LEASES, {"metadata": {"name": "n2"}}) == (
        "can only access node lease with the same name as the requesting node"
    )
    csi = "/apis/storage.k8s.io/v1/csinodes"
    body = {"metadata": {"name": "n2"}, "spec": {"drivers": []}}
    assert "can only access CSINode" in await reason(kubelet, "POST", csi, body)
