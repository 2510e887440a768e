"""Whatever is killed, whenever: pods run on, what is to go goes, nothing is left over, and the API learns of it all.

A storm of kills, creations and deletions, in rounds; after each of them everything must come to rest as it should be. It follows
its seed; another one, or a longer storm: TIPHYS_CHAOS_SEED=7 TIPHYS_CHAOS_SECONDS=600 pytest tests/e2e/test_chaos.py
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import weather
from e2e_cluster import Cluster, running, wait_for
from node_truth import NETWORK_NAMESPACES, Truth, command_lines, look, node_directory
from pod_world import BUSYBOX, Object, PodWorld
from weather import kill, leftovers, processes, supervisor

from tiphys.cluster.namespaces import find_node
from tiphys.kubelet.runtimes.interface import RuntimeFailure

pytestmark = [pytest.mark.real, pytest.mark.slow]

SEED = int(os.environ.get("TIPHYS_CHAOS_SEED", "1"))
SECONDS = float(os.environ.get("TIPHYS_CHAOS_SECONDS", "20"))
REST_SECONDS = 120.0
MOST_PODS = 8
FOREVER = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"
VICTIMS = {
    "kubelet": ("kubelet_process",),
    "containerd": ("containerd", "config.toml"),
    "control plane": ("control_plane",),
}


@dataclass
class Storm:
    """What was done, and what must be so for it."""

    world: PodWorld
    dice: random.Random
    log: list[str] = field(default_factory=list)
    lives: dict[str, str] = field(default_factory=dict)
    """pod/container → the id of the container that ran when all was at rest: it must not be another one without a reason."""
    count: int = 0
    pods: set[str] = field(default_factory=set)
    """Names of those that were made and not deleted."""

    @property
    def cluster(self) -> Cluster:
        return self.world.cluster

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Again while nobody answers; what was done already is done."""

        def ask() -> subprocess.CompletedProcess[str] | None:
            result = self.cluster.kubectl(*arguments, input=input, check=False)
            is_done = any(word in result.stderr for word in ("AlreadyExists", "NotFound"))
            return result if result.returncode == 0 or is_done else None

        found: subprocess.CompletedProcess[str] = wait_for(
            ask, f"kubectl {' '.join(arguments)} {self.log}", seconds=REST_SECONDS
        )
        return found.stdout

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    # What may happen

    def round(self) -> None:
        acts: list[tuple[Callable[[], None], int]] = [
            (self.create, 4),
            (self.delete, 3),
            (self.kill_something, 5),
            (self.freeze_something, 1),
            (self.kill_the_supervisor, 1),
            (self.kill_a_container, 1),
            (self.kill_a_shim, 1),
            (self.cut_the_power, 1),
        ]
        for _ in range(self.dice.randint(2, 5)):
            act = self.dice.choices([act for act, _ in acts], [weight for _, weight in acts])[0]
            act()
            time.sleep(self.dice.choice([0.0, 0.0, 0.1, 0.5]))

    def create(self) -> None:
        if len(self.pods) >= MOST_PODS:
            return
        self.count += 1
        name = f"pod-{self.count}"
        self.log.append(f"create {name}")
        make = self.dice.choice([plain, with_volumes, with_init_container, job])
        self.kubectl("create", "--validate=false", "-f", "-", input=json.dumps(make(name)))
        self.pods.add(name)

    def delete(self) -> None:
        if not self.pods:
            return
        name = self.dice.choice(sorted(self.pods))
        grace = self.dice.choice(["30", "1", "0"])
        self.log.append(f"delete {name} within {grace} s")
        force = ["--force"] if grace == "0" else []
        self.kubectl("delete", "pod", name, f"--grace-period={grace}", "--wait=false", *force)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self.pods.discard(name)
        self.lives = {life: id for life, id in self.lives.items() if not life.startswith(f"{name}/")}

    def kill_something(self) -> None:
        victims = self.dice.sample(sorted(VICTIMS), self.dice.choice([1, 1, 2, 3]))
        self.log.append(f"kill {', '.join(victims)}")
        kill(*(pid for victim in victims for pid in processes(self.cluster, *VICTIMS[victim])))

    def freeze_something(self) -> None:
        """It hangs for a while, and does not know it."""
        victim = self.dice.choice(sorted(VICTIMS))
        self.log.append(f"freeze {victim}")
        pids = processes(self.cluster, *VICTIMS[victim])
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(self.dice.choice([0.2, 1.0, 2.0]))
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def kill_the_supervisor(self) -> None:
        self.log.append("kill the supervisor")
        kill(*supervisor(self.cluster))
        self.cluster.tiphys("up", "--name", self.cluster.name)

    def kill_a_shim(self) -> None:
        """A sandbox dies with all that is in it, and is made anew."""
        node = find_node(node_directory(self.cluster))
        assert node is not None
        found = sorted(pid for pid, line in command_lines(node) if "containerd-shim" in line)
        if found:
            self.log.append("kill a shim")
            kill(self.dice.choice(found))
            self.lives.clear()

    def kill_a_container(self) -> None:
        """It is started again: that is the one reason for another life."""
        if not self.lives:
            return
        life = self.dice.choice(sorted(self.lives))
        name, _, container = life.partition("/")
        result = self.cluster.kubectl("exec", name, "-c", container, "--", "kill", "-9", "-1", check=False)
        self.log.append(f"kill {life}: {result.returncode}")
        self.lives.pop(life)

    def cut_the_power(self) -> None:
        self.log.append("cut the power")
        node = find_node(node_directory(self.cluster))
        assert node is not None
        kill(node.pid)
        self.lives.clear()
        self.cluster.tiphys("up", "--name", self.cluster.name)

    # What must be so

    def rest(self) -> None:
        """Until all is as it should be."""
        found: list[str] = ["nothing was looked at"]

        def is_at_rest() -> bool:
            found[:] = self.problems()
            return not found

        deadline = time.monotonic() + REST_SECONDS
        while not is_at_rest():
            if time.monotonic() > deadline:
                pytest.fail(f"seed {SEED}: {found}\n{self.log}\n{self.cluster.logs()}")
            time.sleep(0.2)
        self._note_lives()

    def problems(self) -> list[str]:
        try:
            truth = look(self.cluster)
        except (RuntimeFailure, AssertionError) as error:
            return [str(error)]
        pods = self.get("pods")["items"]
        names = {pod["metadata"]["name"] for pod in pods}
        found = [f"{name} is not there" for name in self.pods - names]
        found += [f"{name} is still there" for name in names - self.pods]
        found += truth.leaks({pod["metadata"]["uid"] for pod in pods})
        for pod in pods:
            found += _pod_problems(pod, truth)
        return found

    def _note_lives(self) -> None:
        """Whatever has run on must be what ran before."""
        before, now = self.lives, {}
        for pod in self.get("pods")["items"]:
            for entry in pod["status"]["containerStatuses"] if not is_over(pod) else ():
                now[f"{pod['metadata']['name']}/{entry['name']}"] = entry["containerID"]
        others = [life for life, id in before.items() if now.get(life) != id]
        assert not others, f"seed {SEED}: {others} were started anew: {self.log}"
        self.lives = now


def _pod_problems(pod: Object, truth: Truth) -> list[str]:
    name, status = pod["metadata"]["name"], pod["status"]
    if pod["spec"]["restartPolicy"] == "Never":
        return _job_problems(pod, truth)
    boxes = [box for box in truth.ready if box.uid == pod["metadata"]["uid"]]
    if len(boxes) != 1:
        return [f"{name} has {len(boxes)} sandboxes"]
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions", ())}
    found = [] if conditions.get("Ready") == "True" else [f"{name} is not ready"]
    if status.get("podIP") != boxes[0].ips[0]:
        found.append(f"{name} says {status.get('podIP')}, not {boxes[0].ips[0]}")
    runs = {
        container.name: f"containerd://{container.id}"
        for container in truth.containers
        if container.state == "Running" and container.sandbox_id == boxes[0].id
    }
    said = {
        entry["name"]: entry.get("containerID")
        for entry in status.get("containerStatuses", ())
        if "running" in entry["state"]
    }
    if runs != said:
        found.append(f"{name} runs {runs}, and says {said}")
    return found


def is_over(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _job_problems(pod: Object, truth: Truth) -> list[str]:
    """It comes to its end, and tells with what."""
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    if not is_over(pod):
        return [f"{name} is not over"]
    found = [f"{name} has a sandbox" for box in truth.ready if box.uid == uid]
    entries = pod["status"].get("containerStatuses", ())
    found += [f"{name} does not say how it ended" for entry in entries if "terminated" not in entry["state"]]
    return found


def plain(name: str, **spec: Any) -> Object:
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", FOREVER],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], **spec},
    }


def with_volumes(name: str) -> Object:
    """Two containers, a memory volume, a config map and the account's token."""
    found = plain(
        name,
        volumes=[
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "config", "configMap": {"name": "kube-root-ca.crt"}},
        ],
    )
    [main] = found["spec"]["containers"]
    main["volumeMounts"] = [
        {"name": "memory", "mountPath": "/memory"},
        {"name": "config", "mountPath": "/config"},
    ]
    main["readinessProbe"] = {"exec": {"command": ["test", "-d", "/memory"]}, "periodSeconds": 1}
    found["spec"]["containers"].append({**main, "name": "second"})
    return found


def with_init_container(name: str) -> Object:
    found = plain(name)
    [main] = found["spec"]["containers"]
    found["spec"]["initContainers"] = [{**main, "name": "init", "command": ["sleep", "0.3"]}]
    return found


def job(name: str) -> Object:
    """It runs for a moment, maybe while nobody looks."""
    found = plain(name, restartPolicy="Never")
    [main] = found["spec"]["containers"]
    main["command"] = ["sh", "-c", "sleep 0.7; exit 7"]
    return found


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    home = tmp_path_factory.mktemp("chaos")
    for cluster in running(home, "chaos"):
        world = PodWorld(cluster)
        world.wait_for_account()
        yield Storm(world, random.Random(SEED))
    assert leftovers(cluster) == []


def test_a_storm(storm: Storm) -> None:
    for _ in range(3):
        storm.create()
    storm.rest()
    end = time.monotonic() + SECONDS
    rounds = 0
    while time.monotonic() < end:
        storm.round()
        storm.rest()
        rounds += 1
    assert rounds
    for name in sorted(storm.pods):
        storm.kubectl("delete", "pod", name, "--grace-period=1", "--wait=false")
        storm._forget(name)
    storm.rest()


def test_what_was_forgotten_is_given_back(storm: Storm) -> None:
    world = storm.world
    world.create(plain("stays"))
    stays = world.until("stays", lambda pod: pod["status"]["phase"] == "Running")["metadata"]["uid"]
    node = find_node(node_directory(world.cluster))
    assert node is not None
    lost = f"/{NETWORK_NAMESPACES}/cni-lost"
    script = f"touch {lost} && unshare --net={lost} true && printf 'forgotten\\r\\neth0' > /var/lib/cni/networks/tiphys/10.91.0.99"
    subprocess.run([*node.enter, "sh", "-c", script], check=True)
    before = look(world.cluster).leaks({stays})
    assert "addresses {'10.91.0.99'}" in before
    assert "2 network namespaces, not 1" in before
    kill(*processes(world.cluster, "containerd", "config.toml"))

    def is_clean() -> bool:
        try:
            return look(world.cluster).leaks({stays}) == []
        except RuntimeFailure:
            return False

    wait_for(is_clean, "what was forgotten is gone", seconds=300)
    assert world.pod("stays")["status"]["containerStatuses"][0]["restartCount"] == 0
    world.cluster.kubectl("delete", "pod", "stays")
    storm.rest()


def test_while_the_api_is_away_pods_run_on(storm: Storm) -> None:
    """What ends is started again, and the API learns of it when it is back."""
    world = storm.world
    worker = plain("works")
    [main] = worker["spec"]["containers"]
    main["command"] = ["sleep", "42424242"]
    world.create(worker)
    uid = world.until("works", lambda pod: pod["status"]["phase"] == "Running")["metadata"]["uid"]
    away = processes(world.cluster, *VICTIMS["control plane"])
    for pid in away:
        os.kill(pid, signal.SIGSTOP)
    try:
        # It has a process namespace of its own, so that it is none of the node's processes.
        [pid] = [pid for pid, line in weather.command_lines() if line == "sleep 42424242"]
        kill(pid)

        def attempts() -> list[int]:
            alive = [each for each in look(world.cluster).containers if each.state == "Running"]
            return [each.attempt for each in alive if each.labels["io.kubernetes.pod.uid"] == uid]

        wait_for(lambda: attempts() == [1], "it runs again")
    finally:
        for pid in away:
            os.kill(pid, signal.SIGCONT)
    again = world.until("works", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    last = again["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "Error")
    world.cluster.kubectl("delete", "pod", "works", "--grace-period=1")
    storm.rest()
