"""A client that nobody here wrote, in a language that is not ours: @kubernetes/client-node, as `node_client/steps.mjs` uses it.

Marked as real because it downloads (12 MB), and because two of its steps are about real containers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_cluster import Cluster

from tiphys.testing import Cluster as SimulatedCluster
from tiphys.testing import Namespace

pytestmark = pytest.mark.real
FOLDER = Path(__file__).with_name("node_client")
"""The steps, and the versions of everything they need: `npm install --package-lock-only` there pins newer ones."""
SERVER = "mkdir /www; echo ahoy > /www/index.html; exec httpd -f -p 8080 -h /www"
Step = Callable[[str], Any]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(FOLDER, tmp_path_factory.mktemp("node"), dirs_exist_ok=True)
    quiet = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts")
    subprocess.run(["npm", "ci", *quiet], cwd=folder, check=True, timeout=180)
    return Path(folder, "steps.mjs")


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedCluster]:
    with SimulatedCluster() as found:
        yield found


@pytest.fixture
def room(simulated: SimulatedCluster) -> Iterator[Namespace]:
    with simulated.namespace("node") as made:
        yield made
    simulated.pods.forget()


def take(program: Path, kubeconfig: Path, step: str, namespace: str) -> Any:
    done = subprocess.run(
        ["node", str(program), step, namespace],
        env={"PATH": os.environ["PATH"], "HOME": str(program.parent), "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def step(program: Path, room: Namespace) -> Step:
    return lambda name: take(program, room.kubeconfig, name, room.name)


@pytest.fixture
def pod(simulated: SimulatedCluster, room: Namespace) -> None:
    """One that says two lines and answers `cat`."""
    simulated.pods.behave("p", logs=["one", "two"], answers={"cat x": ("content\n", 0), "fail": ("no\n", 3)})
    containers = [{"name": "main", "image": "busybox"}]
    room.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}}
    )
    room.wait_for("pod/p")


def test_verbs(step: Step) -> None:
    assert step("verbs") == {
        "created": True,
        "listed": ["web"],
        "patched": 1,
        "scale": 1,
        "missing": [404, "NotFound"],
    }


def test_server_side_apply(step: Step) -> None:
    assert step("apply") == {
        "data": {"a": "1", "b": "2"},
        "managers": ["one", "two"],
        "conflict": [409, [".data.a"]],
    }


def test_an_informer(step: Step) -> None:
    assert step("informer") == {
        "seen": ["add before", "add during", "update during", "delete before"],
        "cached": ["during", "kube-root-ca.crt"],
    }


def test_a_watch(step: Step) -> None:
    assert step("watch") == {"told": ["ADDED chosen", "DELETED chosen"], "end": "AbortError"}


@pytest.mark.usefixtures("pod")
def test_commands(step: Step) -> None:
    assert step("exec") == {"good": ["content\n", "", "Success", ""], "bad": ["no\n", "", "Failure", "3"]}


@pytest.mark.usefixtures("pod")
def test_logs(step: Step) -> None:
    assert step("logs") == {"last": "two\n", "followed": "one\ntwo\n"}


@pytest.mark.usefixtures("pod")
def test_a_port_where_nothing_listens(step: Step) -> None:
    said = step("forward")
    assert said["output"] == ""
    assert said["err"].startswith("error forwarding port 8080 to pod ")


@pytest.mark.parametrize("what", ["forward", "attach"])
def test_streams_of_real_containers(program: Path, cluster: Cluster, namespace: str, what: str) -> None:
    at = ("-n", namespace)
    if what == "forward":
        cluster.kubectl("run", "p", "--image=busybox", *at, "--", "sh", "-c", SERVER)
    else:
        cluster.kubectl("run", "echo", "--image=busybox", *at, "--overrides", json.dumps(ECHO))
    cluster.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=300s", *at)
    kubeconfig = cluster.home / "tiphys" / cluster.name / "kubeconfig"
    said = take(program, kubeconfig, what, namespace)
    if what == "forward":
        assert said["output"].endswith("\r\n\r\nahoy\n")
    else:
        assert said == {"out": "across\n"}


ECHO = {"spec": {"containers": [{"name": "main", "image": "busybox", "command": ["cat"], "stdin": True}]}}
