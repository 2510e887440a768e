"""StatefulSets: pods in order, updates by parts, statuses and scales, on a simulated cluster."""

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
A_WHILE_SECONDS = 60
"""So long nothing may happen where nothing should."""


def stateful(replicas: int, **spec: Any) -> Object:
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "httpd:1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web", "labels": labels},
        "spec": {
            "replicas": replicas,
            "serviceName": "all",
            "selector": {"matchLabels": labels},
            "template": template,
            **spec,
        },
    }


@pytest.fixture(scope="module")
def apps(cluster: Cluster) -> Iterator[official.AppsV1Api]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as found:
        yield official.AppsV1Api(found)


def with_ready(namespace: Namespace, count: int) -> Object:
    def test(found: Object) -> bool:
        status = found["status"]
        return bool(
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status["replicas"] == status.get("readyReplicas", 0) == count
        )

    return namespace.wait_for("statefulset/web", test, PATIENCE_SECONDS)


def rolled_out(namespace: Namespace) -> Object:
    def test(found: Object) -> bool:
        status = found["status"]
        return bool(
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedReplicas") == status.get("readyReplicas") == found["spec"]["replicas"]
            and status["currentRevision"] == status["updateRevision"]
        )

    return namespace.wait_for("statefulset/web", test, PATIENCE_SECONDS)


def scale(namespace: Namespace, replicas: int) -> None:
    namespace.patch("statefulset/web", {"spec": {"replicas": replicas}})


def set_image(namespace: Namespace, image: str, partition: int | None = None) -> None:
    strategic = "application/strategic-merge-patch+json"
    spec: Object = {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}
    if partition is not None:
        spec["updateStrategy"] = {"rollingUpdate": {"partition": partition}}
    namespace.patch("statefulset/web", {"spec": spec}, content_type=strategic)


def told(namespace: Namespace, verb: str) -> list[str]:
    """Names of the pods that the set has told of, in order: "create", "delete"."""
    reason = f"Normal Successful{verb.title()}: {verb} Pod "
    found = (line for line in namespace.events("statefulset/web") if line.startswith(reason))
    return [line.removeprefix(reason).split()[0] for line in found]


def images(namespace: Namespace) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in namespace.list("pods")]


def revisions(namespace: Namespace) -> list[str]:
    return [pod["metadata"]["labels"]["controller-revision-hash"] for pod in namespace.list("pods")]


@pytest.mark.conformance(
    "StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Scaling should happen in predictable order and halt if any stateful pod is unhealthy [Slow]"
)
def test_pods_come_and_go_in_order_and_wait_for_each_other(cluster: Cluster, namespace: Namespace) -> None:
    with cluster.pods.behave("web-*", namespace=namespace.name, ready=False):
        namespace.create(stateful(3))
        namespace.wait_for("pod/web-0", lambda pod: pod["status"]["phase"] == "Running", PATIENCE_SECONDS)
        cluster.clock.advance(A_WHILE_SECONDS)
        assert [pod["metadata"]["name"] for pod in namespace.list("pods")] == ["web-0"]
    with_ready(namespace, 3)
    assert told(namespace, "create") == ["web-0", "web-1", "web-2"]
    with cluster.pods.behave("web-*", namespace=namespace.name, ready=False):
        namespace.wait_for("statefulset/web", lambda found: not found["status"].get("readyReplicas"))
        scale(namespace, 0)
        cluster.clock.advance(A_WHILE_SECONDS)
        assert len(namespace.list("pods")) == 3
    namespace.wait_for_all("pods", lambda pods: not pods, PATIENCE_SECONDS)
    assert told(namespace, "delete") == ["web-2", "web-1", "web-0"]


@pytest.mark.conformance(
    "StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Burst scaling should run to completion even with unhealthy pods [Slow]"
)
def test_with_parallel_nobody_waits(cluster: Cluster, namespace: Namespace) -> None:
    with cluster.pods.behave("web-*", namespace=namespace.name, ready=False):
        namespace.create(stateful(1, podManagementPolicy="Parallel"))
        namespace.wait_for_all("pods", lambda pods: len(pods) == 1, PATIENCE_SECONDS)
        scale(namespace, 3)
        namespace.wait_for_all("pods", lambda pods: len(pods) == 3, PATIENCE_SECONDS)
        namespace.wait_for("statefulset/web", lambda found: found["status"]["replicas"] == 3)
    with_ready(namespace, 3)
    with cluster.pods.behave("web-*", namespace=namespace.name, ready=False):
        namespace.wait_for("statefulset/web", lambda found: not found["status"].get("readyReplicas"))
        scale(namespace, 0)
        namespace.wait_for_all("pods", lambda pods: not pods, PATIENCE_SECONDS)
    namespace.wait_for("statefulset/web", lambda found: found["status"]["replicas"] == 0)


@pytest.mark.conformance(
    "StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Should recreate evicted statefulset"
)
def test_a_pod_that_its_node_refuses_is_made_anew(cluster: Cluster, namespace: Namespace) -> None:
    node = cluster.nodes.names[0]
    port = {"containerPort": 21017, "hostPort": 21017}
    spec = {
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "httpd:1", "ports": [port]}],
    }
    namespace.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first"}, "spec": spec})
    namespace.wait_for("pod/first", "Ready")
    made = stateful(1)
    made["spec"]["template"]["spec"] = spec
    namespace.create(made)
    first = namespace.wait_for("pod/web-0", lambda pod: True, PATIENCE_SECONDS)
    # It is refused, deleted and made again, for as long as the port is taken.
    namespace.wait_for(
        "pod/web-0", lambda pod: pod["metadata"]["uid"] != first["metadata"]["uid"], PATIENCE_SECONDS
    )
    namespace.delete("pod/first")
    namespace.wait_for("pod/web-0", "Ready", PATIENCE_SECONDS)
    with_ready(namespace, 1)


@pytest.mark.conformance(
    "StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should perform rolling updates and roll backs of template modifications"
)
def test_a_new_template_rolls_and_comes_back(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(stateful(3))
    before = with_ready(namespace, 3)["status"]
    assert before["currentRevision"] == before["updateRevision"]
    assert revisions(namespace) == [before["currentRevision"]] * 3
    # One that was not well before the update does not hinder it once it is well again.
    with cluster.pods.behave("web-1", namespace=namespace.name, ready=False):
        namespace.wait_for("statefulset/web", lambda found: found["status"]["readyReplicas"] == 2)
        set_image(namespace, "httpd:2")
        between = namespace.wait_for(
            "statefulset/web",
            lambda found: found["status"]["updateRevision"] != before["updateRevision"],
            PATIENCE_SECONDS,
        )["status"]
        assert between["currentRevision"] == before["currentRevision"]
    after = rolled_out(namespace)["status"]
    assert images(namespace) == ["httpd:2"] * 3
    assert revisions(namespace) == [after["updateRevision"]] * 3
    assert told(namespace, "delete") == ["web-2", "web-1", "web-0"]
    set_image(namespace, "httpd:1")
    again = rolled_out(namespace)["status"]
    assert again["currentRevision"] == before["currentRevision"]
    assert images(namespace) == ["httpd:1"] * 3
    numbers = {each["metadata"]["name"]: each["revision"] for each in namespace.list("controllerrevisions")}
    assert numbers == {before["currentRevision"]: 3, after["updateRevision"]: 2}


@pytest.mark.conformance(
    "StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should perform canary updates and phased rolling updates of template modifications"
)
def test_a_partition_keeps_pods_at_the_old_template(cluster: Cluster, namespace: Namespace) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}
    namespace.create(stateful(3, updateStrategy=rolling))
    old = with_ready(namespace, 3)["status"]["currentRevision"]
    set_image(namespace, "httpd:2")
    new = namespace.wait_for("statefulset/web", lambda found: found["status"]["updateRevision"] != old)[
        "status"
    ]["updateRevision"]
    cluster.clock.advance(A_WHILE_SECONDS)
    assert revisions(namespace) == [old] * 3
    set_image(namespace, "httpd:2", partition=2)
    namespace.wait_for("statefulset/web", lambda found: found["status"].get("updatedReplicas") == 1)
    with_ready(namespace, 3)
    assert revisions(namespace) == [old, old, new]
    for name in ("web-0", "web-2"):
        uid = (namespace.get(f"pod/{name}") or {})["metadata"]["uid"]
        namespace.delete(f"pod/{name}")
        namespace.wait_for(
            f"pod/{name}", lambda pod, uid=uid: pod["metadata"]["uid"] != uid, PATIENCE_SECONDS
        )
        with_ready(namespace, 3)
        assert revisions(namespace) == [old, old, new]
    for partition, wanted in ((1, [old, new, new]), (0, [new, new, new])):
        set_image(namespace, "httpd:2", partition=partition)
        namespace.wait_for(
            "statefulset/web",
            lambda found, wanted=wanted: found["status"].get("updatedReplicas") == wanted.count(new),
            PATIENCE_SECONDS,
        )
        with_ready(namespace, 3)
        assert revisions(namespace) == wanted
    assert rolled_out(namespace)["status"]["currentRevision"] == new
    assert images(namespace) == ["httpd:2"] * 3


@pytest.mark.conformance(
    "StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should have a working scale subresource"
)
def test_the_scale_of_a_stateful_set(namespace: Namespace, apps: official.AppsV1Api) -> None:
    namespace.create(stateful(1))
    with_ready(namespace, 1)
    found = apps.read_namespaced_stateful_set_scale("web", namespace.name)
    assert (found.spec.replicas, found.status.replicas) == (1, 1)
    found.spec.replicas = 2
    assert apps.replace_namespaced_stateful_set_scale("web", namespace.name, found).spec.replicas == 2
    with_ready(namespace, 2)
    patched = apps.patch_namespaced_stateful_set_scale("web", namespace.name, {"spec": {"replicas": 4}})
    assert patched.spec.replicas == 4
    with_ready(namespace, 4)
    assert apps.read_namespaced_stateful_set(name="web", namespace=namespace.name).spec.replicas == 4


@pytest.mark.conformance(
    "StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should list, patch and delete a collection of StatefulSets"
)
def test_stateful_sets_are_listed_patched_and_deleted(namespace: Namespace, apps: official.AppsV1Api) -> None:
    namespace.create(stateful(1))
    with_ready(namespace, 1)
    chosen = {"label_selector": "app=web"}
    found = apps.list_stateful_set_for_all_namespaces(**chosen).items
    assert [(each.metadata.namespace, each.metadata.name) for each in found] == [(namespace.name, "web")]
    patch = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 2}}
    patched = apps.patch_namespaced_stateful_set("web", namespace.name, patch)
    assert (patched.metadata.labels["patched"], patched.spec.replicas) == ("yes", 2)
    with_ready(namespace, 2)
    apps.delete_collection_namespaced_stateful_set(namespace.name, label_selector="patched=yes")
    namespace.wait_gone("statefulset/web", PATIENCE_SECONDS)
    namespace.wait_for_all("pods", lambda pods: not pods, PATIENCE_SECONDS)


@pytest.mark.conformance(
    "StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should validate Statefulset Status endpoints"
)
def test_the_status_of_a_stateful_set(namespace: Namespace, apps: official.AppsV1Api) -> None:
    namespace.create(stateful(1))
    with_ready(namespace, 1)
    found = apps.read_namespaced_stateful_set_status("web", namespace.name)
    condition = official.V1StatefulSetCondition(
        type="StatusUpdate", status="True", reason="E2E", message="Set from e2e test"
    )
    found.status.conditions = [condition]
    found.metadata.resource_version = None
    updated = apps.replace_namespaced_stateful_set_status("web", namespace.name, found)
    assert [each.type for each in updated.status.conditions] == ["StatusUpdate"]
    patch = {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}
    patched = namespace.patch("statefulset/web", patch, subresource="status")
    assert [each["type"] for each in patched["status"]["conditions"]] == ["StatusPatched"]
    assert patched["status"]["readyReplicas"] == 1
