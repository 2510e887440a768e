"""DaemonSets and the revisions that they leave, on a simulated cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import config

from tiphys.testing import Cluster, Namespace

Object = dict[str, Any]
PATIENCE_SECONDS = 300
"""Of the cluster's time, which passes at once."""
LABELS = {"daemonset-name": "agent"}
COLOR = "daemonset-color"


def daemon(**pod_spec: Any) -> Object:
    template = {
        "metadata": {"labels": LABELS},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "app", "image": "httpd:1"}],
            **pod_spec,
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "labels": LABELS},
        "spec": {"selector": {"matchLabels": LABELS}, "template": template},
    }


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[official.ApiClient]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as found:
        yield found


@pytest.fixture
def apps(api: official.ApiClient) -> official.AppsV1Api:
    return official.AppsV1Api(api)


def on_nodes(namespace: Namespace, *names: str) -> list[Object]:
    """Waits until a pod is ready on each of these nodes and on no other, and none is on its way out."""

    def test(pods: list[Object]) -> bool:
        return sorted(pod["spec"].get("nodeName", "") for pod in pods) == sorted(names) and all(
            is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in pods
        )

    return namespace.wait_for_all("pods", test, PATIENCE_SECONDS)


def is_ready(pod: Object) -> bool:
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ())
    )


def set_image(namespace: Namespace, image: str) -> None:
    strategic = "application/strategic-merge-patch+json"
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
    namespace.patch("daemonset/agent", patch, content_type=strategic)


def rolled_out(namespace: Namespace) -> Object:
    def test(found: Object) -> bool:
        status = found["status"]
        return bool(
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedNumberScheduled")
            == status.get("numberAvailable")
            == status["desiredNumberScheduled"]
        )

    return namespace.wait_for("daemonset/agent", test, PATIENCE_SECONDS)


def images(namespace: Namespace) -> Counter[str]:
    return Counter(pod["spec"]["containers"][0]["image"] for pod in namespace.list("pods"))


@pytest.mark.conformance("Daemon set [Serial] should run and stop simple daemon")
def test_every_node_has_its_pod(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(daemon())
    pods = on_nodes(namespace, *cluster.nodes.names)
    namespace.delete(f"pod/{pods[0]['metadata']['name']}")
    namespace.wait_gone(f"pod/{pods[0]['metadata']['name']}", PATIENCE_SECONDS)
    on_nodes(namespace, *cluster.nodes.names)
    assert rolled_out(namespace)["status"]["numberReady"] == len(cluster.nodes.names)
    namespace.delete("daemonset/agent")
    namespace.wait_for_all("pods", lambda found: not found, PATIENCE_SECONDS)


@pytest.mark.conformance("Daemon set [Serial] should run and stop complex daemon")
def test_labels_of_nodes_bring_and_take_pods(
    cluster: Cluster, namespace: Namespace, api: official.ApiClient
) -> None:
    node = cluster.nodes.names[0]

    def paint(color: str | None) -> None:
        official.CoreV1Api(api).patch_node(node, {"metadata": {"labels": {COLOR: color}}})

    namespace.create(daemon(nodeSelector={COLOR: "blue"}))
    try:
        namespace.wait_for("daemonset/agent", lambda found: found["status"].get("observedGeneration") == 1)
        assert on_nodes(namespace) == []
        paint("blue")
        on_nodes(namespace, node)
        paint("green")
        on_nodes(namespace)
        chosen = {"spec": {"template": {"spec": {"nodeSelector": {COLOR: "green"}}}}}
        namespace.patch("daemonset/agent", chosen)
        on_nodes(namespace, node)
    finally:
        paint(None)


@pytest.mark.conformance("Daemon set [Serial] should retry creating failed daemon pods")
def test_a_failed_pod_is_made_anew(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(daemon())
    (failed, *_) = on_nodes(namespace, *cluster.nodes.names)
    # Its node would say that it runs: so it is off while the pod is made a failed one.
    node, name = failed["spec"]["nodeName"], failed["metadata"]["name"]
    cluster.nodes.power_off(node)
    try:
        namespace.patch(f"pod/{name}", {"status": {"phase": "Failed"}}, subresource="status")
        namespace.wait_gone(f"pod/{name}", PATIENCE_SECONDS)
    finally:
        cluster.nodes.power_on(node)
    on_nodes(namespace, *cluster.nodes.names)
    (told,) = (line for line in namespace.events("daemonset/agent") if "FailedDaemonPod" in line)
    assert told == (
        f"Warning FailedDaemonPod: Found failed daemon pod {namespace}/{name} on node {node}, will try to kill it"
    )


@pytest.mark.conformance(
    "Daemon set [Serial] should update pod when spec was updated and update strategy is RollingUpdate"
)
def test_a_new_template_replaces_pods_and_is_a_revision(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(daemon())
    before = on_nodes(namespace, *cluster.nodes.names)
    (first,) = namespace.list("controllerrevisions")
    hash_before = first["metadata"]["labels"]["controller-revision-hash"]
    assert {pod["metadata"]["labels"]["controller-revision-hash"] for pod in before} == {hash_before}
    set_image(namespace, "httpd:2")
    rolled_out(namespace)
    after = on_nodes(namespace, *cluster.nodes.names)
    assert images(namespace) == {"httpd:2": len(cluster.nodes.names)}
    (second,) = (each for each in namespace.list("controllerrevisions") if each["revision"] == 2)
    hash_after = second["metadata"]["labels"]["controller-revision-hash"]
    assert hash_after != hash_before
    assert {pod["metadata"]["labels"]["controller-revision-hash"] for pod in after} == {hash_after}


@pytest.mark.conformance("Daemon set [Serial] should rollback without unnecessary restarts")
def test_going_back_early_leaves_alone_what_was_not_replaced(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(daemon())
    before = {pod["metadata"]["uid"] for pod in on_nodes(namespace, *cluster.nodes.names)}
    with cluster.pods.behave(image="missing:*", pull_error="not found"):
        set_image(namespace, "missing:1")
        namespace.wait_for_all(
            "pods",
            lambda pods: any(pod["spec"]["containers"][0]["image"] == "missing:1" for pod in pods),
            PATIENCE_SECONDS,
        )
        kept = before & {
            pod["metadata"]["uid"]
            for pod in namespace.list("pods")
            if "deletionTimestamp" not in pod["metadata"]
        }
        assert len(kept) == len(before) - 1
        set_image(namespace, "httpd:1")
        rolled_out(namespace)
        after = {pod["metadata"]["uid"] for pod in on_nodes(namespace, *cluster.nodes.names)}
    assert images(namespace) == {"httpd:1": len(before)}
    assert kept <= after


@pytest.mark.conformance("Daemon set [Serial] should list and delete a collection of DaemonSets")
def test_daemon_sets_are_listed_and_deleted(
    cluster: Cluster, namespace: Namespace, apps: official.AppsV1Api
) -> None:
    namespace.create(daemon())
    on_nodes(namespace, *cluster.nodes.names)
    found = apps.list_daemon_set_for_all_namespaces(label_selector="daemonset-name=agent").items
    assert [(each.metadata.namespace, each.metadata.name) for each in found] == [(namespace.name, "agent")]
    apps.delete_collection_namespaced_daemon_set(namespace.name, label_selector="daemonset-name=agent")
    namespace.wait_gone("daemonset/agent", PATIENCE_SECONDS)


@pytest.mark.conformance("Daemon set [Serial] should verify changes to a daemon set status")
def test_the_status_of_a_daemon_set(cluster: Cluster, namespace: Namespace, apps: official.AppsV1Api) -> None:
    namespace.create(daemon())
    rolled_out(namespace)
    found = apps.read_namespaced_daemon_set_status("agent", namespace.name)
    condition = official.V1DaemonSetCondition(
        type="StatusUpdate", status="True", reason="E2E", message="Set from e2e test"
    )
    found.status.conditions = [condition]
    found.metadata.resource_version = None
    updated = apps.replace_namespaced_daemon_set_status("agent", namespace.name, found)
    assert [each.type for each in updated.status.conditions] == ["StatusUpdate"]
    patch = {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}
    patched = namespace.patch("daemonset/agent", patch, subresource="status")
    assert [each["type"] for each in patched["status"]["conditions"]] == ["StatusPatched"]


@pytest.mark.conformance("ControllerRevision [Serial] should manage the lifecycle of a ControllerRevision")
def test_revisions_live(cluster: Cluster, namespace: Namespace, apps: official.AppsV1Api) -> None:
    namespace.create(daemon())
    on_nodes(namespace, *cluster.nodes.names)
    (initial,) = namespace.list("controllerrevisions", selector="daemonset-name=agent")
    name = initial["metadata"]["name"]
    patched = namespace.patch(f"controllerrevision/{name}", {"metadata": {"labels": {name: "patched"}}})
    assert patched["metadata"]["labels"][name] == "patched"
    # Another one of the same template, by hand.
    second = {
        **initial,
        "metadata": {
            "name": "agent-by-hand",
            "labels": initial["metadata"]["labels"],
            "ownerReferences": initial["metadata"]["ownerReferences"],
        },
        "revision": initial["revision"] + 1,
    }
    namespace.create(second)
    assert len(namespace.list("controllerrevisions", selector="daemonset-name=agent")) == 2
    namespace.delete(f"controllerrevision/{name}")
    cluster.clock.rest()
    (left,) = namespace.list("controllerrevisions", selector="daemonset-name=agent")
    found = apps.read_namespaced_controller_revision(left["metadata"]["name"], namespace.name)
    found.metadata.labels = {**found.metadata.labels, "agent-by-hand": "updated"}
    apps.replace_namespaced_controller_revision("agent-by-hand", namespace.name, found)
    change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 2}}}}
    namespace.patch("daemonset/agent", change)
    namespace.wait_for_all("controllerrevisions", lambda several: len(several) == 2, PATIENCE_SECONDS)
    apps.delete_collection_namespaced_controller_revision(
        namespace.name, label_selector="agent-by-hand=updated"
    )
    rolled_out(namespace)
    (last,) = namespace.list("controllerrevisions", selector="daemonset-name=agent")
    assert last["revision"] == 3
