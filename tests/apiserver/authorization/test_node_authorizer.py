"""What a node may read: its own, and what its pods name."""

from __future__ import annotations

from typing import Any

import pytest
from served import Client

CORE = "/api/v1/namespaces/default"
NO_RELATION = "no relationship found between node 'n1' and this object"


def node(client: Client, name: str = "n1") -> Client:
    return client.as_user(f"system:node:{name}", "system:nodes", "system:authenticated")


async def run_pod(client: Client, name: str, **spec: Any) -> None:
    container = {"name": "c", "image": "i"}
    body = {"metadata": {"name": name}, "spec": {"nodeName": "n1", "containers": [container], **spec}}
    await client.create(f"{CORE}/pods", body)


async def make(client: Client, plural: str, *names: str) -> None:
    for name in names:
        await client.create(f"{CORE}/{plural}", {"metadata": {"name": name}})


async def reason(client: Client, method: str, target: str, body: Any = None) -> str:
    """What the refusal gives as its cause, "" for what is allowed."""
    answer = await client.call(method, target, body)
    if answer.status != 403:
        return ""
    return str(answer.body["message"]).rpartition(": ")[2]


async def test_secrets_and_config_maps_of_its_pods(client: Client) -> None:
    await make(client, "secrets", "env", "volume", "pull", "projected", "other")
    await make(client, "configmaps", "settings", "other")
    environment = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}]
    source = [{"configMapRef": {"name": "settings"}}]
    volumes = [
        {"name": "v", "secret": {"secretName": "volume"}},
        {"name": "p", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
    ]
    kubelet = node(client)
    assert await reason(kubelet, "GET", f"{CORE}/secrets/env") == NO_RELATION
    await run_pod(
        client,
        "p",
        containers=[{"name": "c", "image": "i", "env": environment, "envFrom": source}],
        volumes=volumes,
        imagePullSecrets=[{"name": "pull"}],
    )
    for name in ("env", "volume", "pull", "projected"):
        assert await reason(kubelet, "GET", f"{CORE}/secrets/{name}") == "", name
    assert await reason(kubelet, "GET", f"{CORE}/configmaps/settings") == ""
    assert await reason(kubelet, "GET", f"{CORE}/secrets/other") == NO_RELATION
    assert await reason(kubelet, "GET", f"{CORE}/configmaps/other") == NO_RELATION
    assert "n2" in await reason(node(client, "n2"), "GET", f"{CORE}/secrets/env")
    assert await reason(kubelet, "GET", f"{CORE}/secrets?fieldSelector=metadata.name%3Denv") == ""
    assert await reason(kubelet, "GET", f"{CORE}/secrets") == "No Object name found"
    assert await reason(kubelet, "DELETE", f"{CORE}/secrets/env") == "can only read resources of this type"
    await client.delete(f"{CORE}/pods/p?gracePeriodSeconds=0")
    assert await reason(kubelet, "GET", f"{CORE}/secrets/env") == NO_RELATION


async def test_a_mirror_pod_opens_nothing(client: Client) -> None:
    await make(client, "configmaps", "s")
    mark = {"kubernetes.io/config.mirror": "x"}
    spec = {
        "nodeName": "n1",
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "configMap": {"name": "s"}}],
    }
    await client.create(f"{CORE}/pods", {"metadata": {"name": "m", "annotations": mark}, "spec": spec})
    assert await reason(node(client), "GET", f"{CORE}/configmaps/s") == NO_RELATION


async def test_a_claim_opens_its_volume_and_the_secret_of_that(client: Client) -> None:
    await make(client, "secrets", "csi", "other")
    volume = {
        "metadata": {"name": "pv"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "default", "name": "data"},
            "csi": {
                "driver": "d",
                "volumeHandle": "h",
                "nodePublishSecretRef": {"namespace": "default", "name": "csi"},
            },
        },
    }
    await client.create("/api/v1/persistentvolumes", volume)
    kubelet = node(client)
    assert await reason(kubelet, "GET", "/api/v1/persistentvolumes/pv") == NO_RELATION
    await run_pod(client, "p", volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}])
    assert await reason(kubelet, "GET", "/api/v1/persistentvolumes/pv") == ""
    assert await reason(kubelet, "GET", f"{CORE}/persistentvolumeclaims/data") == ""
    assert await reason(kubelet, "GET", f"{CORE}/secrets/csi") == ""
    assert await reason(kubelet, "GET", f"{CORE}/secrets/other") == NO_RELATION
    assert (
        await reason(kubelet, "GET", "/api/v1/persistentvolumes")
        == "can only get individual resources of this type"
    )


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", ""),
        (
            "GET",
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2",
            "can only list/watch pods with spec.nodeName field selector",
        ),
        ("GET", "/api/v1/pods", "can only list/watch pods with spec.nodeName field selector"),
        ("GET", f"{CORE}/pods/none", NO_RELATION),
        ("DELETE", f"{CORE}/pods/none", ""),
        ("GET", "/api/v1/nodes/n1", ""),
        ("GET", "/api/v1/nodes/n2", "node 'n1' cannot read 'n2', only its own Node object"),
        ("GET", "/api/v1/nodes", "node 'n1' cannot read all nodes, only its own Node object"),
        ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn1", ""),
        ("GET", "/api/v1/services", ""),
        ("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", ""),
        (
            "GET",
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2",
            "can only access node lease with the same name as the requesting node",
        ),
        (
            "GET",
            "/apis/coordination.k8s.io/v1/namespaces/default/leases/n1",
            'can only access leases in the "kube-node-lease" system namespace',
        ),
        ("GET", "/apis/storage.k8s.io/v1/csinodes/n1", ""),
        ("GET", "/apis/node.k8s.io/v1/runtimeclasses", ""),
    ],
)
async def test_kinds(client: Client, method: str, target: str, expected: str) -> None:
    assert await reason(node(client), method, target) == expected


async def test_tokens_only_for_the_accounts_of_its_pods(client: Client) -> None:
    kubelet, path = node(client), f"{CORE}/serviceaccounts/default/token"
    assert await reason(kubelet, "POST", path, {"spec": {}}) == NO_RELATION
    await run_pod(client, "p")
    refused = await reason(kubelet, "POST", path, {"spec": {}})
    assert (
        refused == "node requested token not bound to a pod"
    )  # by admission, after the authorizer let it pass


async def test_who_is_no_node_is_nobody_here(client: Client) -> None:
    impostor = client.as_user("system:node:n1", "system:authenticated")
    assert (await impostor.call("GET", "/api/v1/nodes/n1")).status == 403
    nameless = client.as_user("system:node:", "system:nodes", "system:authenticated")
    assert await reason(nameless, "GET", "/api/v1/nodes/n1") == 'unknown node for user "system:node:"'
