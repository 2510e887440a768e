"""Every manifest in examples/ is applied by real kubectl and does what its first line says."""

from __future__ import annotations

import pytest
from e2e_cluster import ROOT, Cluster, wait_for

pytestmark = pytest.mark.real
EXAMPLES = ROOT / "examples"


def apply(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", str(EXAMPLES / name))


def ready(cluster: Cluster, namespace: str, pod: str) -> None:
    cluster.kubectl("wait", "-n", namespace, f"pod/{pod}", "--for=condition=Ready", "--timeout=300s")


def output(cluster: Cluster, namespace: str, pod: str, *command: str) -> str:
    return cluster.kubectl("exec", "-n", namespace, pod, "--", *command).stdout


def test_pod(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, "01-pod.yaml")
    ready(cluster, namespace, "hello")
    wait_for(
        lambda: "hello from hello" in cluster.kubectl("logs", "-n", namespace, "hello").stdout, "its greeting"
    )
    pod = cluster.get("pod", "hello", "-n", namespace)
    assert pod["status"]["qosClass"] == "Burstable"
    memory = output(
        cluster, namespace, "hello", "sh", "-c",
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max",
    )  # fmt: skip
    assert int(memory) == 32 << 20


def test_two_containers(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, "02-two-containers.yaml")
    ready(cluster, namespace, "newspaper")
    page = cluster.kubectl(
        "exec",
        "-n",
        namespace,
        "newspaper",
        "-c",
        "writer",
        "--",
        "wget",
        "-q",
        "-O",
        "-",
        "http://127.0.0.1:8080/index.html",
    ).stdout
    assert "20" in page


def test_deployment_and_rolling_update(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    apply(cluster, namespace, "03-deployment.yaml")
    cluster.kubectl("rollout", "status", "deployment/greeter", "--timeout=300s", *at)
    manifest = (EXAMPLES / "03-deployment.yaml").read_text().replace("good morning", "good evening")
    cluster.kubectl("apply", *at, "-f", "-", input=manifest)
    cluster.kubectl("rollout", "status", "deployment/greeter", "--timeout=300s", *at)
    wait_for(
        lambda: len(cluster.get("pods", "-l", "app=greeter", *at)["items"]) == 3, "the old pods are gone"
    )
    said = [
        cluster.kubectl("logs", pod["metadata"]["name"], *at).stdout.strip()
        for pod in cluster.get("pods", "-l", "app=greeter", *at)["items"]
    ]
    assert said == ["good evening"] * 3
    assert len(cluster.get("replicasets", *at)["items"]) == 2


def test_configuration(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, "04-configuration.yaml")
    ready(cluster, namespace, "configured")
    wait_for(
        lambda: (
            cluster.kubectl("logs", "-n", namespace, "configured").stdout
            == f"blue {namespace}\nWelcome aboard.\n"
        ),
        "what it was told",
    )
    assert output(cluster, namespace, "configured", "sh", "-c", "echo $PASSWORD") == "correct-horse\n"
    assert output(cluster, namespace, "configured", "cat", "/credentials/password") == "correct-horse"
    mode = output(cluster, namespace, "configured", "stat", "-L", "-c", "%a", "/credentials/password")
    assert mode.strip() == "400"


def test_pod_that_ends(cluster: Cluster, namespace: str) -> None:
    apply(cluster, namespace, "05-job-like-pod.yaml")
    cluster.kubectl(
        "wait", "-n", namespace, "pod/counter", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=300s"
    )
    assert cluster.kubectl("logs", "-n", namespace, "counter").stdout.strip() == "100"
    status = cluster.get("pod", "counter", "-n", namespace)["status"]
    assert status["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


def test_job(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    apply(cluster, namespace, "06-job.yaml")
    cluster.kubectl("wait", "job/squares", "--for=condition=Complete", "--timeout=300s", *at)
    pods = cluster.get("pods", "-l", "batch.kubernetes.io/job-name=squares", *at)["items"]
    said = [cluster.kubectl("logs", pod["metadata"]["name"], *at).stdout.strip() for pod in pods]
    assert sorted(said, key=int) == ["0", "1", "4", "9", "16"]
    job = cluster.get("job", "squares", *at)
    assert job["status"]["completedIndexes"] == "0-4"
    assert cluster.kubectl("get", "job", "squares", *at).stdout.split()[6:8] == ["Complete", "5/5"]
    told = cluster.kubectl("describe", "job", "squares", *at).stdout
    assert "0 Active (0 Ready) / 5 Succeeded / 0 Failed" in told
    assert "Job completed" in told
    cluster.kubectl("delete", "job", "squares", *at)
    wait_for(lambda: not cluster.get("pods", *at)["items"], "the pods go with the job")


def test_cron_job(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    apply(cluster, namespace, "07-cronjob.yaml")
    cluster.kubectl("create", "job", "now", "--from=cronjob/greeting", *at)
    cluster.kubectl("wait", "job/now", "--for=condition=Complete", "--timeout=300s", *at)
    assert cluster.kubectl("logs", "job/now", *at).stdout == "good morning\n"
    cluster.kubectl("delete", "cronjob", "greeting", "--cascade=foreground", *at)
    wait_for(lambda: not cluster.get("jobs,pods", *at)["items"], "all that it made goes with it")
