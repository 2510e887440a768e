"""ReplicaSets, ReplicationControllers and Deployments: scales, statuses, whose pods are whose, and rollouts, on a simulated cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import config

from tiphys.testing import Cluster, Namespace

Object = dict[str, Any]
PATIENCE_SECONDS = 300
"""Of the cluster's time, which passes at once."""
LABELS = {"app": "web"}
STRATEGIC = "application/strategic-merge-patch+json"


def template(image: str = "httpd:1") -> Object:
    spec = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": image}]}
    return {"metadata": {"labels": LABELS}, "spec": spec}


def workload(kind: str, replicas: int = 1, **spec: Any) -> Object:
    is_old = kind == "ReplicationController"
    return {
        "apiVersion": "v1" if is_old else "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "labels": LABELS},
        "spec": {
            "replicas": replicas,
            "selector": LABELS if is_old else {"matchLabels": LABELS},
            "template": template(),
            **spec,
        },
    }


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[official.ApiClient]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as found:
        yield found


@pytest.fixture
def apps(api: official.ApiClient) -> official.AppsV1Api:
    return official.AppsV1Api(api)


@pytest.fixture
def core(api: official.ApiClient) -> official.CoreV1Api:
    return official.CoreV1Api(api)


def is_seen(found: Object) -> bool:
    return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"])


def with_ready(namespace: Namespace, kind: str, count: int) -> Object:
    def test(found: Object) -> bool:
        status = found["status"]
        return (
            is_seen(found)
            and status.get("replicas", 0) == status.get("availableReplicas", 0) == count
            and status.get("updatedReplicas", count) == count
        )

    return namespace.wait_for(f"{kind}/web", test, PATIENCE_SECONDS)


def set_image(namespace: Namespace, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    namespace.patch("deployment/web", patch, content_type=STRATEGIC)


def owner_of(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((f"{owner['kind']}/{owner['name']}" for owner in owners if owner.get("controller")), "")


# Scales, statuses, collections


@pytest.mark.conformance("ReplicaSet Replicaset should have a working scale subresource")
@pytest.mark.conformance("Deployment Deployment should have a working scale subresource")
@pytest.mark.parametrize("kind", ["ReplicaSet", "Deployment"])
def test_a_scale(namespace: Namespace, apps: official.AppsV1Api, kind: str) -> None:
    noun = {"ReplicaSet": "replica_set", "Deployment": "deployment"}[kind]
    namespace.create(workload(kind))
    with_ready(namespace, kind, 1)
    found = getattr(apps, f"read_namespaced_{noun}_scale")("web", namespace.name)
    assert (found.spec.replicas, found.status.replicas) == (1, 1)
    found.spec.replicas = 2
    getattr(apps, f"replace_namespaced_{noun}_scale")("web", namespace.name, found)
    with_ready(namespace, kind, 2)
    getattr(apps, f"patch_namespaced_{noun}_scale")("web", namespace.name, {"spec": {"replicas": 4}})
    with_ready(namespace, kind, 4)


@pytest.mark.conformance("ReplicationController should get and update a ReplicationController scale")
def test_the_scale_of_a_replication_controller(namespace: Namespace, core: official.CoreV1Api) -> None:
    namespace.create(workload("ReplicationController"))
    with_ready(namespace, "ReplicationController", 1)
    found = core.read_namespaced_replication_controller_scale("web", namespace.name)
    assert found.status.replicas == 1
    found.spec.replicas = 2
    core.replace_namespaced_replication_controller_scale("web", namespace.name, found)
    with_ready(namespace, "ReplicationController", 2)


@pytest.mark.conformance("ReplicaSet should validate Replicaset Status endpoints")
@pytest.mark.conformance("Deployment should validate Deployment Status endpoints")
@pytest.mark.parametrize("kind", ["ReplicaSet", "Deployment"])
def test_a_status(namespace: Namespace, apps: official.AppsV1Api, kind: str) -> None:
    noun = {"ReplicaSet": "replica_set", "Deployment": "deployment"}[kind]
    condition = {"ReplicaSet": official.V1ReplicaSetCondition, "Deployment": official.V1DeploymentCondition}
    namespace.create(workload(kind))
    with_ready(namespace, kind, 1)
    found = getattr(apps, f"read_namespaced_{noun}_status")("web", namespace.name)
    told = condition[kind](type="StatusUpdate", status="True", reason="E2E", message="Set from e2e test")
    found.status.conditions = [*(found.status.conditions or ()), told]
    found.metadata.resource_version = None
    updated = getattr(apps, f"replace_namespaced_{noun}_status")("web", namespace.name, found)
    assert "StatusUpdate" in [each.type for each in updated.status.conditions]
    patch = {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}
    patched = namespace.patch(f"{kind}/web", patch, subresource="status")
    assert "StatusPatched" in [each["type"] for each in patched["status"]["conditions"]]
    assert patched["spec"]["replicas"] == 1


@pytest.mark.conformance("ReplicaSet should list and delete a collection of ReplicaSets")
def test_replica_sets_are_listed_and_deleted(namespace: Namespace, apps: official.AppsV1Api) -> None:
    namespace.create(workload("ReplicaSet", 3))
    with_ready(namespace, "ReplicaSet", 3)
    found = apps.list_replica_set_for_all_namespaces(label_selector="app=web").items
    assert [(each.metadata.namespace, each.metadata.name) for each in found] == [(namespace.name, "web")]
    apps.delete_collection_namespaced_replica_set(namespace.name, label_selector="app=web")
    namespace.wait_gone("replicaset/web", PATIENCE_SECONDS)


@pytest.mark.conformance("ReplicaSet Replace and Patch tests")
def test_a_replica_set_is_replaced_and_patched(namespace: Namespace, apps: official.AppsV1Api) -> None:
    namespace.create(workload("ReplicaSet"))
    with_ready(namespace, "ReplicaSet", 1)
    found = apps.read_namespaced_replica_set("web", namespace.name)
    found.spec.replicas, found.metadata.resource_version = 2, None
    apps.replace_namespaced_replica_set("web", namespace.name, found)
    with_ready(namespace, "ReplicaSet", 2)
    patch = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 3}}
    assert namespace.patch("replicaset/web", patch)["metadata"]["labels"]["patched"] == "yes"
    with_ready(namespace, "ReplicaSet", 3)


@pytest.mark.conformance("ReplicationController should test the lifecycle of a ReplicationController")
def test_a_replication_controller_lives(namespace: Namespace, core: official.CoreV1Api) -> None:
    kind = "ReplicationController"
    namespace.create(workload(kind))
    with_ready(namespace, kind, 1)
    patched = namespace.patch(f"{kind}/web", {"metadata": {"labels": {"patched": "yes"}}})
    assert patched["metadata"]["labels"]["patched"] == "yes"
    status = namespace.patch(f"{kind}/web", {"status": {"availableReplicas": 0}}, subresource="status")
    assert status["status"].get("availableReplicas", 0) == 0
    core.patch_namespaced_replication_controller_scale("web", namespace.name, {"spec": {"replicas": 2}})
    with_ready(namespace, kind, 2)
    (listed,) = core.list_replication_controller_for_all_namespaces(label_selector="patched=yes").items
    assert listed.metadata.namespace == namespace.name
    core.delete_collection_namespaced_replication_controller(
        namespace.name, label_selector="patched=yes", propagation_policy="Background"
    )
    namespace.wait_gone(f"{kind}/web", PATIENCE_SECONDS)
    namespace.wait_for_all("pods", lambda pods: not pods, PATIENCE_SECONDS)


# Whose pods are whose


@pytest.mark.conformance(
    "ReplicaSet should adopt matching pods on creation and release no longer matching pods"
)
@pytest.mark.conformance("ReplicationController should adopt matching pods on creation")
@pytest.mark.conformance("ReplicationController should release no longer matching pods")
@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
def test_pods_are_adopted_and_let_go(namespace: Namespace, kind: str) -> None:
    spec = template()["spec"]
    orphan = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "orphan", "labels": LABELS},
        "spec": spec,
    }
    namespace.create(orphan)
    namespace.create(workload(kind))
    namespace.wait_for("pod/orphan", lambda pod: owner_of(pod) == f"{kind}/web", PATIENCE_SECONDS)
    with_ready(namespace, kind, 1)
    assert len(namespace.list("pods")) == 1
    namespace.patch("pod/orphan", {"metadata": {"labels": {"app": "other"}}})
    namespace.wait_for("pod/orphan", lambda pod: owner_of(pod) == "", PATIENCE_SECONDS)
    namespace.wait_for_all("pods", lambda pods: len(pods) == 2, PATIENCE_SECONDS)


@pytest.mark.conformance(
    "ReplicationController should surface a failure condition on a common issue like exceeded quota"
)
def test_a_quota_is_a_condition(namespace: Namespace) -> None:
    kind = "ReplicationController"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "two"}}
    namespace.create({**quota, "spec": {"hard": {"pods": "2"}}})
    namespace.wait_for(
        "resourcequota/two", lambda found: found.get("status", {}).get("hard") == {"pods": "2"}
    )
    namespace.create(workload(kind, 3))

    def has_failed(found: Object) -> bool:
        return any(each["type"] == "ReplicaFailure" for each in found["status"].get("conditions", ()))

    namespace.wait_for(f"{kind}/web", has_failed, PATIENCE_SECONDS)
    namespace.patch(f"{kind}/web", {"spec": {"replicas": 2}})
    namespace.wait_for(
        f"{kind}/web", lambda found: is_seen(found) and not has_failed(found), PATIENCE_SECONDS
    )


# Rollouts


@pytest.mark.conformance("Deployment RollingUpdateDeployment should delete old pods and create new ones")
def test_a_deployment_adopts_and_rolls_over(namespace: Namespace) -> None:
    namespace.create(workload("ReplicaSet"))
    with_ready(namespace, "ReplicaSet", 1)
    before = {pod["metadata"]["uid"] for pod in namespace.list("pods")}
    namespace.create({**workload("Deployment"), "metadata": {"name": "web"}, "spec": {**workload("Deployment")["spec"], "template": template("httpd:2")}})  # fmt: skip
    with_ready(namespace, "Deployment", 1)
    old = namespace.wait_for(
        "replicaset/web", lambda found: found["status"]["replicas"] == 0, PATIENCE_SECONDS
    )
    assert owner_of(old) == "Deployment/web"
    namespace.wait_for_all("pods", lambda pods: len(pods) == 1, PATIENCE_SECONDS)
    assert not before & {pod["metadata"]["uid"] for pod in namespace.list("pods")}
    assert len(namespace.list("replicasets")) == 2


@pytest.mark.conformance("Deployment RecreateDeployment should delete old pods and create new ones")
def test_recreate_never_has_both(namespace: Namespace) -> None:
    namespace.create(workload("Deployment", 2, strategy={"type": "Recreate"}))
    with_ready(namespace, "Deployment", 2)
    set_image(namespace, "httpd:2")

    def both(pods: list[Object]) -> bool:
        return len({pod["spec"]["containers"][0]["image"] for pod in pods}) == 2

    seen: list[Object] = []

    def is_new(pods: list[Object]) -> bool:
        seen.extend(pods if both(pods) else ())
        return len(pods) == 2 and all(pod["spec"]["containers"][0]["image"] == "httpd:2" for pod in pods)

    namespace.wait_for_all("pods", is_new, PATIENCE_SECONDS)
    assert seen == []
    with_ready(namespace, "Deployment", 2)


@pytest.mark.conformance("Deployment deployment should delete old replica sets")
def test_old_replica_sets_are_deleted(namespace: Namespace) -> None:
    namespace.create(workload("Deployment", revisionHistoryLimit=0))
    with_ready(namespace, "Deployment", 1)
    set_image(namespace, "httpd:2")
    with_ready(namespace, "Deployment", 1)
    namespace.wait_for_all("replicasets", lambda found: len(found) == 1, PATIENCE_SECONDS)


@pytest.mark.conformance("Deployment deployment should support rollover")
def test_a_rollout_over_another(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(workload("Deployment", 2, revisionHistoryLimit=5))
    with_ready(namespace, "Deployment", 2)
    with cluster.pods.behave(namespace=namespace.name, image="stuck:*", ready=False):
        set_image(namespace, "stuck:1")
        namespace.wait_for("deployment/web", lambda found: found["status"].get("unavailableReplicas"))
        set_image(namespace, "httpd:2")
        with_ready(namespace, "Deployment", 2)
    sizes = {each["spec"]["template"]["spec"]["containers"][0]["image"]: each["spec"]["replicas"] for each in namespace.list("replicasets")}  # fmt: skip
    assert sizes == {"httpd:1": 0, "stuck:1": 0, "httpd:2": 2}


@pytest.mark.conformance("Deployment deployment should support proportional scaling")
def test_a_rollout_that_is_stuck_is_scaled_in_proportion(cluster: Cluster, namespace: Namespace) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    namespace.create(workload("Deployment", 10, strategy=rolling))
    with_ready(namespace, "Deployment", 10)

    def sizes() -> dict[str, int]:
        found = namespace.list("replicasets")
        return {each["spec"]["template"]["spec"]["containers"][0]["image"]: each["spec"]["replicas"] for each in found}  # fmt: skip

    with cluster.pods.behave(namespace=namespace.name, image="stuck:*", ready=False):
        set_image(namespace, "stuck:1")
        namespace.wait_for_all("pods", lambda pods: len(pods) == 13, PATIENCE_SECONDS)
        cluster.clock.advance(10)
        assert sizes() == {"httpd:1": 8, "stuck:1": 5}
        namespace.patch("deployment/web", {"spec": {"replicas": 30}})
        namespace.wait_for(
            "deployment/web", lambda found: found["status"]["replicas"] == 33, PATIENCE_SECONDS
        )
        assert sizes() == {"httpd:1": 20, "stuck:1": 13}


@pytest.mark.conformance("Deployment should run the lifecycle of a Deployment")
def test_a_deployment_lives(namespace: Namespace, apps: official.AppsV1Api) -> None:
    namespace.create(workload("Deployment", 2))
    with_ready(namespace, "Deployment", 2)
    patch = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 1}}
    assert namespace.patch("deployment/web", patch)["metadata"]["labels"]["patched"] == "yes"
    with_ready(namespace, "Deployment", 1)
    (listed,) = apps.list_deployment_for_all_namespaces(label_selector="patched=yes").items
    assert listed.metadata.namespace == namespace.name
    found = apps.read_namespaced_deployment("web", namespace.name)
    found.spec.replicas, found.metadata.resource_version = 2, None
    apps.replace_namespaced_deployment("web", namespace.name, found)
    with_ready(namespace, "Deployment", 2)
    apps.delete_collection_namespaced_deployment(namespace.name, label_selector="patched=yes")
    namespace.wait_gone("deployment/web", PATIENCE_SECONDS)
