"""Probes of real containers, as the conformance suite has them (`[sig-node] Probing container`), and what people see of them.

All pods are made at once and live side by side; each test waits for what it is about.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from e2e_cluster import Cluster, wait_for

pytestmark = pytest.mark.real

PATIENCE_SECONDS = 240
STAYS_SECONDS = 15
"""A pod that stays has been asked so long, every second."""
DELAY_SECONDS = 6
WEB = "mkdir -p /www; echo ok > /www/healthz; httpd -p 8080 -h /www; "
HEALTH = "echo ok > /tmp/health; "
HTTP = {"httpGet": {"path": "/healthz", "port": 8080}}
EXEC = {"exec": {"command": ["cat", "/tmp/health"]}}
GRPC_SERVER = """
import grpc, concurrent.futures
class Health(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(lambda request, context: bytes([8, 1]))
server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Health()])
server.add_insecure_port("0.0.0.0:5000")
server.start()
server.wait_for_termination()
"""
"""Run by the host's Python, whose files the pod sees: there is none in its image."""


ASKED = "until test -e /tmp/asked; do usleep 100000; done; sleep 3; "
WHO_IS_ASKED = {"exec": {"command": ["sh", "-c", "touch /tmp/asked; exec cat /tmp/health"]}}
"""Answers well a while after it was asked for the first time, however late that was."""


def probe(handler: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**handler, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 10, **fields}


def alive(handler: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Asked from when it has answered once: on a busy machine a container takes its time to come so far."""
    startup = probe(handler, failureThreshold=PATIENCE_SECONDS)
    return {"startupProbe": startup, "livenessProbe": probe(handler, **fields)}


def pod(name: str, script: str, **container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": "busybox",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", script],
                    **container,
                }
            ],
        },
    }


def grpc_pod(name: str, port: int) -> dict[str, Any]:
    handler = {"grpc": {"port": port}}
    lives = alive(handler, failureThreshold=10) if port == 5000 else {"livenessProbe": probe(handler)}
    found = pod(name, "", **lives)
    found["spec"]["volumes"] = [{"name": "host", "hostPath": {"path": "/"}}]
    container = found["spec"]["containers"][0]
    container["volumeMounts"] = [{"name": "host", "mountPath": "/host", "readOnly": True}]
    container["command"] = ["chroot", "/host", sys.executable, "-c", GRPC_SERVER]
    return found


PODS = [
    pod("http-stays", f"{WEB} sleep 600", **alive(HTTP, failureThreshold=5)),
    pod("exec-stays", f"{HEALTH} sleep 600", **alive(EXEC)),
    pod("tcp-stays", f"{WEB} rm /www/healthz; sleep 600", **alive({"tcpSocket": {"port": 8080}}, failureThreshold=5)),
    grpc_pod("grpc-stays", 5000),
    pod("http-restarts", f"{WEB} sleep 3; rm /www/healthz; sleep 600", livenessProbe=probe(HTTP, initialDelaySeconds=1)),
    pod("exec-restarts", f"{HEALTH} sleep 3; rm /tmp/health; sleep 600", livenessProbe=probe(EXEC)),
    grpc_pod("grpc-restarts", 2333),
    pod("ready-later", f"{WEB} sleep 600", readinessProbe=probe(HTTP, initialDelaySeconds=DELAY_SECONDS)),
    pod("never-ready", "sleep 600", readinessProbe=probe({"exec": {"command": ["false"]}})),
    pod("started-later", f"{ASKED} {HEALTH} sleep 600", startupProbe=probe(WHO_IS_ASKED, failureThreshold=PATIENCE_SECONDS), readinessProbe=probe({"exec": {"command": ["true"]}})),
]  # fmt: skip


@pytest.fixture(scope="module")
def probed(cluster: Cluster) -> Iterator[str]:
    """The namespace of all pods."""
    cluster.kubectl("create", "namespace", "probed")
    items = {"apiVersion": "v1", "kind": "List", "items": PODS}
    wait_for(
        lambda: cluster.kubectl("get", "sa", "default", "-n", "probed", check=False).returncode == 0,
        "the account",
    )
    cluster.kubectl("create", "-n", "probed", "-f", "-", input=orjson.dumps(items).decode())
    yield "probed"
    cluster.kubectl("delete", "namespace", "probed", "--wait=false")


class Pods:
    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._at = ("-n", namespace)

    def get(self, name: str) -> Any:
        return self._cluster.get("pod", name, *self._at)

    def container(self, name: str) -> Any:
        return (self.get(name)["status"].get("containerStatuses") or [{"restartCount": 0, "state": {}}])[0]

    def events(self, name: str, reason: str) -> list[str]:
        selector = f"involvedObject.name={name},reason={reason}"
        found = self._cluster.get("events", *self._at, "--field-selector", selector)["items"]
        return [event["message"] for event in found]

    def until_told(self, name: str, reason: str, message: str) -> None:
        """The beginning of a message."""
        wait_for(
            lambda: any(told.startswith(message) for told in self.events(name, reason)),
            f"{name} {reason}: {message}",
            seconds=PATIENCE_SECONDS,
        )

    def until_restarted(self, name: str) -> None:
        wait_for(
            lambda: self.container(name)["restartCount"] >= 1, f"{name} restarts", seconds=PATIENCE_SECONDS
        )

    def stays(self, name: str) -> None:
        """It has run for a while, and never anew."""

        def has_run_long() -> bool:
            running = self.container(name)["state"].get("running")
            if not running:
                return False
            started_at = datetime.fromisoformat(running["startedAt"])
            return datetime.now(started_at.tzinfo) - started_at > timedelta(seconds=STAYS_SECONDS)

        wait_for(has_run_long, f"{name} has run for long", seconds=PATIENCE_SECONDS)
        assert self.container(name)["restartCount"] == 0


@pytest.fixture
def pods(cluster: Cluster, probed: str) -> Pods:
    return Pods(cluster, probed)


@pytest.mark.conformance(
    "Probing container with readiness probe should not be ready before initial delay and never restart [NodeConformance]"
)
def test_ready_after_the_initial_delay(pods: Pods) -> None:
    wait_for(lambda: pods.container("ready-later").get("ready"), "it is ready", seconds=PATIENCE_SECONDS)
    found = pods.get("ready-later")
    [ready_at] = [
        condition["lastTransitionTime"]
        for condition in found["status"]["conditions"]
        if condition["type"] == "Ready"
    ]
    [status] = found["status"]["containerStatuses"]
    waited = datetime.fromisoformat(ready_at) - datetime.fromisoformat(
        status["state"]["running"]["startedAt"]
    )
    # Both are told in whole seconds.
    assert waited >= timedelta(seconds=DELAY_SECONDS - 1)
    assert status["restartCount"] == 0


def test_nothing_is_ready_before_startup_is_over(pods: Pods) -> None:
    wait_for(lambda: pods.container("started-later").get("ready"), "it is ready", seconds=PATIENCE_SECONDS)
    pods.until_told("started-later", "Unhealthy", "Startup probe failed: cat: can't open '/tmp/health'")
    assert pods.container("started-later")["restartCount"] == 0


@pytest.mark.conformance(
    'Probing container should be restarted with a exec "cat /tmp/health" liveness probe [NodeConformance]'
)
def test_a_failing_command_restarts(pods: Pods) -> None:
    pods.until_restarted("exec-restarts")
    pods.until_told("exec-restarts", "Unhealthy", "Liveness probe failed: cat: can't open '/tmp/health'")


@pytest.mark.conformance("Probing container should be restarted with a GRPC liveness probe [NodeConformance]")
def test_a_grpc_service_that_is_not_there_restarts(pods: Pods) -> None:
    pods.until_restarted("grpc-restarts")
    ip = pods.get("grpc-restarts")["status"]["podIP"]
    why = f'timeout: failed to connect service "{ip}:2333" within 10s: context deadline exceeded'
    pods.until_told("grpc-restarts", "Unhealthy", f"Liveness probe failed: {why}")


@pytest.mark.conformance(
    "Probing container should be restarted with a /healthz http liveness probe [NodeConformance]"
)
def test_a_failing_page_restarts(pods: Pods) -> None:
    pods.until_restarted("http-restarts")
    # It may have failed before there was a server at all: then it does so the next time.
    pods.until_told(
        "http-restarts", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404"
    )
    pods.until_told("http-restarts", "Killing", "Container main failed liveness probe, will be restarted")


@pytest.mark.conformance(
    "Probing container with readiness probe that fails should never be ready and never restart [NodeConformance]"
)
def test_a_failing_readiness_probe_never_restarts(pods: Pods) -> None:
    pods.stays("never-ready")
    assert not pods.container("never-ready")["ready"]
    assert pods.events("never-ready", "Unhealthy") == ["Readiness probe failed: "]


@pytest.mark.conformance(
    "Probing container should *not* be restarted with a /healthz http liveness probe [NodeConformance]"
)
def test_a_page_that_answers_stays(pods: Pods) -> None:
    pods.stays("http-stays")


@pytest.mark.conformance(
    'Probing container should *not* be restarted with a exec "cat /tmp/health" liveness probe [NodeConformance]'
)
def test_a_command_that_succeeds_stays(pods: Pods) -> None:
    pods.stays("exec-stays")


@pytest.mark.conformance(
    "Probing container should *not* be restarted with a tcp:8080 liveness probe [NodeConformance]"
)
def test_a_port_that_is_open_stays(pods: Pods) -> None:
    pods.stays("tcp-stays")


@pytest.mark.conformance(
    "Probing container should *not* be restarted with a GRPC liveness probe [NodeConformance]"
)
def test_a_grpc_service_that_is_healthy_stays(pods: Pods) -> None:
    pods.stays("grpc-stays")
