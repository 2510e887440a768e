"""An application of three parts, which find each other by name: what is written through its front is read back there.

The guestbook of upstream's suite in a few lines of shell: a primary that takes entries and passes them to replicas, which introduce
themselves to it; replicas that are read from; a front that anybody may ask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from e2e_cluster import Cluster, wait_for
from pod_world import BUSYBOX, PATIENCE_SECONDS, Object, PodWorld

pytestmark = pytest.mark.real

PORT = 6379
SERVE = "mkdir -p /www/cgi-bin /data && touch /data/replicas /data/entry && cp /scripts/$ROLE /www/cgi-bin/guestbook && chmod +x /www/cgi-bin/guestbook"
HEAD = r"""#!/bin/sh
printf 'Content-Type: application/json\r\n\r\n'
value=${QUERY_STRING#*value=}
"""
SCRIPTS = {
    "primary": """case $QUERY_STRING in
register*) echo $value >> /data/replicas; cat /data/entry;;
*) echo $value > /data/entry
   for replica in $(sort -u /data/replicas); do wget -qO- http://$replica:PORT/cgi-bin/guestbook?value=$value; done
   echo '{"message": "Updated"}';;
esac""",
    "replica": """case $QUERY_STRING in
get*) cat /data/entry;;
*) echo $value > /data/entry;;
esac""",
    "frontend": """case $QUERY_STRING in
cmd=get*) entry=$(timeout 10 wget -qO- http://agnhost-replica:PORT/cgi-bin/guestbook?get) && echo "{\\"data\\": \\"$entry\\"}";;
cmd=set*) timeout 10 wget -qO- http://agnhost-primary:PORT/cgi-bin/guestbook?value=$value;;
esac""",
}
REGISTER = """
until timeout 10 wget -qO /data/entry "http://agnhost-primary:6379/cgi-bin/guestbook?register&value=$POD_IP"; do usleep 200000; done"""


def deployment(name: str, role: str, replicas: int) -> Object:
    port = 80 if role == "frontend" else PORT
    begin = SERVE + (REGISTER if role == "replica" else "")
    container = {
        "name": role,
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", f"{begin}\nexec httpd -f -p {port} -h /www"],
        "ports": [{"containerPort": port}],
        "env": [
            {"name": "ROLE", "value": role},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "volumeMounts": [{"name": "scripts", "mountPath": "/scripts"}],
    }
    labels = {"app": "guestbook", "tier": role}
    spec = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "scripts", "configMap": {"name": "scripts"}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(name: str, role: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": "guestbook"}},
        "spec": {
            "ports": [{"port": 80 if role == "frontend" else PORT}],
            "selector": {"app": "guestbook", "tier": role},
        },
    }


SCRIPTS_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "scripts"},
    "data": {role: HEAD + script.replace("PORT", str(PORT)) for role, script in SCRIPTS.items()},
}
APPLICATION = [
    service("agnhost-replica", "replica"),
    service("agnhost-primary", "primary"),
    service("frontend", "frontend"),
    deployment("frontend", "frontend", 3),
    deployment("agnhost-primary", "primary", 1),
    deployment("agnhost-replica", "replica", 2),
]


@pytest.fixture
def world(cluster: Cluster) -> Iterator[PodWorld]:
    for world in PodWorld.beside_others(cluster, "guestbook"):
        world.create(SCRIPTS_MAP)
        yield world


def ask(world: PodWorld, command: str) -> Any:
    """Through the API server, as upstream's suite does; None while nobody answers."""
    path = f"/api/v1/namespaces/{world.namespace}/services/frontend/proxy/cgi-bin/guestbook?{command}"
    done = world.kubectl("get", "--raw", path, check=False)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return None


@pytest.mark.conformance("Kubectl client Guestbook application should create and stop a working application")
def test_a_working_application(world: PodWorld) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": APPLICATION})
    world.kubectl("create", "-f", "-", input=text)
    for name in ("frontend", "agnhost-primary", "agnhost-replica"):
        world.kubectl("rollout", "status", f"deployment/{name}", "--timeout=300s", timeout=320)
    wait_for(lambda: ask(world, "cmd=get") == {"data": ""}, "an empty book", seconds=PATIENCE_SECONDS)
    assert ask(world, "cmd=set&value=TestEntry") == {"message": "Updated"}
    wait_for(lambda: ask(world, "cmd=get") == {"data": "TestEntry"}, "the entry", seconds=PATIENCE_SECONDS)
    assert [ask(world, "cmd=get") for _ in range(6)] == [{"data": "TestEntry"}] * 6, "in every replica"
    world.kubectl("delete", "--grace-period=0", "--force", "-f", "-", input=text)
    wait_for(lambda: left(world) == [], "nothing is left", seconds=PATIENCE_SECONDS)
    assert ask(world, "cmd=get") is None


def left(world: PodWorld) -> list[str]:
    kinds = "pods,replicasets,deployments,services,endpoints,endpointslices"
    found = world.cluster.get(kinds, "-n", world.namespace)["items"]
    return [f"{each['kind']} {each['metadata']['name']}" for each in found]
