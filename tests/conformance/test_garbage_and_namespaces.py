"""What goes with what: owners and dependents, namespaces and all that is in them, on a simulated cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import config
from kubernetes.client.exceptions import ApiException

from tiphys.testing import Cluster, Namespace

Object = dict[str, Any]
STRATEGIC = "application/strategic-merge-patch+json"
REPLICAS = 20
PATIENCE_SECONDS = 120
"""Of the cluster's time, which passes at once."""


def controller(name: str, replicas: int = 2) -> Object:
    labels = {"gctest": name}
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": labels, "template": template(labels)},
    }


def deployment(name: str) -> Object:
    labels = {"gctest": name}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template(labels)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def template(labels: Object) -> Object:
    return {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "nginx", "image": "nginx"}]},
    }


def pod(name: str, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [{"name": "nginx", "image": "pause"}]},
    }


Delete = Callable[[Object, str], None]


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[official.ApiClient]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as found:
        yield found


@pytest.fixture
def delete(api: official.ApiClient, namespace: Namespace) -> Delete:
    """Deletes just this object, with a propagation policy."""

    def call(obj: Object, policy: str) -> None:
        uid, name = obj["metadata"]["uid"], obj["metadata"]["name"]
        options = official.V1DeleteOptions(
            propagation_policy=policy, preconditions=official.V1Preconditions(uid=uid)
        )
        core, apps = official.CoreV1Api(api), official.AppsV1Api(api)
        take = {
            "ReplicationController": core.delete_namespaced_replication_controller,
            "Deployment": apps.delete_namespaced_deployment,
            "Pod": core.delete_namespaced_pod,
        }[obj["kind"]]
        take(name, namespace.name, body=options)

    return call


def names(objects: list[Object]) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects]


def gone(namespace: Namespace, *kinds: str) -> None:
    for kind in kinds:
        namespace.wait_for_all(kind, lambda found: not found, PATIENCE_SECONDS)


@pytest.mark.conformance("Garbage collector should delete pods created by rc when not orphaning")
def test_pods_go_with_their_controller(namespace: Namespace, delete: Delete) -> None:
    made = namespace.create(controller("rc"))
    namespace.wait_for_all("pods", lambda found: found)  # not all of them: it may be deleted in between
    delete(made, "Background")
    gone(namespace, "replicationcontrollers", "pods")


@pytest.mark.conformance(
    "Garbage collector should orphan pods created by rc if delete options say so [Serial]"
)
def test_pods_stay_when_they_are_orphaned(cluster: Cluster, namespace: Namespace, delete: Delete) -> None:
    made = namespace.create(controller("rc", REPLICAS))
    namespace.wait_for("rc/rc", lambda found: found["status"]["replicas"] == REPLICAS)
    delete(made, "Orphan")
    gone(namespace, "replicationcontrollers")
    cluster.clock.advance(30)
    found = namespace.list("pods")
    assert len(found) == REPLICAS
    assert not any(each["metadata"].get("ownerReferences") for each in found)


@pytest.mark.conformance("Garbage collector should delete RS created by deployment when not orphaning")
def test_replica_sets_go_with_their_deployment(namespace: Namespace, delete: Delete) -> None:
    made = namespace.create(deployment("web"))
    namespace.wait_for_all("replicasets", lambda found: found)
    delete(made, "Background")
    gone(namespace, "deployments", "replicasets", "pods")


@pytest.mark.conformance(
    "Garbage collector should orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan"
)
def test_replica_sets_stay_when_they_are_orphaned(namespace: Namespace, delete: Delete) -> None:
    made = namespace.create(deployment("web"))
    namespace.wait_for_all("replicasets", lambda found: found[0]["status"]["replicas"] == 2)
    delete(made, "Orphan")
    gone(namespace, "deployments")
    (left,) = namespace.list("replicasets")
    assert not left["metadata"].get("ownerReferences")
    assert len(namespace.list("pods")) == 2


@pytest.mark.conformance(
    "Garbage collector should keep the rc around until all its pods are deleted if the deleteOptions says so [Serial]"
)
def test_a_controller_goes_after_its_pods(namespace: Namespace, delete: Delete) -> None:
    made = namespace.create(controller("rc", REPLICAS))
    namespace.wait_for("rc/rc", lambda found: found["status"]["replicas"] == REPLICAS)
    delete(made, "Foreground")
    namespace.wait_gone("rc/rc", PATIENCE_SECONDS)
    assert namespace.list("pods") == []


@pytest.mark.conformance(
    "Garbage collector should not delete dependents that have both valid owner and owner that's waiting for dependents to be deleted [Serial]"
)
def test_another_owner_keeps_a_pod(namespace: Namespace, delete: Delete) -> None:
    going = namespace.create(controller("going", REPLICAS))
    staying = namespace.create(controller("staying", 0))
    namespace.wait_for("rc/going", lambda found: found["status"]["replicas"] == REPLICAS)
    owner = {"apiVersion": "v1", "kind": "ReplicationController", "name": "staying"}
    patch = {"metadata": {"ownerReferences": [{**owner, "uid": staying["metadata"]["uid"]}]}}
    for each in namespace.list("pods")[: REPLICAS // 2]:
        namespace.patch(f"pod/{each['metadata']['name']}", patch, content_type=STRATEGIC)
    delete(going, "Foreground")
    namespace.wait_gone("rc/going", PATIENCE_SECONDS)
    left = namespace.list("pods")
    assert len(left) == REPLICAS // 2
    for each in left:
        assert "deletionTimestamp" not in each["metadata"]
        assert names_of_owners(each) == ["staying"]


def names_of_owners(obj: Object) -> list[str]:
    return [owner["name"] for owner in obj["metadata"]["ownerReferences"]]


@pytest.mark.conformance("Garbage collector should not be blocked by dependency circle")
def test_a_circle_of_owners(namespace: Namespace, delete: Delete) -> None:
    made = {number: namespace.create(pod(f"pod{number}")) for number in (1, 2, 3)}
    for number, above in ((1, 3), (2, 1), (3, 2)):
        owner = made[above]["metadata"]
        reference = {"apiVersion": "v1", "kind": "Pod", "name": owner["name"], "uid": owner["uid"]}
        reference |= {"controller": True, "blockOwnerDeletion": True}
        patch = {"metadata": {"ownerReferences": [reference]}}
        namespace.patch(f"pod/pod{number}", patch, content_type=STRATEGIC)
    delete(made[1], "Foreground")
    gone(namespace, "pods")


# Namespaces


@pytest.fixture
def fresh(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Makes the same namespace, as often as one likes, and waits for its service account."""

    def make() -> str:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nsdeletetest"}})
        cluster.wait_for("serviceaccount/default", lambda found: True, namespace="nsdeletetest")
        return "nsdeletetest"

    yield make
    cluster.delete("namespace/nsdeletetest")
    cluster.wait_gone("namespace/nsdeletetest", PATIENCE_SECONDS)


@pytest.mark.conformance(
    "Namespaces [Serial] should ensure that all pods are removed when a namespace is deleted"
)
def test_no_pod_is_left_of_a_namespace(cluster: Cluster, fresh: Callable[[], str]) -> None:
    name = fresh()
    cluster.create(pod("test-pod"), namespace=name)
    cluster.wait_for("pod/test-pod", namespace=name)
    cluster.delete(f"namespace/{name}")
    cluster.wait_gone(f"namespace/{name}", PATIENCE_SECONDS)
    fresh()
    assert cluster.get("pod/test-pod", namespace=name) is None


@pytest.mark.conformance(
    "Namespaces [Serial] should ensure that all services are removed when a namespace is deleted"
)
def test_no_service_is_left_of_a_namespace(cluster: Cluster, fresh: Callable[[], str]) -> None:
    name = fresh()
    spec = {"selector": {"foo": "bar"}, "ports": [{"port": 80, "targetPort": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "test-service"}, "spec": spec}
    cluster.create(service, namespace=name)
    cluster.delete(f"namespace/{name}")
    cluster.wait_gone(f"namespace/{name}", PATIENCE_SECONDS)
    fresh()
    assert cluster.get("service/test-service", namespace=name) is None


@pytest.mark.conformance("OrderedNamespaceDeletion namespace deletion should delete pod first")
def test_pods_go_first(cluster: Cluster, fresh: Callable[[], str]) -> None:
    name = fresh()
    cluster.create(pod("test-pod", finalizers=["e2e.example.com/finalizer"]), namespace=name)
    cluster.wait_for("pod/test-pod", namespace=name)
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"key": "value"}}
    cluster.create(kept, namespace=name)
    cluster.delete(f"namespace/{name}")

    def has_failed(found: Object) -> bool:
        said = [condition["type"] for condition in found["status"]["conditions"]]
        return found["status"]["phase"] == "Terminating" and "NamespaceDeletionContentFailure" in said

    cluster.wait_for(f"namespace/{name}", has_failed, PATIENCE_SECONDS)
    cluster.wait_for("pod/test-pod", lambda found: found["metadata"]["deletionTimestamp"], namespace=name)
    cluster.clock.advance(60)
    assert cluster.get("configmap/kept", namespace=name) is not None
    assert cluster.get("pod/test-pod", namespace=name) is not None
    cluster.patch("pod/test-pod", {"metadata": {"finalizers": []}}, namespace=name)
    cluster.wait_gone("pod/test-pod", PATIENCE_SECONDS, namespace=name)
    cluster.wait_gone(f"namespace/{name}", PATIENCE_SECONDS)


@pytest.mark.conformance("Namespaces [Serial] should patch a Namespace")
def test_a_namespace_is_patched(cluster: Cluster, namespace: Namespace) -> None:
    one = f"namespace/{namespace.name}"
    before = cluster.get(one)
    assert before is not None
    patched = cluster.patch(one, {"metadata": {"labels": {"testLabel": "testValue"}}}, content_type=STRATEGIC)
    versions = [int(obj["metadata"]["resourceVersion"]) for obj in (before, patched)]
    assert versions[0] < versions[1]
    after = cluster.get(one)
    assert after is not None
    assert after["metadata"]["labels"]["testLabel"] == "testValue"


@pytest.mark.conformance("Namespaces [Serial] should apply an update to a Namespace")
def test_a_namespace_is_updated(api: official.ApiClient, namespace: Namespace) -> None:
    core = official.CoreV1Api(api)
    current = core.read_namespace(namespace.name)
    current.metadata.labels[namespace.name] = "updated"
    assert core.replace_namespace(namespace.name, current).metadata.labels[namespace.name] == "updated"


@pytest.mark.conformance("Namespaces [Serial] should apply changes to a namespace status")
def test_the_status_of_a_namespace(api: official.ApiClient, namespace: Namespace) -> None:
    core, name = official.CoreV1Api(api), namespace.name
    assert core.read_namespace_status(name).status.phase == "Active"
    first = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by a test"}
    first["lastTransitionTime"] = None  # type: ignore[assignment]
    patch = {"metadata": {"annotations": {"patched": name}}, "status": {"conditions": [first]}}
    patched = core.patch_namespace_status(name, patch)
    assert patched.metadata.annotations["patched"] == name
    assert patched.status.conditions[-1].message == "Patched by a test"
    current = core.read_namespace_status(name)
    second = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Updated by a test"}
    current.status.conditions.append(official.V1NamespaceCondition(**second))
    updated = core.replace_namespace_status(name, current)
    assert [condition.type for condition in updated.status.conditions] == ["StatusPatch", "StatusUpdate"]


@pytest.mark.conformance("Namespaces [Serial] should apply a finalizer to a Namespace")
def test_a_finalizer_of_the_spec(api: official.ApiClient, namespace: Namespace) -> None:
    core, name = official.CoreV1Api(api), namespace.name
    current = core.read_namespace(name)
    current.spec.finalizers.append("e2e.example.com/fakeFinalizer")
    replaced = core.replace_namespace_finalize(name, current)
    assert replaced.spec.finalizers == ["kubernetes", "e2e.example.com/fakeFinalizer"]
    current = core.read_namespace(name)
    current.spec.finalizers.remove("e2e.example.com/fakeFinalizer")
    assert core.replace_namespace_finalize(name, current).spec.finalizers == ["kubernetes"]
    stale = official.V1Namespace(metadata=replaced.metadata, spec=replaced.spec)
    with pytest.raises(ApiException, match="Conflict"):
        core.replace_namespace_finalize(name, stale)
