"""The command line's contract, on simulated nodes: what scripts rely on, and what goes wrong clearly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from e2e_cluster import ROOT, Cluster, wait_for

from tiphys.cli import main


def test_status_document(hollow: Cluster) -> None:
    status = hollow.status()
    assert status["name"] == "hollow"
    assert status["ready"] is True
    assert status["server"].startswith("https://127.0.0.1:")
    assert Path(status["kubeconfig"]).exists()
    assert [sorted(component) for component in status["components"]] == [
        ["name", "pid", "rss_bytes", "uptime_seconds"]
    ] * len(status["components"])
    assert [node["ready"] for node in status["nodes"]] == [True] * 3


def test_kubeconfig_prints_its_path(hollow: Cluster) -> None:
    path = hollow.tiphys("kubeconfig", "--name", "hollow").stdout.strip()
    assert path == hollow.status()["kubeconfig"]
    assert Path(path).stat().st_mode & 0o077 == 0


def test_the_users_kubeconfig_gets_a_context(hollow: Cluster) -> None:
    text = (hollow.home / ".kube" / "config").read_text()
    assert "tiphys-hollow" in text


def test_kubectl_is_real(hollow: Cluster) -> None:
    shown = json.loads(hollow.tiphys("kubectl", "--name", "hollow", "version", "-o", "json").stdout)
    assert shown["serverVersion"]["gitVersion"].startswith("v1.36.")
    nodes = hollow.tiphys("kubectl", "--name", "hollow", "get", "nodes", "--no-headers").stdout.splitlines()
    assert len(nodes) == 3
    assert all(" Ready " in line for line in nodes)


def test_kubectls_own_exit_code_comes_through(hollow: Cluster) -> None:
    result = hollow.tiphys("kubectl", "--name", "hollow", "get", "pod", "nobody", check=False)
    assert result.returncode == 1
    assert 'pods "nobody" not found' in result.stderr


def test_logs_of_a_component(hollow: Cluster) -> None:
    assert hollow.tiphys("logs", "--name", "hollow", "control-plane").returncode == 0
    result = hollow.tiphys("logs", "--name", "hollow", "nonsense", check=False)
    assert result.returncode == 1
    assert "control-plane" in result.stderr


def test_logs_that_are_followed_go_on_until_ctrl_c(hollow: Cluster) -> None:
    log = hollow.home / "tiphys" / "hollow" / "logs" / "control-plane.log"
    with log.open("a") as file:
        file.write("before\n")
    process = subprocess.Popen(
        [str(ROOT / "tiphys"), "logs", "--name", "hollow", "control-plane", "-f"],
        env=hollow.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "before\n" in iter(process.stdout.readline, "")
    with log.open("a") as file:
        file.write("after\n")
    assert "after\n" in iter(process.stdout.readline, "")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "tiphys: interrupted\n")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "the following arguments are required: COMMAND (see: tiphys --help)"),
        ("nonsense", "argument COMMAND: invalid choice: 'nonsense'"),
        ("up --api-port x", "argument --api-port: 'x' is no port (see: tiphys up --help)"),
        ("up --api-port 65536", "argument --api-port: '65536' is no port (see: tiphys up --help)"),
        ("up --nodes many", "argument --nodes: 'many' is no number of nodes (see: tiphys up --help)"),
        ("up --runtime docker", "argument --runtime: invalid choice: 'docker'"),
        ("status -o yaml", "argument -o/--output: invalid choice: 'yaml'"),
        ("image", "the following arguments are required: ACTION (see: tiphys image --help)"),
        ("logs", "the following arguments are required: COMPONENT (see: tiphys logs --help)"),
    ],
)
def test_what_is_no_command_is_told_in_one_line(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    (only,) = output.err.splitlines()
    assert only.startswith(f"tiphys: {told}")


def test_kubectl_of_no_cluster_in_particular(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kubectl", "--name"]) == 1
    assert capsys.readouterr().err.startswith("tiphys: --name needs the name of a cluster")


def test_pods_run_on_simulated_nodes(hollow: Cluster) -> None:
    hollow.kubectl("create", "deployment", "many", "--image=anything", "--replicas=12")
    hollow.kubectl("rollout", "status", "deployment/many", "--timeout=300s")
    nodes = {pod["spec"]["nodeName"] for pod in hollow.get("pods", "-l", "app=many")["items"]}
    assert len(nodes) == 3
    hollow.kubectl("delete", "deployment", "many")
    wait_for(lambda: not hollow.get("pods", "-l", "app=many")["items"], "the pods are gone")


def test_a_killed_control_plane_comes_back_with_everything(hollow: Cluster) -> None:
    hollow.kubectl("create", "configmap", "precious", "--from-literal=a=b")
    pids = {component["name"]: component["pid"] for component in hollow.status()["components"]}
    os.kill(pids["control-plane"], signal.SIGKILL)
    wait_for(
        lambda: hollow.kubectl("get", "configmap", "precious", check=False).returncode == 0,
        "the control plane is back",
    )
    after = {component["name"]: component["pid"] for component in hollow.status()["components"]}
    assert after["control-plane"] != pids["control-plane"]
    wait_for(lambda: hollow.status()["ready"], "the nodes are still there")


def test_mistakes_are_one_line_and_a_cure(tmp_path: Path) -> None:
    cluster = Cluster("nowhere", tmp_path)

    def complaint(*arguments: str) -> str:
        result = cluster.tiphys(*arguments, check=False)
        assert result.returncode != 0
        assert "Traceback" not in result.stderr
        return result.stderr

    assert "there is no cluster 'nowhere'" in complaint("status", "--name", "nowhere")
    assert "is no name" in complaint("up", "--name", "No_Good")
    assert "at least one node" in complaint("up", "--name", "a", "--runtime", "simulated", "--nodes", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        text = complaint("up", "--name", "b", "--runtime", "simulated", "--api-port", port)
        assert f"port {port} cannot be used" in text
    assert "invalid choice" in complaint("up", "--datastore", "paper")
    assert cluster.tiphys("down", "--name", "nowhere").returncode == 0
