"""The command line when things go wrong, on simulated nodes: commands that meet, interruptions, killed processes, broken files.

Whatever happened, `up` mends it or says in one line what to do, and `down --purge` leaves nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from e2e_cluster import KUBECTL, ROOT, Cluster, wait_for
from weather import component, is_running, kill, leftovers, processes, supervisor

SIMULATED = ("--runtime", "simulated", "--api-port", "0")
# The same user without his powers: what is read-only for its owner is so for him, and he is not called root.
ORDINARY_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


def up(cluster: Cluster, *options: str) -> subprocess.Popen[str]:
    """`up` in a group of its own, as a shell starts it."""
    return subprocess.Popen(
        [str(ROOT / "tiphys"), "up", "--name", cluster.name, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cluster.environment,
        start_new_session=True,
    )


def as_ordinary_user(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ORDINARY_USER, str(ROOT / "tiphys"), *arguments],
        capture_output=True,
        text=True,
        env=cluster.environment,
        timeout=180,
        check=False,
    )


def complaint(cluster: Cluster, *arguments: str) -> str:
    """What a command that must fail says."""
    result = cluster.tiphys(*arguments, check=False)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


# Commands that meet


def test_two_ups_at_once_make_one_cluster(place: Cluster) -> None:
    both = [up(place, *SIMULATED), up(place, *SIMULATED)]
    told = [process.communicate(timeout=180)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    # Whether they met is the machine's affair; at most one of them had to wait.
    assert sum("another command works on cluster 'storm' (pid " in text for text in told) <= 1
    assert len(supervisor(place)) == 1
    assert place.status()["ready"] is True


def test_new_clusters_at_once_share_neither_port_nor_address(tmp_path: Path) -> None:
    clusters = [Cluster(f"storm-{number}", tmp_path) for number in range(2)]
    ups = [up(cluster, "--runtime", "simulated") for cluster in clusters]
    for process in ups:
        assert process.wait(180) == 0
    configs = [
        json.loads((tmp_path / "tiphys" / cluster.name / "cluster.json").read_text()) for cluster in clusters
    ]
    assert len({config["api_port"] for config in configs}) == 2
    assert len({config["index"] for config in configs}) == 2
    contexts = yaml.safe_load((tmp_path / ".kube" / "config").read_text())["contexts"]
    assert sorted(context["name"] for context in contexts) == [
        f"tiphys-{cluster.name}" for cluster in clusters
    ]
    for cluster in clusters:
        cluster.tiphys("down", "--name", cluster.name, "--purge")
    assert leftovers(clusters[-1]) == []


def test_down_ends_an_up_that_waits(place: Cluster) -> None:
    process = up(place, *SIMULATED)
    wait_for(lambda: supervisor(place), "the supervisor")
    place.tiphys("down", "--name", place.name)
    _, told = process.communicate(timeout=180)
    if process.returncode != 0:  # else it was ready before
        assert "the cluster was stopped meanwhile" in told
        assert "Traceback" not in told
    assert supervisor(place) == []


def test_more_nodes_for_a_running_cluster(place: Cluster) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    place.tiphys("up", "--name", place.name, "--nodes", "3")
    assert [node["ready"] for node in place.status()["nodes"]] == [True] * 3


# Interruptions


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2, 0.4])
def test_an_interrupted_up_leaves_nothing_that_up_or_down_cannot_handle(
    place: Cluster, seconds: float
) -> None:
    process = up(place, *SIMULATED)
    wait_for((place.home / "tiphys" / "clusters" / "storm.lock").exists, "up works", interval_seconds=0.001)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=180)
    assert process.returncode in (130, 0), told  # a quick machine may be through before
    assert "Traceback" not in told
    if seconds in (0.1, 0.4):
        place.tiphys("up", "--name", place.name, *SIMULATED)
        assert place.status()["ready"] is True


# Killed processes


def test_a_supervisor_that_was_killed_is_replaced_with_all_it_had_started(place: Cluster) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    before = processes(place)
    kill(*supervisor(place))
    status = place.status()
    assert status["ready"] is False
    assert len(status["components"]) == 2
    place.tiphys("up", "--name", place.name)
    assert place.status()["ready"] is True
    assert not set(before) & set(processes(place))
    assert len(supervisor(place)) == 1


@pytest.mark.parametrize("victims", ["supervisor", "kubelet_process", "tiphys.cluster"])
def test_down_when_something_was_killed(place: Cluster, victims: str) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    kill(*processes(place, victims))
    place.tiphys("down", "--name", place.name)
    assert processes(place) == []
    assert "is stopped" in place.tiphys("down", "--name", place.name).stderr
    assert "is gone" in place.tiphys("down", "--name", place.name, "--purge").stderr
    assert "there is no cluster" in place.tiphys("down", "--name", place.name, "--purge").stderr


def test_up_after_everything_was_killed(place: Cluster) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    place.kubectl("create", "configmap", "precious", "--from-literal=a=b")
    kill(*processes(place, "tiphys.cluster"))
    place.tiphys("up", "--name", place.name)
    assert place.get("configmap", "precious")["data"] == {"a": "b"}
    assert place.status()["ready"] is True


def test_ready_is_not_what_an_earlier_life_said(place: Cluster) -> None:
    """The Node in the store says Ready for a while after its kubelet died; `up` waits for the new one's word."""
    place.tiphys("up", "--name", place.name, *SIMULATED)
    time.sleep(1.1)
    place.tiphys("down", "--name", place.name)
    before = time.time()
    place.tiphys("up", "--name", place.name)
    ready = next(
        condition
        for condition in place.get("node", "storm-node-1")["status"]["conditions"]
        if condition["type"] == "Ready"
    )
    said = datetime.fromisoformat(ready["lastHeartbeatTime"])
    assert said.timestamp() >= int(before)


# Ports, directories, files


def test_a_port_that_was_taken_meanwhile(place: Cluster) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    server = place.status()["server"]
    port = int(server.rpartition(":")[2])
    place.tiphys("down", "--name", place.name)
    assert place.status()["server"] == server, "where it will be again"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        text = complaint(place, "up", "--name", place.name)
        assert f"port {port} cannot be used: Address already in use" in text
        assert "--api-port" in text
    place.tiphys("up", "--name", place.name)
    assert place.status()["server"].endswith(f":{port}")


@pytest.mark.parametrize("directory", ["/proc/nowhere", "/etc/hostname/below"])
def test_a_data_directory_that_cannot_be(place: Cluster, directory: str) -> None:
    text = complaint(place, "up", "--name", place.name, "--data-dir", directory, *SIMULATED)
    assert f"cannot write to {directory}" in text
    assert "choose another --data-dir" in text


def test_a_data_directory_of_the_users_own(place: Cluster) -> None:
    """Later commands know the cluster by its name; purging leaves what was there before, and the directory."""
    data = place.home / "of my own"
    data.mkdir()
    (data / "letter").write_text("dear")
    named = ("--name", place.name)
    place.tiphys("up", *named, "--data-dir", str(data), *SIMULATED)
    assert place.tiphys("kubectl", *named, "get", "nodes").returncode == 0
    assert place.status()["kubeconfig"] == str(data / "kubeconfig")
    assert "has its data in" in complaint(place, "up", *named, "--data-dir", str(place.home / "elsewhere"))
    assert "has the data of cluster 'storm'" in complaint(
        place, "up", "--name", "other", "--data-dir", str(data)
    )
    place.tiphys("down", *named)
    place.tiphys("up", *named, "--data-dir", f"{data}/../of my own")
    place.tiphys("down", *named, "--purge")
    assert [path.name for path in data.iterdir()] == ["letter"]
    (data / "letter").unlink()
    data.rmdir()


def test_a_damaged_cluster_file(place: Cluster) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    config = place.home / "tiphys" / place.name / "cluster.json"
    wrong_type = json.dumps({**json.loads(config.read_text()), "nodes": "three"})
    for damage in ("{", "[]", '{"name": 3}', "\x00\x00", wrong_type):
        config.write_text(damage)
        text = complaint(place, "status", "--name", place.name)
        assert "cluster.json is damaged" in text
        assert "--purge" in text
    assert "cluster.json is damaged" in complaint(place, "up", "--name", place.name)
    # It is not in the way of others.
    other = Cluster("other", place.home)
    other.tiphys("up", "--name", "other", *SIMULATED)
    other.tiphys("down", "--name", "other", "--purge")


def test_a_damaged_kubeconfig_of_the_clusters_own(place: Cluster) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    kubeconfig = Path(place.status()["kubeconfig"])
    for damage in ("clusters: {", "", "\x00"):
        kubeconfig.write_text(damage)
        text = complaint(place, "status", "--name", place.name)
        assert str(kubeconfig) in text
        assert "(tiphys up writes it anew)" in text
    place.tiphys("up", "--name", place.name)
    assert place.status()["ready"] is True


def test_a_damaged_file_that_leads_to_the_data(place: Cluster) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    pointer = place.home / "tiphys" / "clusters" / f"{place.name}.json"
    kept = pointer.read_text()
    for damage in ("{", "3", "{}"):
        pointer.write_text(damage)
        for command in ("up", "down", "kubectl"):
            assert f"{place.name}.json is damaged" in complaint(place, command, "--name", place.name)
    pointer.write_text(kept)


# The user's kubeconfig

OTHERS = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "work", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "me", "user": {"token": "secret"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
}


def with_kubeconfig(cluster: Cluster, value: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of a user who has KUBECONFIG set."""
    return subprocess.run(
        [*map(str, arguments)],
        env={**cluster.environment, "KUBECONFIG": value},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )


def test_a_kubeconfig_of_several_files_keeps_what_others_put_there(place: Cluster) -> None:
    missing, first, second = (place.home / name for name in ("missing", "first", "second"))
    first.write_text(yaml.safe_dump(OTHERS))
    second.write_text(yaml.safe_dump({**OTHERS, "current-context": ""}))
    value = f"{missing}:{first}:{second}"
    tiphys = str(ROOT / "tiphys")
    with_kubeconfig(place, value, tiphys, "up", "--name", place.name, *SIMULATED)
    assert not missing.exists()
    contexts = with_kubeconfig(place, value, KUBECTL, "config", "get-contexts", "-o", "name").stdout.split()
    assert sorted(contexts) == ["tiphys-storm", "work"]
    shown = with_kubeconfig(place, value, KUBECTL, "get", "nodes", "-o", "name").stdout
    assert shown == "node/storm-node-1\n"
    with_kubeconfig(place, value, tiphys, "down", "--name", place.name, "--purge")
    assert yaml.safe_load(first.read_text()) == {**OTHERS, "current-context": ""}
    assert yaml.safe_load(second.read_text()) == {**OTHERS, "current-context": ""}


def test_a_broken_kubeconfig_is_no_reason_to_have_no_cluster(place: Cluster) -> None:
    config = place.home / ".kube" / "config"
    config.parent.mkdir()
    config.write_text("clusters: {")
    result = place.tiphys("up", "--name", place.name, *SIMULATED)
    assert "your kubeconfig stays as it is" in result.stderr
    assert f"export KUBECONFIG={place.status()['kubeconfig']}" in result.stderr
    assert "is current" not in result.stderr
    assert place.tiphys("kubectl", "--name", place.name, "get", "nodes").returncode == 0
    down = place.tiphys("down", "--name", place.name, "--purge")
    assert "your kubeconfig" in down.stderr
    assert config.read_text() == "clusters: {"


# People without root


def test_containers_need_root(place: Cluster) -> None:
    result = as_ordinary_user(place, "up", "--name", place.name)
    assert result.returncode == 1
    assert "containers need root" in result.stderr
    assert "--runtime simulated" in result.stderr


def test_simulated_nodes_need_none(place: Cluster) -> None:
    config = place.home / ".kube" / "config"
    config.parent.mkdir()
    config.write_text(yaml.safe_dump(OTHERS))
    config.parent.chmod(0o500)
    result = as_ordinary_user(place, "up", "--name", place.name, *SIMULATED)
    assert result.returncode == 0, result.stderr
    assert "your kubeconfig stays as it is: cannot write" in result.stderr
    assert as_ordinary_user(place, "kubectl", "--name", place.name, "get", "nodes").returncode == 0
    result = as_ordinary_user(place, "down", "--name", place.name, "--purge")
    assert result.returncode == 0, result.stderr
    assert yaml.safe_load(config.read_text()) == OTHERS
    config.parent.chmod(0o700)


def test_a_home_that_cannot_be_written(place: Cluster) -> None:
    (place.home / "tiphys").mkdir(mode=0o500)
    result = as_ordinary_user(place, "up", "--name", place.name, *SIMULATED)
    assert result.returncode == 1
    assert result.stderr == f"tiphys: {place.home / 'tiphys' / 'clusters'}: Permission denied\n"
    (place.home / "tiphys").rmdir()


def test_a_missing_system_package_is_named(place: Cluster) -> None:
    """--no-install: hidden in a mount namespace of its own, containerd is not there."""
    script = 'mount --bind /dev/null "$(command -v containerd)" && exec "$@"'
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(ROOT / "tiphys"), "up", "--name", place.name, "--no-install"],
        capture_output=True,
        text=True,
        env=place.environment,
        timeout=180,
        check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "system packages are missing:\n  containerd: runs containers" in result.stderr
    assert "apt-get install -y --no-install-recommends containerd)" in result.stderr


def test_a_component_that_cannot_start_ends_the_wait_and_is_not_tried_for_ever(place: Cluster) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    place.tiphys("down", "--name", place.name)
    certificate = place.home / "tiphys" / place.name / "pki" / "apiserver.crt"
    kept = certificate.read_text()
    certificate.write_text("none")
    text = complaint(place, "up", "--name", place.name)
    assert "control-plane does not start: " in text
    assert "control-plane.log" in text
    assert processes(place) == []
    certificate.write_text(kept)
    place.tiphys("up", "--name", place.name)
    pid = component(place, "control-plane")
    place.tiphys("up", "--name", place.name)
    assert is_running(pid)
