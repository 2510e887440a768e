"""The kubelet's pages of numbers, over simulated nodes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from node_world import NODE, NodeWorld

from tiphys.api.core.kubelet_requests import NODE_HEADER
from tiphys.client.resources import PODS
from tiphys.kubelet.access import KubeletAccess, Question, Reviews, User
from tiphys.kubelet.hollow import HollowNode, hollow_kubelet
from tiphys.kubelet.kubelet import Dispatcher
from tiphys.kubelet.machine import simulated_machine
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.pod_metrics import PodMetrics
from tiphys.kubelet.server import KubeletServer
from tiphys.kubelet.stats.endpoints import StatsEndpoints
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.simulated_meter import SimulatedMeter
from tiphys.kubelet.stats.usage import PodUsage
from tiphys.machinery import meta
from tiphys.machinery.metrics import Registry
from tiphys.net.http import Connection, Request, Response

ADMINISTRATOR = User("kube-apiserver-kubelet-client", ("system:masters",))
REQUESTS = {"requests": {"cpu": "500m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}


class Everybody(Reviews):
    async def user_of(self, token: str) -> User | None:
        return None

    async def is_allowed(self, question: Question) -> bool:
        return True


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    await world.start()
    world.create({"containers": [{"name": "main", "image": "busybox", "resources": REQUESTS}]})
    await world.settle(2)
    yield world
    await world.stop()


@pytest.fixture
def kubelets(world: NodeWorld) -> Dispatcher:
    kubelets = Dispatcher()
    kubelets.add(world.kubelet)
    return kubelets


@pytest.fixture
def server(world: NodeWorld, kubelets: Dispatcher) -> KubeletServer:
    stats = StatsEndpoints(kubelets, world.clock, world.kubelet.host.metrics)
    access = KubeletAccess(Everybody(), world.clock)
    return KubeletServer(kubelets, world.clock, access, pages=stats.pages, answered=stats.answered)


async def ask(server: KubeletServer, target: str, **headers: str) -> Response:
    connection = Connection(peer_certificate=b"verified")
    connection.context = ADMINISTRATOR
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await server.handle(Request("GET", target, named, connection=connection))


async def told(server: KubeletServer, target: str, **headers: str) -> Any:
    response = await ask(server, target, **headers)
    assert response.status == 200
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


async def series(server: KubeletServer, target: str) -> dict[str, str]:
    """Each sample's value, by name and labels."""
    response = await ask(server, target)
    assert response.status == 200
    assert isinstance(response.body, bytes)
    assert response.headers == [
        ("content-type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
    ]
    lines = [line for line in response.body.decode().splitlines() if not line.startswith("#")]
    return dict(line.rsplit("} ", 1) if "}" in line else line.split(" ", 1) for line in lines)


async def test_summary(server: KubeletServer) -> None:
    found = await told(server, "/stats/summary")
    assert found["node"]["nodeName"] == NODE
    assert found["node"]["fs"]["capacityBytes"] > 0
    [pod] = found["pods"]
    assert pod["podRef"]["name"] == "web"
    [container] = pod["containers"]
    assert container["cpu"]["usageNanoCores"] == 250_000_000
    assert container["memory"]["workingSetBytes"] == 64 << 20
    assert container["memory"]["availableBytes"] == 192 << 20
    assert container["rootfs"]["usedBytes"] > 0


async def test_what_is_not_known_at_the_first_look_is_looked_at_again(
    server: KubeletServer, world: NodeWorld
) -> None:
    meter = world.kubelet.host.meter

    class Forgetful(SimulatedMeter):
        looks = 0

        def pods(self, pods: Iterable[MeasuredPod]) -> dict[str, PodUsage]:
            self.looks += 1
            found = meter.pods(pods)
            if self.looks > 1:
                return found
            return {
                uid: replace(
                    usage,
                    containers=tuple(replace(one, cpu_nano_cores=None) for one in usage.containers),
                )
                for uid, usage in found.items()
            }

    world.kubelet.host.meter = Forgetful(world.runtime, simulated_machine(), world.clock)
    answer = asyncio.create_task(told(server, "/stats/summary?only_cpu_and_memory=true"))
    await world.clock.advance(1)
    [pod] = (await answer)["pods"]
    assert pod["containers"][0]["cpu"]["usageNanoCores"] == 250_000_000


@pytest.mark.parametrize("value", ["true", "1", "T"])
async def test_summary_of_cpu_and_memory(server: KubeletServer, value: str) -> None:
    found = await told(server, f"/stats/summary?only_cpu_and_memory={value}")
    assert "fs" not in found["node"]
    assert "rootfs" not in found["pods"][0]["containers"][0]


async def test_resource_metrics_have_the_times_of_their_measurements(
    server: KubeletServer, world: NodeWorld
) -> None:
    found = await series(server, "/metrics/resource")
    labels = 'container="main",namespace="default",pod="web"'
    now = round(world.clock.now().timestamp() * 1000)
    assert found[f"container_memory_working_set_bytes{{{labels}"] == f"6.7108864e+07 {now}"
    assert found['pod_memory_working_set_bytes{namespace="default",pod="web"'] == f"6.7108864e+07 {now}"
    assert f"container_cpu_usage_seconds_total{{{labels}" in found
    assert f"container_start_time_seconds{{{labels}" in found
    assert {"node_cpu_usage_seconds_total", "node_memory_working_set_bytes"} <= set(found)
    assert found["resource_scrape_error"] == "0"


async def test_cadvisor_metrics_have_cadvisors_labels(server: KubeletServer, world: NodeWorld) -> None:
    found = await series(server, "/metrics/cadvisor")
    [id] = world.runtime.running_containers("default", "web")
    uid = world.pod()["metadata"]["uid"]
    labels = (
        f'container="main",id="/kubepods/pod{uid}/{id}",image="docker.io/library/busybox:latest",name="{id}",'
        'namespace="default",pod="web"'
    )
    assert found[f"container_memory_rss{{{labels}"].startswith("6.7108864e+07 ")
    assert (
        f'container_cpu_usage_seconds_total{{container="main",cpu="total",{labels.partition(",")[2]}' in found
    )
    of_node = 'container="",id="/",image="",name="",namespace="",pod=""'
    assert f"container_memory_working_set_bytes{{{of_node}" in found
    assert any(name.startswith("machine_memory_bytes") for name in found)
    assert found["container_scrape_error"] == "0"


async def test_what_the_kubelet_counts(server: KubeletServer) -> None:
    await ask(server, "/pods")
    found = await series(server, "/metrics")
    assert found[f'kubelet_node_name{{node="{NODE}"'] == "1"
    assert found["kubelet_running_pods"] == "1"
    assert found['kubelet_running_containers{container_state="running"'] == "1"
    assert found["kubelet_started_pods_total"] == "1"
    assert found['kubelet_started_containers_total{container_type="container"'] == "1"
    assert found["kubelet_pod_start_duration_seconds_count"] == "1"
    for name in (
        "pod_start_sli_duration_seconds",
        "pod_worker_start_duration_seconds",
        "containers_per_pod_count",
    ):
        assert found[f"kubelet_{name}_count"] == "1"
    assert found['kubelet_run_podsandbox_duration_seconds_count{runtime_handler=""'] == "1"
    assert int(found["kubelet_pod_status_sync_duration_seconds_count"]) >= 1
    assert (found['kubelet_desired_pods{static=""'], found['kubelet_desired_pods{static="true"']) == (
        "1",
        "0",
    )
    assert found["kubelet_mirror_pods"] == "0"
    assert found['kubelet_working_pods{config="desired",lifecycle="sync",static=""'] == "1"
    request = 'long_running="false",method="GET",path="pods",server_type="readwrite"'
    assert found[f"kubelet_http_requests_total{{{request}"] == "1"


async def test_pods_that_end_are_at_another_stage(server: KubeletServer, world: NodeWorld) -> None:
    hooks = {"preStop": {"sleep": {"seconds": 10}}}
    slow = {"name": "main", "image": "busybox", "lifecycle": hooks}
    world.create(
        {"containers": [slow], "ephemeralContainers": [{"name": "debugger", "image": "busybox"}]}, name="slow"
    )
    await world.settle(5)
    found = await series(server, "/metrics")
    assert found["kubelet_managed_ephemeral_containers"] == "1"
    await world.client.delete(PODS, "slow", "default")
    await world.settle(5)
    labels = 'kubelet_working_pods{{config="desired",lifecycle="{}",static=""'
    found = await series(server, "/metrics")
    assert (found[labels.format("sync")], found[labels.format("terminating")]) == ("1", "1")
    await world.settle(60)
    found = await series(server, "/metrics")
    assert found[labels.format("sync")] == "1"
    assert labels.format("terminating") not in found


async def test_what_nobody_can_hasten_is_not_counted(world: NodeWorld) -> None:
    clock, registry = world.clock, Registry()
    created = meta.format_time(clock.now())
    pod = {"metadata": {"creationTimestamp": created}, "spec": {"containers": []}}
    counted = PodMetrics(KubeletMetrics(registry), clock, pod)
    for pause in (2, 4):
        await clock.advance(pause)
        counted.pull_began()
        await clock.advance(3)
        counted.pull_ended()
    ended = {"startedAt": created, "finishedAt": meta.format_time(clock.now() - timedelta(seconds=7))}
    await clock.advance(8)
    status = {"phase": "Running", "initContainerStatuses": [{"state": {"terminated": ended}}]}
    counted.reported(pod, status)
    page = registry.render().decode()
    # Of 20 seconds, pulls took ten, from the beginning of the first to the end of the last, and the init container five.
    for name, seconds in (("total", 20), ("sli", 5)):
        found = page.partition(f"\nkubelet_pod_start_{name}_duration_seconds_sum ")[2].split("\n")[0]
        assert float(found) == pytest.approx(seconds, abs=0.1)


async def test_one_address_of_many_nodes(
    server: KubeletServer, world: NodeWorld, kubelets: Dispatcher
) -> None:
    other = hollow_kubelet(
        HollowNode("node-2", 1, ("127.90.0.11",), 10250), world.client, world.kubelet._pods, world.clock
    )
    kubelets.add(other)
    assert (await ask(server, "/stats/summary")).status == 400
    header = {NODE_HEADER.replace("-", "_"): "node-2"}
    found = await told(server, "/stats/summary", **header)
    assert found["node"]["nodeName"] == "node-2"
    assert found["pods"] == []
    assert (await told(server, "/pods", **header))["items"] == []


async def test_nothing_else_is_there(server: KubeletServer) -> None:
    assert (await ask(server, "/stats/everything")).status == 404
    assert (await ask(server, "/metrics/else")).status == 404
