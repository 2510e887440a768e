"""Kinds of nodes, pods and storage of which the suite asks that their objects are made, changed, found and removed in every way."""

from __future__ import annotations

from typing import Any

import pytest
from served import MERGE_PATCH, Client, Object, settle

CORE = "/api/v1/namespaces/default"
DRA = "/apis/resource.k8s.io/v1"
STORAGE = "/apis/storage.k8s.io/v1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
CONTAINERS = [{"name": "c", "image": "busybox"}]
CLAIM = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}
SLICE = {"nodeName": "n", "driver": "driver.example.com", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "devices": []}  # fmt: skip
INLINE = {"name": "v", "csi": {"driver": "inline.example.com", "volumeAttributes": {"a": "b"}}}
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": CONTAINERS}}

KINDS: dict[str, tuple[str, Object]] = {
    "ConfigMap should run through a ConfigMap lifecycle": (f"{CORE}/configmaps", {"data": {"a": "b"}}),
    "Lease lease API should be available": (LEASES, {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 30}}),
    "Node Lifecycle should run through the lifecycle of a node": ("/api/v1/nodes", {"spec": {"unschedulable": True}}),
    "PodTemplates should run the lifecycle of PodTemplates": (f"{CORE}/podtemplates", {"template": TEMPLATE}),
    "[DRA] CRUD Tests resource.k8s.io/v1 DeviceClass": (f"{DRA}/deviceclasses", {"spec": {}}),
    "[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim": (f"{DRA}/namespaces/default/resourceclaims", {"spec": CLAIM}),
    "[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate": (f"{DRA}/namespaces/default/resourceclaimtemplates", {"spec": {"spec": CLAIM}}),
    "[DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice": (f"{DRA}/resourceslices", {"spec": SLICE}),
    "CSIInlineVolumes should run through the lifecycle of a CSIDriver": (f"{STORAGE}/csidrivers", {"spec": {"attachRequired": False, "volumeLifecycleModes": ["Ephemeral"]}}),
    "CSIInlineVolumes should support CSIVolumeSource in Pod API": (f"{CORE}/pods", {"spec": {"containers": CONTAINERS, "volumes": [INLINE]}}),
    "CSINodes CSI Conformance should run through the lifecycle of a csinode": (f"{STORAGE}/csinodes", {"spec": {"drivers": []}}),
    "CSIStorageCapacity should support CSIStorageCapacities API operations": (f"{STORAGE}/namespaces/default/csistoragecapacities", {"storageClassName": "fast", "capacity": "1Gi"}),
    "StorageClasses CSI Conformance should run through the lifecycle of a StorageClass": (f"{STORAGE}/storageclasses", {"provisioner": "e2e.example.com"}),
    "VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment": (f"{STORAGE}/volumeattachments", {"spec": {"attacher": "e2e.example.com", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}}),
    "VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run through the lifecycle of a VolumeAttributesClass": (f"{STORAGE}/volumeattributesclasses", {"driverName": "e2e.example.com", "parameters": {"a": "b"}}),
}  # fmt: skip
VOLUME = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/x"}}
WANTED = {
    "accessModes": ["ReadWriteOnce"],
    "storageClassName": "",
    "resources": {"requests": {"storage": "1Gi"}},
}


def named(name: str, body: Object, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": {"e2e": "yes", **labels}}, **body}


async def without_finalizers(client: Client, one: str) -> None:
    """What a controller does when nobody uses a volume any more: here is none."""
    answer = await client.call("GET", one)
    if answer.status == 200:
        await client.patch(one, {"metadata": {"finalizers": None}}, MERGE_PATCH)


async def is_gone(client: Client, *targets: str) -> None:
    for one in targets:
        await without_finalizers(client, one)
        assert (await client.call("GET", one)).status == 404


async def lives(client: Client, path: str, body: Object) -> None:
    """Create, get, list, patch, update, watch, delete one, delete by label."""
    chosen = f"{path}?labelSelector=e2e%3Dyes"
    for name in ("first", "second"):
        made = await client.create(path, named(name, body))
        assert (await client.get(f"{path}/{name}"))["metadata"]["uid"] == made["metadata"]["uid"]
    listed = await client.get(chosen)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["first", "second"]
    watch = await client.watch(f"{chosen}&watch=1&resourceVersion={listed['metadata']['resourceVersion']}")
    patched = await client.patch(f"{path}/first", {"metadata": {"labels": {"patched": "yes"}}}, MERGE_PATCH)
    assert patched["metadata"]["labels"] == {"e2e": "yes", "patched": "yes"}
    assert len((await client.get(f"{path}?labelSelector=patched%3Dyes"))["items"]) == 1
    patched["metadata"]["labels"]["updated"] = "yes"
    updated = await client.put(f"{path}/first", patched)
    assert (await client.get(f"{path}/first"))["metadata"]["labels"] == updated["metadata"]["labels"]
    assert [(kind, name) for kind, name in watch.summary()] == [("MODIFIED", "first")] * 2
    assert updated.keys() >= body.keys()
    await client.delete(f"{path}/first?gracePeriodSeconds=0")
    await is_gone(client, f"{path}/first")
    # Another one of the same name is another one.
    again = await client.create(path, named("first", body))
    assert again["metadata"]["uid"] != updated["metadata"]["uid"]
    again["metadata"]["labels"]["updated"] = "again"
    assert (await client.put(f"{path}/first", again))["metadata"]["labels"]["updated"] == "again"
    await client.delete(f"{chosen}&gracePeriodSeconds=0")
    await is_gone(client, f"{path}/first", f"{path}/second")
    assert (await client.get(chosen))["items"] == []


@pytest.mark.conformance("ConfigMap should run through a ConfigMap lifecycle")
@pytest.mark.conformance("Lease lease API should be available")
@pytest.mark.conformance("Node Lifecycle should run through the lifecycle of a node")
@pytest.mark.conformance("PodTemplates should run the lifecycle of PodTemplates")
@pytest.mark.conformance("[DRA] CRUD Tests resource.k8s.io/v1 DeviceClass")
@pytest.mark.conformance("[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim")
@pytest.mark.conformance("[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate")
@pytest.mark.conformance("[DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice")
@pytest.mark.conformance("CSIInlineVolumes should run through the lifecycle of a CSIDriver")
@pytest.mark.conformance("CSIInlineVolumes should support CSIVolumeSource in Pod API")
@pytest.mark.conformance("CSINodes CSI Conformance should run through the lifecycle of a csinode")
@pytest.mark.conformance("CSIStorageCapacity should support CSIStorageCapacities API operations")
@pytest.mark.conformance("StorageClasses CSI Conformance should run through the lifecycle of a StorageClass")
@pytest.mark.conformance(
    "VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment"
)
@pytest.mark.conformance(
    "VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run through the lifecycle of a VolumeAttributesClass"
)
@pytest.mark.parametrize("entry", KINDS)
async def test_objects_of_a_kind_live(client: Client, entry: str) -> None:
    await lives(client, *KINDS[entry])


@pytest.mark.conformance(
    "PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC"
)
async def test_volumes_and_claims_live(client: Client) -> None:
    await lives(client, "/api/v1/persistentvolumes", {"spec": VOLUME})
    await lives(client, f"{CORE}/persistentvolumeclaims", {"spec": WANTED})


async def has_a_status(client: Client, one: str, told: Object, then: Object) -> None:
    """A status is patched and replaced by itself, and changes nothing else."""
    before = await client.get(one)
    patched = await client.patch(f"{one}/status", {"status": told}, MERGE_PATCH)
    assert patched["status"].items() >= told.items()
    current = await client.get(f"{one}/status")
    current["status"] = {**current["status"], **then}
    replaced = await client.put(f"{one}/status", current)
    assert replaced["status"].items() >= then.items()
    assert replaced["spec"] == before["spec"]


def condition(reason: str) -> Object:
    times = dict.fromkeys(("lastProbeTime", "lastTransitionTime"), "2026-01-01T00:00:00Z")
    return {
        "conditions": [{"type": "StatusPatched", "status": "True", "reason": reason, "message": "m", **times}]
    }


@pytest.mark.conformance("PersistentVolumes CSI Conformance should apply changes to a pv/pvc status")
async def test_the_status_of_volumes_and_claims(client: Client) -> None:
    volume, claim = "/api/v1/persistentvolumes/pv", f"{CORE}/persistentvolumeclaims/pvc"
    assert (await client.create("/api/v1/persistentvolumes", named("pv", {"spec": VOLUME})))["status"][
        "phase"
    ] == "Pending"
    made = await client.create(f"{CORE}/persistentvolumeclaims", named("pvc", {"spec": WANTED}))
    assert made["status"]["phase"] == "Pending"
    await has_a_status(
        client, volume, {"message": "patched", "reason": "E2E"}, {"message": "updated", "reason": "E2E2"}
    )
    await has_a_status(client, claim, condition("E2Epatched"), condition("E2Eupdated"))


@pytest.mark.conformance("VolumeAttachment Conformance should apply changes to a volumeattachment status")
async def test_the_status_of_an_attachment(client: Client) -> None:
    path, body = KINDS["VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment"]
    assert (await client.create(path, named("va", body)))["status"] == {"attached": False}
    await has_a_status(client, f"{path}/va", {"attached": True}, {"attached": False})


@pytest.mark.conformance("PodTemplates should replace a pod template")
async def test_a_pod_template_is_replaced(client: Client) -> None:
    made = await client.create(f"{CORE}/podtemplates", named("t", {"template": TEMPLATE}))
    made["metadata"]["annotations"] = {"updated": "true"}
    await client.put(f"{CORE}/podtemplates/t", made)
    assert (await client.get(f"{CORE}/podtemplates/t"))["metadata"]["annotations"] == {"updated": "true"}


@pytest.mark.conformance("PodTemplates should delete a collection of pod templates")
@pytest.mark.conformance("Pods should delete a collection of pods")
@pytest.mark.parametrize(
    ("plural", "body"),
    [("podtemplates", {"template": TEMPLATE}), ("pods", {"spec": {"containers": CONTAINERS}})],
)
async def test_a_collection_is_deleted(client: Client, plural: str, body: Object) -> None:
    path = f"{CORE}/{plural}"
    for name in ("a", "b", "c"):
        await client.create(path, named(name, body))
    await client.create(path, {"metadata": {"name": "other"}, **body})
    assert len((await client.get(f"{path}?labelSelector=e2e%3Dyes"))["items"]) == 3
    await client.delete(f"{path}?labelSelector=e2e%3Dyes&gracePeriodSeconds=0")
    assert [item["metadata"]["name"] for item in (await client.get(path))["items"]] == ["other"]


@pytest.mark.conformance("ConfigMap should update ConfigMap successfully [NodeConformance]")
async def test_a_config_map_is_updated(client: Client) -> None:
    made = await client.create(f"{CORE}/configmaps", named("c", {"data": {"a": "b"}}))
    made["data"] = {"data": "value"}
    await client.put(f"{CORE}/configmaps/c", made)
    assert (await client.get(f"{CORE}/configmaps/c"))["data"] == {"data": "value"}


@pytest.mark.conformance("ConfigMap should fail to create ConfigMap with empty key")
@pytest.mark.conformance("Secrets should fail to create secret due to empty secret key")
@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
async def test_an_empty_key_is_refused(client: Client, plural: str) -> None:
    answer = await client.call("POST", f"{CORE}/{plural}", named("empty", {"data": {"": "dmFsdWU="}}))
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "data[]"
    assert (await client.call("GET", f"{CORE}/{plural}/empty")).status == 404


@pytest.mark.conformance("Secrets should patch a secret")
async def test_a_secret_is_patched(client: Client) -> None:
    path = f"{CORE}/secrets"
    await client.create(path, named("s", {"data": {"key": "dmFsdWU="}}, testsecret="true"))
    change = {"metadata": {"labels": {"testsecret": "false"}}, "data": {"key": "dmFsdWUx"}}
    await client.patch(f"{path}/s", change, MERGE_PATCH)
    (found,) = (await client.get("/api/v1/secrets?labelSelector=testsecret%3Dfalse"))["items"]
    assert found["data"] == {"key": "dmFsdWUx"}
    await client.delete(f"{path}?labelSelector=testsecret%3Dfalse")
    assert (await client.get("/api/v1/secrets?labelSelector=testsecret"))["items"] == []


@pytest.mark.conformance("ConfigMap should be immutable if `immutable` field is set")
@pytest.mark.conformance("Secrets should be immutable if `immutable` field is set")
@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
async def test_what_is_immutable_changes_nothing_but_its_metadata(client: Client, plural: str) -> None:
    one = f"{CORE}/{plural}/fixed"
    await client.create(f"{CORE}/{plural}", named("fixed", {"data": {"a": "dmFsdWU="}}))
    current = await client.patch(one, {"data": {"a": "dmFsdWUx"}}, MERGE_PATCH)
    current = await client.put(one, {**current, "immutable": True})
    for wrong in ({"data": {"a": "b2xk"}}, {"immutable": False}, {"immutable": None}):
        answer = await client.call("PUT", one, {**current, **wrong})
        assert (answer.status, answer.body["reason"]) == (422, "Invalid"), wrong
        assert "field is immutable when `immutable` is set" in answer.body["message"]
    current["metadata"]["labels"]["more"] = "yes"
    assert (await client.put(one, current))["metadata"]["labels"]["more"] == "yes"
    await client.delete(one)
    assert (await client.call("GET", one)).status == 404


# Pods, as far as they are the API's


def pod(name: str, resources: Object | None = None, **spec: Any) -> Object:
    container = {**CONTAINERS[0], **({"resources": resources} if resources else {})}
    return named(name, {"spec": {"containers": [container], **spec}})


@pytest.mark.conformance(
    "Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and limits for memory and cpu"
)
async def test_the_class_of_service_of_a_pod(client: Client) -> None:
    amounts = {"cpu": "100m", "memory": "100Mi"}
    made = await client.create(f"{CORE}/pods", pod("p", {"requests": amounts, "limits": amounts}))
    assert made["status"]["qosClass"] == "Guaranteed"
    assert (await client.get(f"{CORE}/pods/p"))["status"]["qosClass"] == "Guaranteed"


@pytest.mark.conformance(
    "Pods Extended (pod generation) Pod Generation custom-set generation on new pods and graceful delete"
)
async def test_the_generation_of_a_pod_is_the_servers(client: Client) -> None:
    wanted = pod("p", nodeName="n")
    wanted["metadata"]["generation"] = 100
    assert (await client.create(f"{CORE}/pods", wanted))["metadata"]["generation"] == 1
    going = await client.delete(f"{CORE}/pods/p?gracePeriodSeconds=30")
    assert going["metadata"]["generation"] == 2
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30


@pytest.mark.conformance("Pods should be updated [NodeConformance]")
async def test_the_labels_of_a_pod_are_updated(client: Client) -> None:
    made = await client.create(f"{CORE}/pods", pod("p"))
    made["metadata"]["labels"]["time"] = "now"
    await client.put(f"{CORE}/pods/p", made)
    assert len((await client.get(f"{CORE}/pods?labelSelector=time%3Dnow"))["items"]) == 1


@pytest.mark.conformance("Pods should patch a pod status")
async def test_the_status_of_a_pod_is_patched(client: Client) -> None:
    await client.create(f"{CORE}/pods", pod("p"))
    told = {"status": {"message": "Patched by e2e test", "reason": "E2E"}}
    patched = await client.patch(f"{CORE}/pods/p/status", told, MERGE_PATCH)
    assert patched["status"].items() >= told["status"].items()
    assert (await client.get(f"{CORE}/pods/p"))["status"]["reason"] == "E2E"


@pytest.mark.conformance("Pods should run through the lifecycle of Pods and PodStatus")
async def test_a_pod_and_its_status_live(client: Client) -> None:
    made = await client.create(f"{CORE}/pods", pod("p", terminationGracePeriodSeconds=1))
    watch = await client.watch(
        f"{CORE}/pods?watch=1&labelSelector=e2e&resourceVersion={made['metadata']['resourceVersion']}"
    )
    change = {
        "metadata": {"labels": {"test-pod": "patched"}},
        "spec": {"containers": [{"name": "c", "image": "busybox:2"}]},
    }
    patched = await client.patch(f"{CORE}/pods/p", change, "application/strategic-merge-patch+json")
    assert patched["spec"]["containers"][0]["image"] == "busybox:2"
    status = await client.get(f"{CORE}/pods/p/status")
    status["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ]
    replaced = await client.put(f"{CORE}/pods/p/status", status)
    assert [each["type"] for each in replaced["status"]["conditions"]] == ["Ready"]
    await client.delete(f"{CORE}/pods/p?gracePeriodSeconds=0")
    await settle()
    assert [kind for kind, _ in watch.summary()] == ["MODIFIED", "MODIFIED", "DELETED"]
