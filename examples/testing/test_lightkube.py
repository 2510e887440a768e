"""lightkube: typed objects, server-side apply by two owners, and a status that is waited for."""

from pathlib import Path

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType

from tiphys.testing import Namespace


@pytest.fixture
def client(tiphys: Namespace) -> Client:
    return Client(KubeConfig.from_file(tiphys.kubeconfig), namespace=tiphys.name, field_manager="example")


def test_a_deployment_is_applied_and_waited_for(client: Client, tiphys: Namespace) -> None:
    labels = {"app": "web"}
    wanted = Deployment(
        metadata=ObjectMeta(name="web", namespace=tiphys.name),
        spec=DeploymentSpec(
            replicas=2,
            selector=LabelSelector(matchLabels=labels),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels=labels),
                spec=PodSpec(containers=[Container(name="web", image="nginx")]),
            ),
        ),
    )
    client.apply(wanted)
    tiphys.wait_for("deployment/web", "Available")
    assert len(list(client.list(Pod, labels=labels))) == 2
    assert wanted.spec is not None
    wanted.spec.replicas = 1
    client.apply(wanted)
    tiphys.wait_for_all("pods", lambda pods: len(pods) == 1)


def test_two_owners_of_one_field_conflict(client: Client, tiphys: Namespace) -> None:
    config = ConfigMap(metadata=ObjectMeta(name="c", namespace=tiphys.name), data={"a": "1"})
    client.apply(config)
    config.data = {"a": "2"}
    with pytest.raises(ApiError) as caught:
        client.apply(config, field_manager="another")
    assert caught.value.status.code == 409
    client.apply(config, field_manager="another", force=True)
    found = client.get(ConfigMap, "c")
    assert found.data == {"a": "2"}
    managers = {entry.manager: entry.operation for entry in found.metadata.managedFields}
    assert managers["another"] == "Apply"


def test_a_watch_sees_changes_in_order(client: Client, tiphys: Namespace) -> None:
    client.create(ConfigMap(metadata=ObjectMeta(name="c"), data={"n": "0"}))
    seen = []
    for operation, found in client.watch(ConfigMap, fields={"metadata.name": "c"}):
        seen.append((operation, found.data["n"]))
        if len(seen) == 4:
            break
        client.patch(ConfigMap, "c", {"data": {"n": str(len(seen))}})
    assert seen == [("ADDED", "0"), ("MODIFIED", "1"), ("MODIFIED", "2"), ("MODIFIED", "3")]


def test_custom_resources_are_objects_like_others(client: Client, tiphys: Namespace) -> None:
    tiphys.load(Path(__file__).parent / "tenants.crd.yaml")
    tenant = create_namespaced_resource("example.com", "v1", "Tenant", "tenants")
    made = client.create(tenant(metadata=ObjectMeta(name="acme"), spec={"size": 2}))
    assert made["spec"]["image"] == "nginx"
    with pytest.raises(ApiError, match="Invalid value"):
        client.create(tenant(metadata=ObjectMeta(name="huge"), spec={"size": 200}))
    client.patch(tenant.Status, "acme", {"status": {"phase": "Ready"}}, patch_type=PatchType.MERGE)
    tiphys.wait_for("tn/acme", "jsonpath={.status.phase}=Ready")
    assert [found.metadata.name for found in client.list(tenant)] == ["acme"]
