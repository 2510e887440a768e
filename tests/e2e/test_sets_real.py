"""Containers of sets: stateful ones, found by names that stay, a daemon that asks them, and replicas that each answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2e_cluster import Cluster, wait_for
from pod_world import BUSYBOX, PATIENCE_SECONDS, Object, PodWorld

pytestmark = pytest.mark.real

SERVE = "mkdir /www; echo $HOSTNAME > /www/index.html; exec httpd -f -p 80 -h /www"
ASK = """
for name in web-0 web-1; do until timeout 5 wget -qO /tmp/$name http://$name.all 2> /tmp/errors; do sleep 0.2; done; done
cat /tmp/web-0 /tmp/web-1
touch /tmp/done
exec sleep 1000000"""


def template(app: str, script: str, probe: Object) -> Object:
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "readinessProbe": {"periodSeconds": 1, **probe},
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    return {"metadata": {"labels": {"app": app}}, "spec": spec}


def workload(kind: str, name: str, template: Object, **spec: Any) -> Object:
    selector = {"matchLabels": template["metadata"]["labels"]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": selector, "template": template, **spec},
    }


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "all"},
    "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]},
}
WEB = workload(
    "StatefulSet", "web", template("web", SERVE, {"tcpSocket": {"port": 80}}), replicas=2, serviceName="all"
)
AGENT = workload(
    "DaemonSet", "agent", template("agent", ASK, {"exec": {"command": ["test", "-e", "/tmp/done"]}})
)


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[PodWorld]:
    yield from PodWorld.beside_others(cluster, "sets")


def heard(world: PodWorld, agent: Object) -> list[str]:
    return world.until_log(agent["metadata"]["name"], "main", "web-1").split()


def test_stateful_pods_keep_their_names_and_a_daemon_finds_them(world: PodWorld) -> None:
    world.create(SERVICE, WEB, AGENT)
    for name in ("statefulset/web", "daemonset/agent"):
        world.kubectl("rollout", "status", name, f"--timeout={PATIENCE_SECONDS:.0f}s", timeout=320)
    (agent,) = world.cluster.get("pods", "-l", "app=agent", "-n", world.namespace)["items"]
    assert heard(world, agent) == ["web-0", "web-1"]
    # Another pod of the same name comes instead of one that is deleted, and is found by it.
    uid = world.pod("web-0")["metadata"]["uid"]
    world.kubectl("delete", "pod", "web-0")

    def is_new() -> bool:
        found = world.kubectl("get", "pod", "web-0", "-o", "jsonpath={.metadata.uid}", check=False)
        return found.returncode == 0 and found.stdout != uid

    wait_for(is_new, "another web-0", seconds=PATIENCE_SECONDS)
    world.kubectl("rollout", "status", "statefulset/web", "--timeout=300s", timeout=320)
    world.kubectl("rollout", "restart", "daemonset/agent")
    world.kubectl("rollout", "status", "daemonset/agent", "--timeout=300s", timeout=320)
    (again,) = world.cluster.get("pods", "-l", "app=agent", "-n", world.namespace)["items"]
    assert again["metadata"]["uid"] != agent["metadata"]["uid"]
    assert heard(world, again) == ["web-0", "web-1"]


@pytest.mark.conformance("ReplicaSet should serve a basic image on each replica with a public image")
@pytest.mark.conformance(
    "ReplicationController should serve a basic image on each replica with a public image"
)
def test_each_replica_answers(world: PodWorld) -> None:
    made = [
        workload(kind, name, template(name, SERVE, {"tcpSocket": {"port": 80}}), replicas=2)
        for kind, name in (("ReplicaSet", "rs"), ("ReplicationController", "rc"))
    ]
    made[1] |= {"apiVersion": "v1", "spec": {**made[1]["spec"], "selector": {"app": "rc"}}}
    world.create(*made)
    for kind, name in (("replicaset", "rs"), ("replicationcontroller", "rc")):
        world.kubectl(
            "wait", kind, name, "--for=jsonpath={.status.readyReplicas}=2", "--timeout=300s", timeout=320
        )
    pods = world.cluster.get("pods", "-l", "app in (rs,rc)", "-n", world.namespace)["items"]
    assert len(pods) == 4
    for pod in pods:
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{world.namespace}/pods/{name}/proxy/"
        assert world.kubectl("get", "--raw", path).stdout.strip() == name
