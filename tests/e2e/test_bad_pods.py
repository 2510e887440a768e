"""Pods that cannot run, and pods that behave badly: the reason is told where people look for it, and the node stays well and clean."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_cluster import running, wait_for
from pod_world import PATIENCE_SECONDS, Object, PodWorld, pod

pytestmark = pytest.mark.real

NOWHERE = "localhost/nowhere:1"
NODE = "bad-node-1"
FOREVER = "sleep 1000"
CONFIGURATION = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
podPidsLimit: 100
"""


def with_variable(name: str, **source: Any) -> Object:
    return pod(name, FOREVER, own={"env": [{"name": "X", "valueFrom": source}]})


def with_volume(name: str, script: str = FOREVER, **volume: Any) -> Object:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    return pod(name, script, own=mount, volumes=[{"name": "v", **volume}])


def running_nothing(name: str, *command: str, **own: Any) -> Object:
    """Its command cannot be run; it is tried again and again."""
    return pod(name, own={"command": list(command), **own}, restartPolicy="Always")


PODS = [
    pod("no-image", FOREVER, own={"image": NOWHERE}),
    pod("no-name", FOREVER, own={"image": "::nothing::"}),
    pod("never-pulled", FOREVER, own={"image": NOWHERE, "imagePullPolicy": "Never"}),
    running_nothing("no-program", "nowhere"),
    running_nothing("directory", "/tmp"),
    running_nothing("no-executable", "/etc/passwd"),
    running_nothing("no-directory", "sh", workingDir="/etc/passwd"),
    pod("no-program-once", own={"command": ["/no/where"]}),
    pod(
        "no-program-first",
        FOREVER,
        initContainers=[
            {"name": "init", "image": "busybox", "imagePullPolicy": "Never", "command": ["nowhere"]}
        ],
    ),
    with_variable("no-config", configMapKeyRef={"name": "none", "key": "k"}),
    with_variable("no-key", configMapKeyRef={"name": "kube-root-ca.crt", "key": "none"}),
    with_variable("no-secret", secretKeyRef={"name": "none", "key": "k"}),
    with_volume("no-volume", secret={"secretName": "none"}),
    with_volume("no-such-directory", hostPath={"path": "/etc/passwd", "type": "Directory"}),
    pod("first-port", FOREVER, own={"ports": [{"containerPort": 80, "hostPort": 8099}]}),
    with_volume(
        "full",
        "dd if=/dev/zero of=/v/x bs=1M count=8 2>&1; echo still here",
        emptyDir={"medium": "Memory", "sizeLimit": "4Mi"},
    ),
    pod("deaf", "trap '' TERM; echo ready; while true; do sleep 0.2; done", terminationGracePeriodSeconds=2),
    pod(
        "bomb",
        "bomb() { bomb | bomb & }; bomb; sleep 10; echo still here",
        own={"resources": {"limits": {"memory": "64Mi", "cpu": "200m"}}},
    ),
    # Its children are everybody's, and outlive it if they can.
    pod("stubborn", "(trap '' HUP TERM; while true; do sleep 1000; done) & " + FOREVER, hostPID=True),
    pod("long-variable", own={"command": ["true"], "env": [{"name": "X", "value": "x" * 200_000}]}),
    pod(
        "many-variables",
        "echo $N599",
        own={"env": [{"name": f"N{n}", "value": f"{n:01000}"} for n in range(600)]},
    ),
    pod("new-directory", "pwd", own={"workingDir": "/new/place"}),
    pod("unknown-user", "id -u", own={"securityContext": {"runAsUser": 5_000_000}}),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodWorld]:
    home = tmp_path_factory.mktemp("bad")
    configuration = home / "kubelet.yaml"
    configuration.write_text(CONFIGURATION)
    for cluster in running(home, "bad", "--kubelet-config", str(configuration)):
        world = PodWorld(cluster)
        world.wait_for_account()
        world.create(*PODS)
        yield world


def entry(pod: Object, kind: str = "containerStatuses") -> Object:
    entries = pod["status"].get(kind) or [{"state": {}, "lastState": {}}]
    found: Object = entries[0]
    return found


def waiting(world: PodWorld, name: str, reason: str) -> str:
    """The message of a container that waits for this reason, at last."""

    def is_so(pod: Object) -> bool:
        return (entry(pod)["state"].get("waiting") or {}).get("reason") == reason

    return str(entry(world.until(name, is_so))["state"]["waiting"].get("message", ""))


# What is not there


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("no-image", "ImagePullBackOff", f'Back-off pulling image "{NOWHERE}"'),
        (
            "no-name",
            "InvalidImageName",
            'Failed to apply default image tag "::nothing::": couldn\'t parse image name "::nothing::": '
            "invalid reference format",
        ),
        (
            "never-pulled",
            "ErrImageNeverPull",
            f'Container image "{NOWHERE}" is not present with pull policy of Never',
        ),
        ("no-config", "CreateContainerConfigError", 'configmap "none" not found'),
        (
            "no-key",
            "CreateContainerConfigError",
            "couldn't find key none in ConfigMap default/kube-root-ca.crt",
        ),
        ("no-secret", "CreateContainerConfigError", 'secret "none" not found'),
    ],
)
def test_why_a_container_waits(world: PodWorld, name: str, reason: str, message: str) -> None:
    assert waiting(world, name, reason).startswith(message)
    told = {"ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff"}
    world.until_told(name, "Failed", f"Error: {reason if reason in told else message}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-volume", 'MountVolume.SetUp failed for volume "v" : secret "none" not found'),
        (
            "no-such-directory",
            'MountVolume.SetUp failed for volume "v" : hostPath type check failed: /etc/passwd is not a directory',
        ),
    ],
)
def test_why_a_volume_is_not_mounted(world: PodWorld, name: str, message: str) -> None:
    assert world.until_event(name, "FailedMount") == message
    assert world.pod(name)["status"]["phase"] == "Pending"
    assert waiting(world, name, "ContainerCreating") == ""


def test_what_was_missing_and_comes(world: PodWorld) -> None:
    """Whoever waited for it does not wait for long."""
    waiting(world, "no-config", "CreateContainerConfigError")
    world.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "none"}, "data": {"k": "v"}})
    world.until("no-config", lambda pod: "running" in entry(pod)["state"])


# What cannot be run


@pytest.mark.parametrize("name", ["no-program", "directory", "no-executable", "no-directory"])
def test_a_command_that_cannot_be_run(world: PodWorld, name: str) -> None:
    pod = world.until(name, lambda pod: entry(pod)["restartCount"] >= 1 and entry(pod)["lastState"])
    ended = entry(pod)["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert ended["startedAt"] == "1970-01-01T00:00:00Z"
    why = "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
    assert ended["message"].startswith(why)
    world.until_told(name, "Failed", f"Error: {ended['message']}")
    uid = pod["metadata"]["uid"]
    back_off = f"Back-off restarting failed container main in pod {name}_default({uid})"
    assert world.until_event(name, "BackOff") == back_off


def test_a_command_that_cannot_be_run_and_is_not_tried_again(world: PodWorld) -> None:
    pod = world.until("no-program-once", lambda pod: pod["status"]["phase"] == "Failed")
    assert entry(pod)["state"]["terminated"]["reason"] == "StartError"


def test_an_init_container_that_cannot_be_run(world: PodWorld) -> None:
    pod = world.until(
        "no-program-first", lambda pod: "terminated" in entry(pod, "initContainerStatuses")["state"]
    )
    assert pod["status"]["phase"] == "Failed"
    ended = entry(pod, "initContainerStatuses")["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)


def test_variables_that_are_too_long(world: PodWorld) -> None:
    """Linux takes 128 KiB each, and 2 MiB of them."""
    pod = world.until("long-variable", lambda pod: pod["status"]["phase"] == "Failed")
    ended = entry(pod)["state"]["terminated"]
    said = ended.get("message", "") + world.cluster.kubectl("logs", "long-variable", check=False).stdout
    assert "argument list too long" in said.lower()
    assert world.output("many-variables").strip().endswith("599")


def test_what_is_strange_and_runs_all_the_same(world: PodWorld) -> None:
    assert world.output("new-directory") == "/new/place\n"
    assert world.output("unknown-user") == "5000000\n"


# What harms others


def test_a_port_of_the_node_that_is_taken(world: PodWorld) -> None:
    world.until("first-port", lambda pod: "running" in entry(pod)["state"])
    world.create(pod("second-port", FOREVER, own={"ports": [{"containerPort": 80, "hostPort": 8099}]}))
    told = world.until_event("second-port", "FailedScheduling")
    assert "node(s) didn't have free ports for the requested pod ports" in told


def test_a_volume_that_is_full(world: PodWorld) -> None:
    said = world.output("full")
    assert "No space left on device" in said
    assert "still here" in said


def test_a_fork_bomb(world: PodWorld) -> None:
    """Its processes are counted, and cost nobody else anything."""
    pod = world.until("bomb", lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
    said = world.cluster.kubectl("logs", "bomb").stdout
    assert "can't fork: Resource temporarily unavailable" in said, pod["status"]


def test_a_container_that_does_not_listen(world: PodWorld) -> None:
    wait_for(lambda: "ready" in world.cluster.kubectl("logs", "deaf", check=False).stdout, "it ignores TERM")
    began = time.monotonic()
    world.cluster.kubectl("delete", "pod", "deaf")
    assert time.monotonic() - began >= 2
    assert world.cluster.kubectl("get", "pod", "deaf", check=False).returncode == 1


# And then


def test_the_node_is_well_and_nothing_is_left(world: PodWorld) -> None:
    world.until("stubborn", lambda pod: "running" in entry(pod)["state"])
    world.cluster.kubectl("delete", "pods", "--all", timeout=PATIENCE_SECONDS)
    ready = next(c for c in world.cluster.get("node", NODE)["status"]["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True"

    def left() -> list[str]:
        directories = [world.kubelet_directory / name for name in ("pods", "logs")]
        files = [str(path) for directory in directories for path in directory.iterdir()]
        groups = Path("/sys/fs/cgroup").glob(f"**/tiphys-bad-*/{NODE}/kubepods/**/pod*")
        return files + [str(path) for path in groups]

    wait_for(lambda: left() == [], f"nothing is left, but {left()}", seconds=PATIENCE_SECONDS)
    world.create(pod("afterwards", "echo well"))
    assert world.output("afterwards") == "well\n"
