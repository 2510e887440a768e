"""The first minutes with Tiphys: every command that the README shows, on real containers."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest
from e2e_cluster import KUBECTL, Cluster, wait_for

pytestmark = pytest.mark.real


def test_up_is_ready_and_repeatable(cluster: Cluster) -> None:
    status = cluster.status()
    assert status["ready"] is True
    assert [node["ready"] for node in status["nodes"]] == [True]
    assert {component["name"] for component in status["components"]} >= {"control-plane"}
    assert all(component["rss_bytes"] > 0 for component in status["components"])
    again = cluster.tiphys("up", "--name", cluster.name)
    assert "kubectl" in again.stdout
    assert cluster.status()["components"][0]["pid"] == status["components"][0]["pid"]


def test_a_deployment_from_create_to_delete(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    cluster.kubectl("create", "deployment", "web", "--image=busybox", *at, "--", "sleep", "3600")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=300s", *at)
    pods = cluster.get("pods", *at)["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Running"]
    assert pods[0]["status"]["containerStatuses"][0]["ready"] is True
    wide = cluster.kubectl("get", "pods", "-o", "wide", *at).stdout
    assert "1/1" in wide
    assert "Running" in wide

    cluster.kubectl("scale", "deployment/web", "--replicas=3", *at)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=300s", *at)
    assert len(cluster.get("pods", *at)["items"]) == 3

    cluster.kubectl("set", "env", "deployment/web", "COLOR=blue", *at)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=300s", *at)
    assert "2" in cluster.kubectl("rollout", "history", "deployment/web", *at).stdout
    cluster.kubectl("rollout", "undo", "deployment/web", *at)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=300s", *at)
    template = cluster.get("deployment", "web", *at)["spec"]["template"]
    assert "env" not in template["spec"]["containers"][0]

    cluster.kubectl("delete", "deployment", "web", *at)
    wait_for(lambda: not cluster.get("pods", *at)["items"], "the pods are gone")
    assert cluster.get("replicasets", *at)["items"] == []


@pytest.mark.conformance(
    "Kubelet when scheduling a busybox command in a pod should print the output to logs [NodeConformance]"
)
def test_logs(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    script = "echo one; echo two; echo three; echo aside >&2; sleep 3600"
    cluster.kubectl("run", "talker", "--image=busybox", "--restart=Never", *at, "--", "sh", "-c", script)
    cluster.kubectl("wait", "pod/talker", "--for=condition=Ready", "--timeout=300s", *at)
    # The two streams are read side by side: only within each of them is there an order.
    wait_for(
        lambda: {"three", "aside"} <= set(cluster.kubectl("logs", "talker", *at).stdout.split()), "the log"
    )
    assert len(cluster.kubectl("logs", "talker", "--tail=2", *at).stdout.splitlines()) == 2
    lines = [line for line in cluster.kubectl("logs", "talker", *at).stdout.splitlines() if line != "aside"]
    assert lines == ["one", "two", "three"]
    stamped = cluster.kubectl("logs", "talker", "--timestamps", *at).stdout.splitlines()
    assert all(line.split()[0].endswith("Z") for line in stamped)
    process = subprocess.Popen(
        [str(KUBECTL), "logs", "-f", "talker", *at],
        stdout=subprocess.PIPE,
        text=True,
        env={**cluster.environment, "KUBECONFIG": cluster.status()["kubeconfig"]},
    )
    assert process.stdout is not None
    assert "one\n" in (process.stdout.readline(), process.stdout.readline())
    process.terminate()
    process.wait(60)


@pytest.mark.parametrize("websockets", ["true", "false"])
def test_exec(cluster: Cluster, namespace: str, websockets: str) -> None:
    at = ("-n", namespace)
    cluster.kubectl("run", "box", "--image=busybox", *at, "--", "sleep", "3600")
    cluster.kubectl("wait", "pod/box", "--for=condition=Ready", "--timeout=300s", *at)
    environment = {
        **cluster.environment,
        "KUBECONFIG": cluster.status()["kubeconfig"],
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets,
    }

    def run(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(KUBECTL), "exec", *arguments],
            input=input,
            capture_output=True,
            text=True,
            env=environment,
            timeout=180,
            check=False,
        )

    plain = run("box", *at, "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (plain.returncode, plain.stdout) == (3, "out\n")
    assert "err\n" in plain.stderr
    # The end of standard input must reach the command: this would hang otherwise.
    counted = run("-i", "box", *at, "--", "wc", "-c", input="x" * 200_000)
    assert counted.stdout.strip() == "200000"
    assert "No such file" in cluster.kubectl("exec", "box", *at, "--", "ls", "/nowhere", check=False).stderr


@pytest.mark.parametrize("websockets", ["true", "false"])
def test_what_is_piped_into_a_pod_comes_back_and_ends(
    cluster: Cluster, namespace: str, websockets: str
) -> None:
    """`… | kubectl run -i --rm`: attached to a container whose standard input ends with ours."""
    command = [
        "run",
        "counter",
        "-i",
        "--rm",
        "--image=busybox",
        "--restart=Never",
        "-n",
        namespace,
        "--",
        "wc",
        "-l",
    ]
    result = subprocess.run(
        [str(KUBECTL), *command],
        input="line\n" * 100_000,
        capture_output=True,
        text=True,
        env={
            **cluster.environment,
            "KUBECONFIG": cluster.status()["kubeconfig"],
            "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets,
        },
        timeout=180,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0] == "100000"
    assert cluster.get("pods", "-n", namespace)["items"] == []


def test_exec_with_a_terminal(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    cluster.kubectl("run", "box", "--image=busybox", *at, "--", "sleep", "3600")
    cluster.kubectl("wait", "pod/box", "--for=condition=Ready", "--timeout=300s", *at)
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**cluster.environment, "KUBECONFIG": cluster.status()["kubeconfig"], "TERM": "xterm"}
        os.execve(KUBECTL, ["kubectl", "exec", "-it", "box", *at, "--", "sh"], environment)
    seen = b""

    def read_until(text: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 120
        while text not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 4096)

    read_until(b"# ")
    os.write(terminal, b"echo $((6*7)); tty\n")
    read_until(b"42")
    read_until(b"/dev/pts/")
    os.write(terminal, b"exit 5\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 5


def test_describe_shows_what_happened(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    cluster.kubectl("run", "box", "--image=busybox", *at, "--", "sleep", "3600")
    cluster.kubectl("wait", "pod/box", "--for=condition=Ready", "--timeout=300s", *at)
    text = cluster.kubectl("describe", "pod", "box", *at).stdout
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert reason in text
    assert "Successfully assigned" in text


def test_a_crashing_container_backs_off(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    cluster.kubectl("run", "bad", "--image=busybox", *at, "--", "sh", "-c", "exit 7")

    def restarted() -> bool:
        status = cluster.get("pod", "bad", *at)["status"]["containerStatuses"][0]
        waiting = status["state"].get("waiting", {}).get("reason")
        return bool(status["restartCount"] >= 1 and waiting == "CrashLoopBackOff")

    wait_for(restarted, "CrashLoopBackOff after a restart")
    status = cluster.get("pod", "bad", *at)["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert status["lastState"]["terminated"]["reason"] == "Error"


def test_an_image_that_does_not_exist(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    cluster.kubectl("run", "lost", "--image=localhost:1/nothing:here", *at)

    def reason() -> str:
        statuses = cluster.get("pod", "lost", *at)["status"].get("containerStatuses") or [{}]
        return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))

    wait_for(lambda: reason() in ("ErrImagePull", "ImagePullBackOff"), "the pull fails")


def test_graceful_deletion(cluster: Cluster, namespace: str) -> None:
    at = ("-n", namespace)
    script = 'trap "echo bye; exit 0" TERM; echo ready; while true; do sleep 0.1; done'
    cluster.kubectl("run", "polite", "--image=busybox", *at, "--", "sh", "-c", script)
    cluster.kubectl("wait", "pod/polite", "--for=condition=Ready", "--timeout=300s", *at)
    wait_for(lambda: "ready" in cluster.kubectl("logs", "polite", *at).stdout, "the trap is set")
    # It goes at once, or this would be given up long before.
    cluster.kubectl("delete", "pod", "polite", "--grace-period=3600", *at)


def test_down_without_purge_keeps_everything(tmp_path: Path) -> None:
    cluster = Cluster("phoenix", tmp_path)
    try:
        cluster.tiphys("up", "--name", "phoenix", "--api-port", "0")
        wait_for(
            lambda: cluster.kubectl("get", "serviceaccount", "default", check=False).returncode == 0,
            "service account",
        )
        cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
        cluster.kubectl("create", "deployment", "web", "--image=busybox", "--", "sleep", "3600")
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=300s")
        cluster.tiphys("down", "--name", "phoenix")
        assert cluster.status()["components"] == []
        cluster.tiphys("up", "--name", "phoenix")
        assert cluster.get("configmap", "kept")["data"] == {"a": "b"}
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=300s")
        cluster.kubectl("wait", "pod", "-l", "app=web", "--for=condition=Ready", "--timeout=300s")
    finally:
        cluster.tiphys("down", "--name", "phoenix", "--purge")
    left = [path for path in tmp_path.rglob("*") if path.is_file() and ".kube" not in path.parts]
    assert left == []
    mounts = Path("/proc/self/mounts").read_text()
    assert str(tmp_path) not in mounts
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(tmp_path).encode() not in process.read_bytes(), process
        except FileNotFoundError:
            continue
    contexts = json.loads(
        subprocess.run(
            [str(KUBECTL), "config", "view", "-o", "json"],
            env={**cluster.environment, "KUBECONFIG": str(tmp_path / ".kube" / "config")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    ).get("contexts")
    assert not contexts
