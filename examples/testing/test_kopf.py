"""The operator of tenants.py, run inside the test: tenants come, grow and go; conflicts; a watch that is lost; a crashing pod."""

import threading
from collections.abc import Iterator
from pathlib import Path

import kopf
import pytest
from tenants import registry

from tiphys.testing import Cluster, Namespace, StatusError

DEFINITION = Path(__file__).parent / "tenants.crd.yaml"
TENANT = {
    "apiVersion": "example.com/v1",
    "kind": "Tenant",
    "metadata": {"name": "acme"},
    "spec": {"size": 2},
}


@pytest.fixture(autouse=True)
def operator(tiphys: Namespace, tiphys_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    tiphys_cluster.load(DEFINITION)
    monkeypatch.setenv("KUBECONFIG", str(tiphys.kubeconfig))
    ready, stop = threading.Event(), threading.Event()
    settings = kopf.OperatorSettings()
    settings.posting.level = 100
    thread = threading.Thread(
        target=lambda: kopf.run(
            registry=registry,
            settings=settings,
            namespaces=[tiphys.name],
            standalone=True,
            ready_flag=ready,
            stop_flag=stop,
        )
    )
    thread.start()
    assert ready.wait(30)
    yield
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_a_tenant_comes_grows_and_goes(tiphys: Namespace) -> None:
    tiphys.load(TENANT)
    tiphys.wait_for("tenant/acme", "jsonpath={.status.phase}=Ready")
    pods = tiphys.list("pods", selector="tenant=acme")
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"nginx"}  # the definition's default
    tiphys.patch("tenant/acme", {"spec": {"size": 5}})
    tiphys.wait_for("tn/acme", "jsonpath={.status.size}=5")
    assert len(tiphys.list("pods", selector="tenant=acme")) == 5
    tiphys.delete("tenant/acme")
    tiphys.wait_for("cm/acme-was-here", lambda made: True)
    tiphys.wait_gone("tenant/acme")
    tiphys.wait_gone("deployment/acme")
    tiphys.wait_for_all("pods", lambda left: not left, timeout_seconds=60)


def test_a_tenant_that_is_too_large_is_refused(tiphys: Namespace) -> None:
    with pytest.raises(StatusError, match="should be less than or equal to 10"):
        tiphys.load({**TENANT, "spec": {"size": 11}})


def test_it_works_on_in_bad_weather(tiphys: Namespace, tiphys_cluster: Cluster) -> None:
    tiphys.load(TENANT)
    tiphys.wait_for("tenant/acme", "jsonpath={.status.phase}=Ready")
    tiphys_cluster.faults.end_watches("expire")
    with tiphys_cluster.faults.add(verb="patch", resource="tenants", user_agent="kopf/*", code=503, times=1):
        tiphys.patch("tenant/acme", {"spec": {"size": 3}})
        tiphys.wait_for("tenant/acme", "jsonpath={.status.size}=3", timeout_seconds=60)
    asked = tiphys_cluster.requests(namespace=tiphys.name, resource="tenants", user_agent="kopf/*")
    assert {request.verb for request in asked} <= {"list", "watch", "patch"}
    assert any(request.fault for request in asked)
