"""`metadata.managedFields` of everything that is written: by whom, through which path, and when not."""

from datetime import timedelta
from typing import Any

import pytest
from minimal import collection, minimal, name_of
from served import JSON_PATCH, MERGE_PATCH, STRATEGIC, Client, Object

from tiphys.api.resource import Resource
from tiphys.api.scheme import built_in
from tiphys.apiserver.registry.owners import resets_of
from tiphys.testing.clock import START, FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
KUBECTL = "kubectl/v1.36.2 (linux/amd64) kubernetes/0000000"
STORED = [row for row in built_in() if not row.virtual]
every_kind = pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row.api_version}-{row.kind}")


def config_map(name: str = "a", **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data}


def pod(name: str = "web", **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def deployment(name: str = "web", **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    selected = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"metadata": {"name": name}, "spec": {**selected, **spec}}


def entries(obj: Object) -> list[Object]:
    found: list[Object] = obj["metadata"].get("managedFields", [])
    return found


def identities(obj: Object) -> list[tuple[str, str, str]]:
    return [(each["manager"], each["operation"], each.get("subresource", "")) for each in entries(obj)]


def fields(obj: Object, manager: str, subresource: str = "") -> Object:
    [found] = [
        each["fieldsV1"]
        for each in entries(obj)
        if (each["manager"], each.get("subresource", "")) == (manager, subresource)
    ]
    return found


# Every kind


@every_kind
async def test_every_write_of_every_kind_has_an_owner(
    client: Client, clock: FakeClock, row: Resource
) -> None:
    path = collection(row)
    one = f"{path}/{name_of(row)}"
    created = await client.create(path, minimal(row), user_agent="maker/1.0")
    [entry] = entries(created)
    assert entry == {
        "manager": "maker",
        "operation": "Update",
        "apiVersion": row.api_version,
        "time": START.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "fieldsType": "FieldsV1",
        "fieldsV1": entry["fieldsV1"],
    }
    resets = row.resets if row.resets is not None else ("status",) if row.subresource("status") else ()
    owned = set(entry["fieldsV1"])
    assert owned.isdisjoint(f"f:{name}" for name in resets)
    assert owned <= {f"f:{name}" for name in created}
    assert "f:test" in entry["fieldsV1"]["f:metadata"]["f:labels"]

    await clock.advance(1)
    labels = {"metadata": {"labels": {"test": "changed"}}}
    patched = await client.patch(f"{one}?fieldManager=painter", labels)
    assert fields(patched, "painter") == {"f:metadata": {"f:labels": {"f:test": {}}}}
    assert "f:test" not in fields(patched, "maker")["f:metadata"].get("f:labels", {})
    again = await client.patch(f"{one}?fieldManager=third", labels)
    assert ("third", "Update", "") not in identities(again)
    if row.subresource("status") is None:
        return
    sent = await client.patch(f"{one}/status", {"metadata": {"annotations": {"a": "b"}}}, user_agent="teller")
    kept = "metadata" in row.subresource("status").resets
    assert (("teller", "Update", "status") in identities(sent)) is not kept


async def test_who_writes(client: Client) -> None:
    async def manager(target: str, **headers: str) -> str:
        made = await client.create(target, config_map(f"a{client.server.store.revision}", a="1"), **headers)
        [entry] = entries(made)
        return str(entry["manager"])

    assert await manager(MAPS, user_agent=KUBECTL) == "kubectl"
    assert await manager(f"{MAPS}?fieldManager=kubectl-create", user_agent=KUBECTL) == "kubectl-create"
    assert await manager(MAPS, user_agent="kube-controller-manager/v1.36.2") == "kube-controller-manager"
    assert await manager(MAPS) == "unknown"


@pytest.mark.parametrize(
    ("method", "kind", "query", "words"),
    [
        ("POST", "CreateOptions", "fieldManager=" + "x" * 129, "fieldManager: Too long: may not be more than 128 bytes"),
        ("PUT", "UpdateOptions", "fieldManager=a%0Ab", 'fieldManager: Invalid value: "a\\nb": invalid character U+000A (at position 1)'),
        ("PATCH", "PatchOptions", "force=true", "force: Forbidden: may not be specified for non-apply patch"),
        ("PATCH", "PatchOptions", "fieldValidation=Loud", 'fieldValidation: Unsupported value: "Loud": supported values: "Ignore", "Strict", "Warn"'),
        ("PATCH", "PatchOptions", "dryRun=Some", 'dryRun: Unsupported value: ["Some"]: supported values: "All"'),
    ],
)  # fmt: skip
async def test_options_that_make_no_sense(
    client: Client, method: str, kind: str, query: str, words: str
) -> None:
    await client.create(MAPS, config_map())
    target = MAPS if method == "POST" else f"{MAPS}/a"
    headers = {"content_type": MERGE_PATCH} if method == "PATCH" else {}
    answer = await client.call(method, f"{target}?{query}", config_map(), **headers)
    assert answer.status == 422
    assert answer.body["message"] == f'{kind}.meta.k8s.io "" is invalid: {words}'


# What is owned


async def test_a_creation_owns_defaults_but_not_what_admission_and_the_server_add(client: Client) -> None:
    made = await client.create(PODS, pod(), user_agent=KUBECTL)
    owned = fields(made, "kubectl")
    assert owned == {
        "f:spec": {
            "f:containers": {
                'k:{"name":"c"}': {
                    ".": {},
                    "f:image": {},
                    "f:imagePullPolicy": {},
                    "f:name": {},
                    "f:resources": {},
                    "f:terminationMessagePath": {},
                    "f:terminationMessagePolicy": {},
                }
            },
            "f:dnsPolicy": {},
            "f:enableServiceLinks": {},
            "f:restartPolicy": {},
            "f:schedulerName": {},
            "f:securityContext": {},
            "f:terminationGracePeriodSeconds": {},
        }
    }
    assert made["spec"]["serviceAccountName"] == "default"


async def test_updates_of_the_same_manager_are_one_entry(client: Client, clock: FakeClock) -> None:
    made = await client.create(MAPS, config_map(a="1", b="1"), user_agent=KUBECTL)
    await clock.advance(60)
    made["data"] = {"a": "2", "c": "1"}
    put = await client.put(f"{MAPS}/a", made, user_agent=KUBECTL)
    [entry] = entries(put)
    assert entry["fieldsV1"] == {"f:data": {".": {}, "f:a": {}, "f:c": {}}}
    assert entry["time"] == (START + timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_nothing_is_written_when_nothing_changes(client: Client, clock: FakeClock) -> None:
    made = await client.create(MAPS, config_map(a="1"), user_agent=KUBECTL)
    await clock.advance(60)
    assert await client.put(f"{MAPS}/a", made, user_agent="other") == made
    assert await client.put(f"{MAPS}/a", config_map(a="1"), user_agent="other") == made
    for kind, body in (
        (MERGE_PATCH, {"data": {"a": "1"}}),
        (STRATEGIC, {"data": {"a": "1"}}),
        (JSON_PATCH, [{"op": "replace", "path": "/data/a", "value": "1"}]),
    ):
        assert await client.patch(f"{MAPS}/a", body, kind, user_agent="other") == made
    later = {
        **made,
        "metadata": {
            **made["metadata"],
            "managedFields": [{**entries(made)[0], "time": "2030-01-01T00:00:00Z"}],
        },
    }
    assert await client.put(f"{MAPS}/a", later) == made


# What clients say of it themselves


@pytest.mark.parametrize("nothing", [[], [{}]])
async def test_a_client_forgets_all_owners(client: Client, nothing: list[Object]) -> None:
    made = await client.create(MAPS, config_map(a="1"), user_agent=KUBECTL)
    reset = {**made, "metadata": {**made["metadata"], "managedFields": nothing}}
    assert entries(await client.put(f"{MAPS}/a", reset)) == []
    assert entries(await client.get(f"{MAPS}/a")) == []
    # Nobody is tracked until somebody applies.
    assert entries(await client.patch(f"{MAPS}/a", {"data": {"a": "2"}})) == []


async def test_a_client_rewrites_entries(client: Client) -> None:
    made = await client.create(MAPS, config_map(a="1"), user_agent=KUBECTL)
    path = "/metadata/managedFields/0/manager"
    renamed = await client.patch(
        f"{MAPS}/a", [{"op": "replace", "path": path, "value": "renamed"}], JSON_PATCH
    )
    assert identities(renamed) == [("renamed", "Update", "")]
    assert entries(renamed)[0]["fieldsV1"] == entries(made)[0]["fieldsV1"]
    # Entries may come with a new object, too: the object of a backup keeps its owners.
    copied = await client.create(
        MAPS, {**config_map("b", a="1"), "metadata": {"name": "b", "managedFields": entries(made)}}
    )
    assert ("kubectl", "Update", "") not in identities(copied)


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV2", "fieldsV1": {}},
        {"operation": "Replace", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}},
        {"operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {}},
        {"operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"k:{": {}}},
        {"operation": "Update", "apiVersion": "a/b/c", "fieldsType": "FieldsV1", "fieldsV1": {"f:x": 1}},
    ],
)
async def test_entries_that_make_no_sense_are_ignored(client: Client, wrong: Object) -> None:
    made = await client.create(MAPS, config_map(a="1"), user_agent=KUBECTL)
    sent = {**made, "metadata": {**made["metadata"], "managedFields": [wrong]}}
    assert entries(await client.put(f"{MAPS}/a", sent, user_agent=KUBECTL)) == entries(made)
    fresh = {**config_map("b", a="1"), "metadata": {"name": "b", "managedFields": [wrong]}}
    assert identities(await client.create(MAPS, fresh, user_agent=KUBECTL)) == [("kubectl", "Update", "")]


# Subresources


async def test_status_belongs_to_who_writes_it(client: Client) -> None:
    await client.create(PODS, pod(), user_agent=KUBECTL)
    status = {"status": {"phase": "Running", "reason": "r"}, "spec": {"priority": 7}}
    told = await client.patch(f"{PODS}/web/status", status, STRATEGIC, user_agent="kubelet/v1.36.2")
    assert fields(told, "kubelet", "status") == {"f:status": {"f:phase": {}, "f:reason": {}}}
    # A write of the pod changes nothing of the status, and nobody loses it.
    again = await client.put(f"{PODS}/web", {**told, "status": {"phase": "Failed"}}, user_agent="other")
    assert again == told


async def test_pods_take_their_owners_through_every_path(client: Client) -> None:
    await client.create(PODS, pod(), user_agent=KUBECTL)
    node = {"target": {"kind": "Node", "name": "n1"}}
    await client.create(f"{PODS}/web/binding", node, user_agent="kube-scheduler/v1.36.2")
    debug = {
        "spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]},
        "metadata": {"labels": {"x": "y"}},
    }
    seen = await client.patch(f"{PODS}/web/ephemeralcontainers", debug, STRATEGIC, user_agent="debugger")
    assert identities(seen) == [("debugger", "Update", "ephemeralcontainers"), ("kubectl", "Update", "")]
    element = fields(seen, "debugger", "ephemeralcontainers")["f:spec"]["f:ephemeralContainers"]
    assert set(element) == {".", 'k:{"name":"d"}'}
    resized = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1m"}}}]}}
    await client.create(
        PODS, pod("big", containers=[{"name": "c", "image": "i", "resources": {"requests": {"cpu": "2m"}}}])
    )
    after = await client.patch(f"{PODS}/big/resize", resized, STRATEGIC, user_agent="resizer")
    owned = fields(after, "resizer", "resize")
    requests = {"f:resources": {"f:requests": {"f:cpu": {}}}}
    assert owned == {"f:spec": {"f:containers": {'k:{"name":"c"}': requests}}}


async def test_scale_owns_the_replicas(client: Client) -> None:
    await client.create(DEPLOYMENTS, deployment(replicas=1), user_agent=KUBECTL)
    scale = {"spec": {"replicas": 3}}
    await client.patch(f"{DEPLOYMENTS}/web/scale?fieldManager=scaler", scale)
    found = await client.get(f"{DEPLOYMENTS}/web")
    [entry] = [each for each in entries(found) if each["manager"] == "scaler"]
    assert entry == {
        "manager": "scaler",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
        "subresource": "scale",
    }
    assert "f:replicas" not in fields(found, "kubectl")["f:spec"]
    shown = await client.get(f"{DEPLOYMENTS}/web/scale")
    assert "managedFields" not in shown["metadata"]
    await client.put(f"{DEPLOYMENTS}/web/scale", {**shown, "spec": {"replicas": 3}}, user_agent="other")
    assert await client.get(f"{DEPLOYMENTS}/web") == found


async def test_namespaces_and_certificates(client: Client) -> None:
    made = await client.create("/api/v1/namespaces", {"metadata": {"name": "n"}}, user_agent=KUBECTL)
    ended = await client.put("/api/v1/namespaces/n/finalize", {**made, "spec": {}}, user_agent="ender")
    assert not ended["spec"]
    rows = {row.kind: row for row in STORED if row.group == "certificates.k8s.io" and row.version == "v1"}
    row = rows["CertificateSigningRequest"]
    made = await client.create(collection(row), minimal(row), user_agent=KUBECTL)
    assert fields(made, "kubectl") == {"f:metadata": {"f:labels": {".": {}, "f:test": {}}}}
    condition = {"type": "Approved", "status": "True", "reason": "r", "message": "m"}
    approved = {**made, "status": {"conditions": [condition], "certificate": "Yg=="}}
    seen = await client.put(f"{collection(row)}/one/approval", approved, user_agent="approver")
    owned = fields(seen, "approver", "approval")
    assert set(owned) == {"f:status"}
    assert set(owned["f:status"]) == {"f:conditions"}


# Admission


class Meddling:
    """An admission chain that does something to the owners after the others."""

    def __init__(self, chain: Any, owners: Any) -> None:
        self._chain = chain
        self._owners = owners

    async def admit(self, attributes: Any) -> None:
        await self._chain.admit(attributes)
        attributes.object["metadata"]["managedFields"] = self._owners
        attributes.object["data"] = {"b": "1"}

    async def validate(self, attributes: Any) -> None:
        await self._chain.validate(attributes)

    async def close(self) -> None:
        await self._chain.close()


async def test_admission_that_spoils_the_owners(client: Client) -> None:
    writes = client.server.writes
    writes.chain = Meddling(writes.chain, [{"operation": "Guess"}])  # type: ignore[assignment]
    answer = await client.call("POST", MAPS, config_map(a="1"), user_agent=KUBECTL)
    assert answer.warnings == (
        '299 - ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated '
        'mutating admission controller; please fix your requests: operation must be `Apply` or `Update`"',
    )
    # The owners are those from before, and nobody owns what admission has made of the object.
    assert fields(answer.body, "kubectl") == {"f:data": {".": {}, "f:a": {}}}
    assert answer.body["data"] == {"b": "1"}


async def test_admission_may_change_the_owners(client: Client) -> None:
    writes = client.server.writes
    entry = {
        "manager": "m",
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {}},
    }
    writes.chain = Meddling(writes.chain, [entry])  # type: ignore[assignment]
    answer = await client.call("POST", MAPS, config_map(a="1"), user_agent=KUBECTL)
    assert (answer.warnings, entries(answer.body)) == ((), [entry])
    assert entries(await client.get(f"{MAPS}/a")) == [entry]


# Versions


async def test_owners_in_another_version_of_a_kind(client: Client) -> None:
    v1, v2 = (
        f"/apis/autoscaling/{each}/namespaces/default/horizontalpodautoscalers" for each in ("v1", "v2")
    )
    target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    made = await client.create(v1, {"metadata": {"name": "a"}, "spec": spec}, user_agent="old")
    assert {each["apiVersion"] for each in entries(made)} == {"autoscaling/v1"}
    seen = await client.get(f"{v2}/a")
    assert entries(seen) == entries(made)
    raised = await client.patch(f"{v2}/a", {"spec": {"maxReplicas": 4}}, user_agent="new")
    assert fields(raised, "new") == {"f:spec": {"f:maxReplicas": {}}}
    assert "f:maxReplicas" not in fields(raised, "old")["f:spec"]
    assert "f:targetCPUUtilizationPercentage" in fields(raised, "old")["f:spec"]


# Views


async def test_tables_and_metadata_show_owners(client: Client) -> None:
    made = await client.create(MAPS, config_map(a="1"), user_agent=KUBECTL)
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    [row] = (await client.get(MAPS + "?fieldSelector=metadata.name=a", accept=table))["rows"]
    assert entries(row["object"]) == entries(made)
    partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    assert entries(await client.get(f"{MAPS}/a", accept=partial)) == entries(made)


# What a path leaves alone, where it is not what nearly all do: the object its status, /status the spec. Upstream's facts.
OTHER_RESETS = {
    ("apiextensions.k8s.io", "CustomResourceDefinition", "status"): {"metadata", "spec"},
    ("apiregistration.k8s.io", "APIService", "status"): {"metadata", "spec"},
    ("storage.k8s.io", "VolumeAttachment", "status"): {"metadata", "spec"},
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "status"): {"metadata", "spec"},
    ("internal.apiserver.k8s.io", "StorageVersion", "status"): {"metadata", "spec"},
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", "status"): {"metadata", "spec"},
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "status"): {"metadata", "spec"},
    ("resource.k8s.io", "ResourceClaim", "status"): {"metadata", "spec"},
    ("resource.k8s.io", "DeviceTaintRule", "status"): {"metadata", "spec"},
    ("resource.k8s.io", "ResourcePoolStatusRequest", "status"): {"metadata", "spec"},
    ("scheduling.k8s.io", "PodGroup", "status"): {"metadata", "spec"},
    ("storagemigration.k8s.io", "StorageVersionMigration", "status"): {"metadata", "spec"},
    ("apps", "Deployment", "status"): {"metadata.labels", "spec"},
    ("", "Pod", "status"): {"metadata.deletionTimestamp", "metadata.ownerReferences", "spec"},
    ("", "Namespace", "finalize"): {"status"},
    ("certificates.k8s.io", "CertificateSigningRequest", ""): {"spec", "status"},
    ("certificates.k8s.io", "CertificateSigningRequest", "status"): {"spec", "status.conditions"},
    ("certificates.k8s.io", "CertificateSigningRequest", "approval"): {"spec", "status.certificate"},
    ("certificates.k8s.io", "PodCertificateRequest", ""): set(),
}
WRITES = {
    "ephemeralcontainers": {"spec.ephemeralContainers"},
    "resize": {
        "spec.containers.*.resources",
        "spec.containers.*.resizePolicy",
        "spec.initContainers.*.resources",
        "spec.initContainers.*.resizePolicy",
    },
}


@every_kind
def test_what_each_path_leaves_alone(row: Resource) -> None:
    def wanted(subresource: str) -> set[str]:
        usual = {"spec"} if subresource else {"status"} if row.subresource("status") else set()
        return OTHER_RESETS.get((row.group, row.kind, subresource), usual)

    assert set(resets_of(row, "")) == wanted("")
    for path in row.subresources:
        if path.kind is not None:  # its body is another object
            continue
        if path.name in WRITES:
            assert set(path.writes) == WRITES[path.name]
        elif path.name != "log":
            assert set(resets_of(row, path.name)) == wanted(path.name)
