"""What a node may write: its own things, and nothing that lets it reach further."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from served import Client, running

from tiphys.apiserver.admission.node_restriction import forbidden_labels
from tiphys.testing.clock import FakeClock

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


async def test_only_audiences_that_its_pods_name(client: Client) -> None:
    """ServiceAccountNodeAudienceRestriction: in a projected volume, by a CSI driver, or by a permission."""
    storage = "/apis/storage.k8s.io/v1/csidrivers"
    await client.create(
        storage,
        {
            "metadata": {"name": "cinder.csi.openstack.org"},
            "spec": {"tokenRequests": [{"audience": "driver"}]},
        },
    )
    volume = {"metadata": {"name": "pv"}, "spec": {"cinder": {"volumeID": "d"}}}
    volume["spec"] |= {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
    await client.create("/api/v1/persistentvolumes", volume)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await client.create(
        f"{CORE}/persistentvolumeclaims", {"metadata": {"name": "pvc"}, "spec": {**claim, "volumeName": "pv"}}
    )
    projected = {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}
    spec = {
        "nodeName": "n1",
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [
            {"name": "gone", "persistentVolumeClaim": {"claimName": "gone"}},
            {"name": "v", "projected": projected},
            {"name": "d", "persistentVolumeClaim": {"claimName": "pvc"}},
        ],
    }
    pod = await client.create(f"{CORE}/pods", {"metadata": {"name": "mine"}, "spec": spec})
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "mine", "uid": pod["metadata"]["uid"]}
    path = f"{CORE}/serviceaccounts/default/token"

    async def refused(*audiences: str) -> str:
        body = {"spec": {"boundObjectRef": reference, "audiences": list(audiences)}}
        return await reason(node(client), "POST", path, body)

    for audience in ("vault", "driver"):
        assert await refused(audience) == ""
    assert await refused() == "", "the server's own, for the token that every pod has"
    assert await refused("vault", "driver") == "node may only request 0 or 1 audiences"
    assert await refused("else") == (
        'error validating audience "else": persistentvolumeclaims "gone" not found'
    )
    await client.create(
        f"{CORE}/persistentvolumeclaims",
        {"metadata": {"name": "gone"}, "spec": {**claim, "volumeName": "pv"}},
    )
    assert await refused("else") == (
        'audience "else" not found in pod spec volume, '
        "system:node:n1 is not authorized to request tokens for this audience"
    )
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rule = {
        "apiGroups": [""],
        "resources": ["else"],
        "verbs": ["request-serviceaccounts-token-audience"],
        "resourceNames": ["default"],
    }
    await client.create(f"{rbac}/clusterroles", {"metadata": {"name": "audience"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "audience"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "audience"},
        "subjects": [
            {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"},
        ],
    }
    await client.create(f"{rbac}/clusterrolebindings", binding)
    assert await refused("else") == ""


async def test_certificates_for_itself_only(client: Client) -> None:
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

    async def refused(common_name: str, signer: str) -> str:
        spec = {"request": request_for(common_name), "signerName": f"kubernetes.io/{signer}"}
        body = {"metadata": {"generateName": "c-"}, "spec": {**spec, "usages": ["client auth"]}}
        return await reason(node(client), "POST", path, body)

    for signer in ("kubelet-serving", "kube-apiserver-client-kubelet"):
        assert await refused("system:node:n1", signer) == ""
        assert await refused("system:node:n2", signer) == (
            "can only create a node CSR with CN=system:node:n1"
        )
    assert await refused("somebody", "kube-apiserver-client") == ""


def request_for(common_name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
    ]
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


async def test_what_else_is_not_its_own(client: Client) -> None:
    pod = await bound_pod(client, "mine", "n1")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await client.create(
        f"{CORE}/persistentvolumeclaims",
        {"metadata": {"name": "pvc"}, "spec": {**claim, "volumeName": "pv"}},
    )
    # What the authorizer does not let through is not asked about: so for once a node that is an administrator too.
    masters = client.as_user("system:node:n1", "system:nodes", "system:masters", "system:authenticated")
    patch = {"content_type": MERGE}
    labels = {"metadata": {"labels": {"a": "b"}}}
    assert await reason(masters, "PATCH", f"{CORE}/persistentvolumeclaims/pvc", labels, **patch) == (
        "may only update PVC status"
    )
    relabelled = {**labels, "status": {"phase": "Bound"}}
    assert await reason(
        masters, "PATCH", f"{CORE}/persistentvolumeclaims/pvc/status", relabelled, **patch
    ) == ('node "n1" is not allowed to update fields other than status.quantity and status.conditions')
    debug = {"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}}
    assert await reason(masters, "PATCH", f"{CORE}/pods/mine/ephemeralcontainers", debug, **patch) == (
        "unexpected pod subresource \"ephemeralcontainers\", only 'status' and 'eviction' are allowed"
    )
    for field, value, message in (
        ("resourceClaimStatuses", [{"name": "c"}], "cannot update resource claim statues"),
        (
            "extendedResourceClaimStatus",
            {"resourceClaimName": "c", "requestMappings": []},
            "cannot update extended resource claim status",
        ),
    ):
        assert await reason(
            node(client), "PATCH", f"{CORE}/pods/mine/status", {"status": {field: value}}, **patch
        ) == (f'node "n1" {message}'), pod
    source = {"metadata": {"name": "n1"}, "spec": {"configSource": {"configMap": {"name": "c"}}}}
    assert "non-nil configSource" in await reason(node(client), "POST", "/api/v1/nodes", source)


async def test_slices_of_its_own(client: Client) -> None:
    slices = "/apis/resource.k8s.io/v1/resourceslices"

    def made(name: str, of: str) -> Any:
        pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
        return {"metadata": {"name": name}, "spec": {"driver": "d.example.com", "nodeName": of, "pool": pool}}

    assert await reason(node(client), "POST", slices, made("mine", "n1")) == ""
    assert await reason(node(client), "POST", slices, made("other", "n2")) == (
        "can only create ResourceSlice with the same NodeName as the requesting node"
    )
    await client.create(slices, made("other", "n2"))
    for target in (slices, f"{slices}/other"):
        assert await reason(node(client), "DELETE", target) != ""
    selected = f"{slices}?fieldSelector=spec.nodeName%3Dn1"
    assert await reason(node(client), "DELETE", selected) == ""
    assert [each["metadata"]["name"] for each in (await client.get(slices))["items"]] == ["other"]


@pytest.fixture
async def certifying(clock: FakeClock, signing_key: bytes) -> AsyncIterator[Client]:
    async with running(clock, signing_key, feature_gates=(("PodCertificateRequest", "true"),)) as server:
        yield Client(server)


REQUESTS = "/apis/certificates.k8s.io/v1beta1/namespaces/default/podcertificaterequests"


async def certificate_request(client: Client, **changes: Any) -> Any:
    """For the pod "mine" on n1."""
    account = await client.get(f"{CORE}/serviceaccounts/default")
    pod = await client.get(f"{CORE}/pods/mine")
    at = await client.get("/api/v1/nodes/n1")
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    proof = key.sign(pod["metadata"]["uid"].encode(), ec.ECDSA(hashes.SHA256()))
    spec = {
        "signerName": "example.com/pods",
        "podName": "mine",
        "podUID": pod["metadata"]["uid"],
        "serviceAccountName": "default",
        "serviceAccountUID": account["metadata"]["uid"],
        "nodeName": "n1",
        "nodeUID": at["metadata"]["uid"],
        "maxExpirationSeconds": 86400,
        "pkixPublicKey": base64.b64encode(public).decode(),
        "proofOfPossession": base64.b64encode(proof).decode(),
        **changes,
    }
    return {"metadata": {"generateName": "r-"}, "spec": spec}


async def test_certificates_of_pods_when_they_are_switched_on(certifying: Client) -> None:
    client = certifying
    await client.create("/api/v1/nodes", {"metadata": {"name": "n1"}})
    await bound_pod(client, "mine", "n1")

    async def refused(of: str = "n1", **changes: Any) -> tuple[int, str]:
        answer = await node(client, of).call("POST", REQUESTS, await certificate_request(client, **changes))
        return answer.status, str(answer.body.get("message", ""))

    status, message = await refused(of="n2")
    assert (status, message.partition(" is forbidden: ")[2]) == (
        403,
        'PodCertificateRequest.Spec.NodeName="n1", which is not the requesting node "n2"',
    )
    for field, what in (
        ("nodeUID", "names node UID"),
        ("podUID", "contains pod UID"),
        ("serviceAccountUID", "names service account UID"),
    ):
        status, message = await refused(**{field: "1b4e28ba-2fa1-11d2-883f-0016d3cca427"})
        assert status in (422, 500)
        assert what in message or status == 422, message
    status, message = await refused(serviceAccountName="other")
    assert (status, "contains serviceAccountName" in message) == (403, True)
    assert (await refused())[0] == 201
    listing = f"{REQUESTS}?fieldSelector=spec.nodeName%3Dn1"
    (made,) = (await node(client).get(listing))["items"]
    name = made["metadata"]["name"]
    assert (await node(client).call("GET", f"{REQUESTS}/{name}")).status == 200
    for other, target in (("n2", f"{REQUESTS}/{name}"), ("n2", listing), ("n1", REQUESTS)):
        assert (await node(client, other).call("GET", target)).status == 403
    assert (await node(client).call("DELETE", f"{REQUESTS}/{name}")).status == 403


async def test_certificates_of_pods_are_off_by_themselves(client: Client) -> None:
    await client.create("/api/v1/nodes", {"metadata": {"name": "n1"}})
    await bound_pod(client, "mine", "n1")
    body = await certificate_request(client)
    assert await reason(node(client), "POST", REQUESTS, body) == (
        "PodCertificateRequest feature gate is disabled"
    )
