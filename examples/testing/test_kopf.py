"""The operator of reports.py, run inside the test: created, updated, deleted objects; conflicts; a watch that is lost."""

import threading
from collections.abc import Iterator

import kopf
import pytest
from reports import ANNOTATION, registry

from tiphys.testing import Cluster, Namespace

WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "annotations": {ANNOTATION: "yes"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        },
    },
}


@pytest.fixture(autouse=True)
def operator(tiphys: Namespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KUBECONFIG", str(tiphys.kubeconfig))
    ready, stop = threading.Event(), threading.Event()
    settings = kopf.OperatorSettings()
    settings.posting.level = 100
    settings.process.ultimate_exiting_timeout = 10
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


def test_a_report_follows_its_deployment(tiphys: Namespace) -> None:
    tiphys.load(WEB)
    made = tiphys.wait_for("cm/web-report", "jsonpath={.data.replicas}=2")
    assert made["metadata"]["ownerReferences"][0]["name"] == "web"
    tiphys.patch("deployment/web", {"spec": {"replicas": 5}})
    tiphys.wait_for("cm/web-report", "jsonpath={.data.replicas}=5")
    tiphys.delete("deployment/web")
    tiphys.wait_for("cm/web-was-here", lambda made: True)
    tiphys.wait_gone("deployment/web")
    tiphys.wait_gone("cm/web-report")


def test_it_works_on_in_bad_weather(tiphys: Namespace, tiphys_cluster: Cluster) -> None:
    tiphys.load(WEB)
    tiphys.wait_for("cm/web-report", "jsonpath={.data.replicas}=2")
    tiphys_cluster.faults.end_watches("expire")
    with tiphys_cluster.faults.add(
        verb="patch", resource="deployments", user_agent="kopf/*", code=503, times=1
    ):
        tiphys.patch("deployment/web", {"spec": {"replicas": 5}})
        tiphys.wait_for("cm/web-report", "jsonpath={.data.replicas}=5")
    asked = tiphys_cluster.requests(namespace=tiphys.name, resource="deployments", user_agent="kopf/*")
    assert {request.verb for request in asked} <= {"list", "watch", "patch"}
