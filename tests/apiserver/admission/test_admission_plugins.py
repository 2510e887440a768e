"""The smaller plugins: classes, resizing, certificates, topology; and switching them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from served import Client

from tiphys.apiserver.admission.chain import PLUGINS, UnknownPlugin, enabled
from tiphys.testing.clock import FakeClock

CORE = "/api/v1/namespaces/default"
STORAGE = "/apis/storage.k8s.io/v1/storageclasses"
CERTIFICATES = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MERGE = "application/merge-patch+json"


def test_switches() -> None:
    names = [row.name for row in enabled(("*",)[:0], ("Priority",))]
    assert "Priority" not in names
    assert names == [row.name for row in PLUGINS if row.default and row.name != "Priority"]
    with pytest.raises(UnknownPlugin, match="unknown admission plugin Nope"):
        enabled(("Nope",), ())


UPSTREAM = (
    *("AlwaysAdmit", "NamespaceAutoProvision", "NamespaceLifecycle", "NamespaceExists"),
    *("LimitPodHardAntiAffinityTopology", "LimitRanger", "ServiceAccount", "NodeRestriction"),
    *("TaintNodesByCondition", "AlwaysPullImages", "ImagePolicyWebhook", "PodSecurity", "PodNodeSelector"),
    *("Priority", "DefaultTolerationSeconds", "PodTolerationRestriction", "EventRateLimit"),
    *("ExtendedResourceToleration", "DefaultStorageClass", "StorageObjectInUseProtection"),
    *("OwnerReferencesPermissionEnforcement", "PersistentVolumeClaimResize", "RuntimeClass"),
    *("CertificateApproval", "CertificateSigning", "ClusterTrustBundleAttest"),
    *("CertificateSubjectRestriction", "DefaultIngressClass", "DenyServiceExternalIPs", "PodTopologyLabels"),
    *("MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy"),
    *("ValidatingAdmissionWebhook", "ResourceQuota", "AlwaysDeny"),
)


def test_the_order_is_upstreams() -> None:
    names = [row.name for row in PLUGINS]
    assert names == [name for name in UPSTREAM if name in names]


def claim(name: str, size: str = "1Gi", **spec: Any) -> dict[str, Any]:
    requests = {"resources": {"requests": {"storage": size}}, "accessModes": ["ReadWriteOnce"]}
    return {"metadata": {"name": name}, "spec": {**requests, **spec}}


async def add_class(client: Client, name: str, *, default: bool, **more: Any) -> None:
    mark = {"storageclass.kubernetes.io/is-default-class": "true" if default else "false"}
    body = {"metadata": {"name": name, "annotations": mark}, "provisioner": "p", **more}
    await client.create(STORAGE, body)


async def test_the_newest_default_class(client: Client, clock: FakeClock) -> None:
    path = f"{CORE}/persistentvolumeclaims"
    without = await client.create(path, claim("without"))
    assert "storageClassName" not in without["spec"]
    await add_class(client, "old", default=True)
    await clock.advance(5)
    await add_class(client, "b", default=True)
    await add_class(client, "a", default=True)
    await add_class(client, "no", default=False)
    assert (await client.create(path, claim("chosen")))["spec"]["storageClassName"] == "a"
    assert (await client.create(path, claim("named", storageClassName="old")))["spec"][
        "storageClassName"
    ] == "old"
    assert (await client.create(path, claim("none", storageClassName="")))["spec"]["storageClassName"] == ""


async def test_what_stores_gets_a_finalizer(client: Client) -> None:
    made = await client.create(f"{CORE}/persistentvolumeclaims", claim("c"))
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    volume = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    both = ["example.com/own", "kubernetes.io/pv-protection"]
    for name, given in (("a", both[:1]), ("b", both)):
        body = {"metadata": {"name": name, "finalizers": given}, "spec": volume}
        assert (await client.create("/api/v1/persistentvolumes", body))["metadata"]["finalizers"] == both
    body = {"metadata": {"name": "gold"}, "driverName": "d", "parameters": {"a": "b"}}
    made = await client.create("/apis/storage.k8s.io/v1/volumeattributesclasses", body)
    assert made["metadata"]["finalizers"] == ["kubernetes.io/vac-protection"]
    kept = await client.delete("/apis/storage.k8s.io/v1/volumeattributesclasses/gold")
    assert kept["metadata"]["deletionTimestamp"]


async def test_the_default_ingress_class(client: Client) -> None:
    group = "/apis/networking.k8s.io/v1"
    mark = {"ingressclass.kubernetes.io/is-default-class": "true"}
    body = {"metadata": {"name": "nginx", "annotations": mark}, "spec": {"controller": "k8s.io/x"}}
    await client.create(f"{group}/ingressclasses", body)
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    made = await client.create(
        f"{group}/namespaces/default/ingresses",
        {"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}},
    )
    assert made["spec"]["ingressClassName"] == "nginx"


async def test_only_bound_claims_of_a_class_that_allows_it_grow(client: Client) -> None:
    await add_class(client, "fixed", default=False)
    await add_class(client, "grows", default=False, allowVolumeExpansion=True)
    path = f"{CORE}/persistentvolumeclaims"

    async def grow(name: str) -> tuple[int, str]:
        body = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
        answer = await client.call("PATCH", f"{path}/{name}", body, content_type=MERGE)
        return answer.status, answer.body.get("message", "")

    for name in ("fixed", "grows"):
        await client.create(path, claim(name, storageClassName=name, volumeName="v"))
    assert (await grow("grows"))[0] in (403, 422)
    for name in ("fixed", "grows"):
        await client.patch(
            f"{path}/{name}/status", {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
        )
    status, message = await grow("fixed")
    assert status == 403
    assert message.endswith("the storageclass that provisions the pvc must support resize")
    assert (await grow("grows"))[0] == 200


async def test_a_runtime_class_gives_overhead_and_place(client: Client) -> None:
    body = {
        "metadata": {"name": "kata"},
        "handler": "kata",
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {
            "nodeSelector": {"kata": "yes"},
            "tolerations": [{"key": "kata", "operator": "Exists"}],
        },
    }
    await client.create("/apis/node.k8s.io/v1/runtimeclasses", body)
    spec = {"containers": [{"name": "c", "image": "i"}], "runtimeClassName": "kata"}

    async def create(name: str, **more: Any) -> Any:
        pod = {"metadata": {"name": name}, "spec": {**spec, **more}}
        answer = await client.call("POST", f"{CORE}/pods", pod)
        return answer.body["spec"] if answer.status == 201 else answer.body["message"]

    made = await create("good")
    assert made["overhead"] == {"cpu": "250m"}
    assert made["nodeSelector"] == {"kata": "yes"}
    assert {"key": "kata", "operator": "Exists"} in made["tolerations"]
    assert await create("lost", runtimeClassName="nope") == (
        'pods "lost" is forbidden: pod rejected: RuntimeClass "nope" not found'
    )
    assert "doesn't match RuntimeClass's defined Overhead" in await create("odd", overhead={"cpu": "1"})
    assert "conflict: runtimeClass.scheduling.nodeSelector[kata] = yes" in await create(
        "torn", nodeSelector={"kata": "no"}
    )
    assert "Pod Overhead set without corresponding RuntimeClass" in await create(
        "own", runtimeClassName=None, overhead={"cpu": "1"}
    )


def request_for(*organizations: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "x")]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def signing(name: str, signer: str, *organizations: str) -> dict[str, Any]:
    spec = {"request": request_for(*organizations), "signerName": signer, "usages": ["client auth"]}
    return {"metadata": {"name": name}, "spec": spec}


async def test_approving_and_signing_are_asked_for_by_signer(client: Client) -> None:
    await client.create(CERTIFICATES, signing("c", "example.com/one"))
    rules = [
        {"apiGroups": ["certificates.k8s.io"], "resources": ["*"], "verbs": ["get", "update"]},
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["signers"],
            "resourceNames": ["example.com/*"],
            "verbs": ["approve"],
        },
    ]
    await client.create(f"{RBAC}/clusterroles", {"metadata": {"name": "a"}, "rules": rules})
    subjects = [{"kind": "User", "name": "eve"}]
    reference = {"kind": "ClusterRole", "name": "a"}
    binding = {"metadata": {"name": "a"}, "subjects": subjects, "roleRef": reference}
    await client.create(f"{RBAC}/clusterrolebindings", binding)
    eve = client.as_user("eve", "system:authenticated")
    found = await client.get(f"{CERTIFICATES}/c")
    approved = {"type": "Approved", "status": "True", "reason": "r", "message": "m"}
    approval = {**found, "status": {"conditions": [approved]}}
    assert (await eve.call("PUT", f"{CERTIFICATES}/c/approval", approval)).status == 200
    found = await client.get(f"{CERTIFICATES}/c")
    signed = {**found, "status": {**found["status"], "certificate": "eA=="}}
    refused = await eve.call("PUT", f"{CERTIFICATES}/c/status", signed)
    assert refused.status == 403
    assert 'user not permitted to sign requests with signerName "example.com/one"' in refused.body["message"]


async def test_nobody_is_certified_into_the_administrators(client: Client) -> None:
    wanted = signing("m", "kubernetes.io/kube-apiserver-client", "system:masters")
    refused = await client.call("POST", CERTIFICATES, wanted)
    assert refused.status == 403
    assert refused.body["message"].endswith(
        "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
    )
    other = signing("o", "kubernetes.io/kube-apiserver-client", "devs")
    assert (await client.call("POST", CERTIFICATES, other)).status == 201


async def test_a_bound_pod_knows_where_it_is(client: Client) -> None:
    labels = {"topology.kubernetes.io/zone": "z", "other": "x"}
    await client.create("/api/v1/nodes", {"metadata": {"name": "n", "labels": labels}})
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await client.create(f"{CORE}/pods", {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": spec})
    await client.create(f"{CORE}/pods/p/binding", {"target": {"kind": "Node", "name": "n"}})
    assert (await client.get(f"{CORE}/pods/p"))["metadata"]["labels"] == {
        "a": "b",
        "topology.kubernetes.io/zone": "z",
    }
