"""A script on kr8s: takes every Deployment of a namespace down to nothing for the night, and up again in the morning."""

from pathlib import Path

import kr8s
import pytest
from kr8s.objects import Deployment, Pod

from tiphys.testing import Namespace

REPLICAS = "example.com/replicas"


def sleep(api: kr8s.Api, namespace: str) -> None:
    for deployment in api.get("deployments", namespace=namespace):
        deployment.annotate({REPLICAS: str(deployment.replicas)})
        deployment.scale(0)


def wake(api: kr8s.Api, namespace: str) -> None:
    for deployment in api.get("deployments", namespace=namespace):
        deployment.scale(int(deployment.annotations[REPLICAS]))


@pytest.fixture
def api(tiphys: Namespace) -> kr8s.Api:
    return kr8s.api(kubeconfig=str(tiphys.kubeconfig))


def _deployment(api: kr8s.Api, namespace: str) -> Deployment:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}
    return Deployment(
        {
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
        },
        api=api,
    )


def test_deployments_sleep_and_wake(api: kr8s.Api, tiphys: Namespace) -> None:
    _deployment(api, tiphys.name).create()
    tiphys.wait_for("deployment/web", "Available")
    sleep(api, tiphys.name)
    tiphys.wait_for_all("pods", lambda pods: not pods)
    wake(api, tiphys.name)
    pods = tiphys.wait_for_all(
        "pods", lambda pods: len(pods) == 2 and all(pod["status"]["phase"] == "Running" for pod in pods)
    )
    assert {pod["metadata"]["labels"]["app"] for pod in pods} == {"web"}


def test_objects_know_their_state(api: kr8s.Api, tiphys: Namespace) -> None:
    deployment = _deployment(api, tiphys.name)
    deployment.create()
    deployment.wait("condition=Available", timeout=30)
    assert deployment.ready()
    pods = deployment.pods()
    assert len(pods) == 2
    assert all(isinstance(pod, Pod) for pod in pods)
    pods[0].wait("condition=Ready", timeout=30)
    deployment.delete(propagation_policy="Foreground")
    deployment.wait("delete", timeout=30)
    assert api.version()["major"] == "1"


def test_custom_resources_are_found_by_discovery(api: kr8s.Api, tiphys: Namespace) -> None:
    tiphys.load(Path(__file__).parent / "tenants.crd.yaml")
    tenant = kr8s.objects.new_class(kind="Tenant", version="example.com/v1", namespaced=True)
    made = tenant({"metadata": {"name": "acme", "namespace": tiphys.name}, "spec": {"size": 2}}, api=api)
    made.create()
    made.patch({"spec": {"size": 3}})
    (found,) = api.get("tenants.example.com", namespace=tiphys.name)
    assert (found.name, found.spec.size, found.spec.image) == ("acme", 3, "nginx")
