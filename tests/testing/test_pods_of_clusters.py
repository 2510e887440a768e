"""Simulated pods do what a test tells them: fail, crash, be slow or unready, write logs, answer commands."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiphys.testing import Cluster, Namespace

KUBECTL = Path(sys.executable).parent / "kubectl"


def pod(name: str, image: str = "busybox", **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": image}], **spec},
    }


@pytest.fixture(autouse=True)
def forgotten(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.pods.forget()


def restarts(found: dict[str, dict[str, list[dict[str, int]]]]) -> int:
    return found["status"]["containerStatuses"][0]["restartCount"]


def test_a_pod_crashes_twice_and_then_runs(cluster: Cluster, namespace: Namespace) -> None:
    cluster.pods.behave("web-*", exit_code=3, lives=2)
    namespace.create(pod("web-1"))
    crashed = namespace.wait_for(
        "pod/web-1", lambda found: found["status"]["containerStatuses"][0]["lastState"]["terminated"]
    )
    assert crashed["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3
    namespace.wait_for("pod/web-1", lambda found: restarts(found) == 1)
    cluster.clock.advance(60)
    running = namespace.wait_for("pod/web-1", "Ready")
    assert restarts(running) == 2
    assert any("Back-off restarting failed container" in event for event in namespace.events("pod/web-1"))


def test_a_job_like_pod_succeeds_after_its_time(cluster: Cluster, namespace: Namespace) -> None:
    cluster.pods.behave("job-*", run_seconds=300)
    namespace.create(pod("job-1", restartPolicy="Never"))
    namespace.wait_for("pod/job-1", "Ready")
    cluster.clock.advance(300)
    namespace.wait_for("pod/job-1", "jsonpath={.status.phase}=Succeeded")


def test_readiness_is_as_the_newest_rule_says(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(pod("web"))
    namespace.wait_for("pod/web", "Ready")
    with cluster.pods.behave("web", namespace=namespace.name, ready=False):
        namespace.wait_for("pod/web", "Ready=False")
    namespace.wait_for("pod/web", "Ready")


def test_a_slow_pod_is_ready_in_its_time(cluster: Cluster, namespace: Namespace) -> None:
    cluster.pods.behave("db", start_seconds=100, ready_after_seconds=100)
    namespace.create(pod("db"))
    namespace.wait_for("pod/db", "PodScheduled")
    cluster.clock.advance(101)
    unready = namespace.wait_for("pod/db", "jsonpath={.status.phase}=Running")
    assert not unready["status"]["containerStatuses"][0]["ready"]
    cluster.clock.advance(100)
    namespace.wait_for("pod/db", "Ready")


def test_an_image_cannot_be_pulled_until_it_can(cluster: Cluster, namespace: Namespace) -> None:
    rule = cluster.pods.behave(image="nginx:broken", pull_error="manifest unknown")
    namespace.create(pod("web", "nginx:broken"))
    waiting = namespace.wait_for(
        "pod/web", lambda found: found["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    )
    state = waiting["status"]["containerStatuses"][0]["state"]["waiting"]
    assert state["reason"] in ("ErrImagePull", "ImagePullBackOff")
    assert "manifest unknown" in "\n".join(namespace.events("pod/web"))
    rule.remove()
    cluster.clock.advance(60)
    namespace.wait_for("pod/web", "Ready")


def test_a_running_container_is_crashed_by_hand(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(pod("web"))
    namespace.wait_for("pod/web", "Ready")
    cluster.pods.crash("web", namespace=namespace.name, exit_code=137, reason="OOMKilled")
    again = namespace.wait_for("pod/web", lambda found: restarts(found) == 1)
    last = again["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
    with pytest.raises(LookupError, match="is running"):
        cluster.pods.crash("none", namespace=namespace.name)


def test_logs_and_answers_reach_kubectl(cluster: Cluster, namespace: Namespace) -> None:
    cluster.pods.behave("web", logs=["hello", "world"], answers={"cat /etc/*": ("a secret\n", 0)})
    namespace.create(pod("web"))
    namespace.wait_for("pod/web", "Ready")
    cluster.pods.log("web", "and more", namespace=namespace.name)

    def kubectl(*arguments: str) -> str:
        environment = {**os.environ, "KUBECONFIG": str(namespace.kubeconfig)}
        return subprocess.run(
            [KUBECTL, *arguments], env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    assert kubectl("logs", "web") == "hello\nworld\nand more\n"
    assert kubectl("exec", "web", "--", "cat", "/etc/passwd") == "a secret\n"
    assert kubectl("exec", "web", "--", "echo", "hi") == "hi\n"
