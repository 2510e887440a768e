"""PodDisruptionBudgets: made, counted, and what they hold back, on a simulated cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import config
from kubernetes.client.exceptions import ApiException

from tiphys.testing import Cluster, Namespace

Object = dict[str, Any]
PATIENCE_SECONDS = 300
"""Of the cluster's time, which passes at once."""
LABELS = {"foo": "bar"}


def budget(name: str = "foo", **spec: Any) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {"selector": {"matchLabels": LABELS}, "minAvailable": "1%", **spec},
    }


def run_pods(namespace: Namespace, count: int) -> None:
    spec = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "pause"}]}
    for number in range(count):
        metadata = {"name": f"pod-{number}", "labels": LABELS}
        namespace.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    for number in range(count):
        namespace.wait_for(f"pod/pod-{number}", "Ready", PATIENCE_SECONDS)


def is_seen(found: Object) -> bool:
    status = found.get("status") or {}
    return bool(status.get("observedGeneration") == found["metadata"]["generation"])


def allows(namespace: Namespace, count: int) -> Object:
    return namespace.wait_for(
        "poddisruptionbudget/foo",
        lambda found: is_seen(found) and found["status"]["disruptionsAllowed"] == count,
        PATIENCE_SECONDS,
    )


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[official.ApiClient]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as found:
        yield found


@pytest.fixture
def policy(api: official.ApiClient) -> official.PolicyV1Api:
    return official.PolicyV1Api(api)


@pytest.mark.conformance("DisruptionController should create a PodDisruptionBudget")
def test_a_budget_lives(cluster: Cluster, namespace: Namespace, policy: official.PolicyV1Api) -> None:
    namespace.create(budget())
    namespace.wait_for("poddisruptionbudget/foo", is_seen, PATIENCE_SECONDS)
    cluster.clock.rest()
    found = policy.read_namespaced_pod_disruption_budget("foo", namespace.name)
    found.spec.min_available = "2%"
    replaced = policy.replace_namespaced_pod_disruption_budget("foo", namespace.name, found)
    assert replaced.spec.min_available == "2%"
    patched = namespace.patch("poddisruptionbudget/foo", {"spec": {"minAvailable": "3%"}})
    assert patched["spec"]["minAvailable"] == "3%"
    namespace.wait_for("poddisruptionbudget/foo", is_seen, PATIENCE_SECONDS)
    assert namespace.delete("poddisruptionbudget/foo")
    namespace.wait_gone("poddisruptionbudget/foo", PATIENCE_SECONDS)


@pytest.mark.conformance(
    "DisruptionController Listing PodDisruptionBudgets for all namespaces should list and delete a collection of PodDisruptionBudgets"
)
def test_budgets_of_all_namespaces(
    cluster: Cluster, namespace: Namespace, policy: official.PolicyV1Api
) -> None:
    for name in ("foo", "foo2"):
        namespace.create(budget(name))
    with cluster.namespace() as other:
        other.create(budget("foo3"))
        found = policy.list_pod_disruption_budget_for_all_namespaces(label_selector="foo=bar").items
        assert sorted(each.metadata.name for each in found) == ["foo", "foo2", "foo3"]
        policy.delete_collection_namespaced_pod_disruption_budget(namespace.name, label_selector="foo=bar")
        namespace.wait_for_all("poddisruptionbudgets", lambda left: not left, PATIENCE_SECONDS)
        assert len(other.list("poddisruptionbudgets")) == 1


@pytest.mark.conformance("DisruptionController should observe PodDisruptionBudget status updated")
def test_a_budget_counts(namespace: Namespace) -> None:
    namespace.create(budget(minAvailable=1))
    run_pods(namespace, 3)
    status = allows(namespace, 2)["status"]
    assert (status["currentHealthy"], status["desiredHealthy"], status["expectedPods"]) == (3, 1, 3)


@pytest.mark.conformance("DisruptionController should update/patch PodDisruptionBudget status")
def test_the_status_of_a_budget(cluster: Cluster, namespace: Namespace, policy: official.PolicyV1Api) -> None:
    run_pods(namespace, 1)
    namespace.create(budget(minAvailable=1))
    allows(namespace, 0)
    # Nobody is to count between what is written and what is read.
    cluster.controllers.stop("disruption-controller")
    try:
        disrupted = {"status": {"disruptedPods": {"pod-0": "2026-01-01T00:00:00Z"}}}
        patched = namespace.patch("poddisruptionbudget/foo", disrupted, subresource="status")
        assert list(patched["status"]["disruptedPods"]) == ["pod-0"]
        found = policy.read_namespaced_pod_disruption_budget_status("foo", namespace.name)
        found.status.disrupted_pods = None
        replaced = policy.replace_namespaced_pod_disruption_budget_status("foo", namespace.name, found)
        assert not replaced.status.disrupted_pods
        assert replaced.spec.min_available == 1
    finally:
        cluster.controllers.start("disruption-controller")


@pytest.mark.conformance("DisruptionController should block an eviction until the PDB is updated to allow it")
def test_an_eviction_waits_for_the_budget(namespace: Namespace, api: official.ApiClient) -> None:
    core = official.CoreV1Api(api)
    run_pods(namespace, 3)
    namespace.create(budget(minAvailable=3))
    allows(namespace, 0)
    eviction = eviction_of("pod-0", namespace)
    with pytest.raises(ApiException) as refused:
        core.create_namespaced_pod_eviction("pod-0", namespace.name, eviction)
    assert refused.value.status == 429
    assert namespace.get("pod/pod-0") is not None
    namespace.patch("poddisruptionbudget/foo", {"spec": {"minAvailable": 2}})
    allows(namespace, 1)
    core.create_namespaced_pod_eviction("pod-0", namespace.name, eviction)
    namespace.wait_gone("pod/pod-0", PATIENCE_SECONDS)
    # One more must be there before another may go.
    allows(namespace, 0)
    with pytest.raises(ApiException) as again:
        core.create_namespaced_pod_eviction("pod-1", namespace.name, eviction_of("pod-1", namespace))
    assert again.value.status == 429


def eviction_of(pod: str, namespace: Namespace) -> official.V1Eviction:
    return official.V1Eviction(metadata=official.V1ObjectMeta(name=pod, namespace=namespace.name))
