"""What a service proxy says of itself: whether it is well, and what it counts."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tiphys.client.cache import Cache
from tiphys.client.client import Client
from tiphys.client.reflector import Informers
from tiphys.client.resources import ENDPOINTSLICES, NODES, SERVICES
from tiphys.machinery.metrics import Registry
from tiphys.net.client import ClientResponse, ConnectError, HTTPClient
from tiphys.net.http import Request, Response
from tiphys.proxy.backends import Place
from tiphys.proxy.flows import Flow
from tiphys.proxy.health import ProxyHealth
from tiphys.proxy.health_ports import HealthPorts
from tiphys.proxy.local_endpoints import Local, local_of
from tiphys.proxy.metrics import ProxyMetrics
from tiphys.proxy.packet_filter import PacketFilterError
from tiphys.proxy.proxy import LAST_CHANGE, Proxy
from tiphys.proxy.rules import Node
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import FakeClock

HOST = "127.0.9.7"
"""Where no connection begins that could have the port that was free a moment ago."""
LABELS = {"kubernetes.io/service-name": "web"}
SERVICE: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "protocol": "TCP"}]},
}


def node(zone: str = "", **more: Any) -> dict[str, Any]:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    return {"metadata": {"name": "n1", "labels": labels, "resourceVersion": "1"}, **more}


def slice(*zones: str, changed: str = "") -> dict[str, Any]:
    """One endpoint for each zone."""
    endpoints = [
        {"addresses": [f"10.91.0.{at}"], "conditions": {}, "hints": {"forZones": [{"name": zone}]}}
        for at, zone in enumerate(zones, 1)
    ]
    return {
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "labels": LABELS,
            "annotations": {LAST_CHANGE: changed} if changed else {},
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    }


class Taken:
    """A packet filter that takes everything, or nothing."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.is_broken = False

    async def apply(self, text: str) -> None:
        if self.is_broken:
            raise PacketFilterError("broken")
        self.texts.append(text)

    async def forget(self, flow: Flow) -> None:
        pass


class Running:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.registry = Registry()
        self.filter = Taken()
        self.api = FakeAPI(clock=self.clock)
        self.client = Client(self.api)
        self.nodes = Cache(NODES)
        metrics = ProxyMetrics(self.registry)
        self.health = ProxyHealth(self.clock, metrics)
        self.informers = Informers(self.client, clock=self.clock)
        self.proxy = Proxy(
            self.informers,
            Node(Place("n1"), ("10.90.0.11",)),
            self.filter,
            clock=self.clock,
            metrics=metrics,
            health=self.health,
            nodes=self.nodes,
        )

    def counted(self, name: str) -> float:
        """The sum of its series."""
        lines = self.registry.render().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def asked(self, path: str = "/healthz") -> tuple[int, dict[str, Any]]:
        answer = ask(self.health, path)
        assert isinstance(answer.body, bytes)
        return answer.status, json.loads(answer.body)


def ask(health: ProxyHealth, path: str) -> Response:
    return health.handle(Request("GET", path))


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    made = Running()
    task = asyncio.create_task(made.proxy.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await made.informers.stop()


async def test_it_is_well_as_long_as_it_keeps_up(running: Running) -> None:
    clock = running.clock
    await clock.advance(1)
    code, said = running.asked()
    assert code == 200
    assert said == {
        "lastUpdated": said["currentTime"],
        "currentTime": said["currentTime"],
        "nodeEligible": True,
    }
    assert said["currentTime"].endswith(" +0000 UTC")
    running.filter.is_broken = True
    await running.client.create(SERVICES, SERVICE)
    await clock.advance(30)
    assert running.asked()[0] == 200, "late, but not too late"
    await clock.advance(31)
    code, said = running.asked()
    assert (code, said["nodeEligible"]) == (503, True)
    assert said["lastUpdated"] < said["currentTime"]
    assert running.asked("/livez")[0] == 503
    assert running.counted("kubeproxy_sync_proxy_rules_nftables_sync_failures_total") > 0
    running.filter.is_broken = False
    await clock.advance(61)
    assert running.asked("/livez")[0] == 200
    assert "nodeEligible" not in running.asked("/livez")[1]
    assert ask(running.health, "/other").status == 404
    assert running.counted("kubeproxy_proxy_healthz_total") == 3


@pytest.mark.parametrize(
    "leaving",
    [
        {"metadata": {"name": "n1", "resourceVersion": "2", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}},
        None,
    ],
)
async def test_a_node_that_leaves_gets_no_more(running: Running, leaving: dict[str, Any] | None) -> None:
    running.nodes.apply("ADDED", node())
    await running.clock.advance(1)
    assert running.asked()[0] == 200
    running.nodes.apply("MODIFIED" if leaving else "DELETED", {**node(), **(leaving or {})})
    code, said = running.asked()
    assert (code, said["nodeEligible"]) == (503, False)
    assert running.asked("/livez")[0] == 200, "the proxy itself is well"
    running.nodes.apply("MODIFIED" if leaving else "ADDED", node())
    assert running.asked()[0] == 200


async def test_it_counts_what_it_does(running: Running) -> None:
    clock = running.clock
    await clock.advance(1)
    assert running.counted("kubeproxy_sync_full_proxy_rules_duration_seconds_count") == 1
    changed = clock.now().isoformat().replace("+00:00", "Z")
    await running.client.create(SERVICES, SERVICE)
    await running.client.create(ENDPOINTSLICES, slice("east", changed=changed))
    await clock.advance(4)
    assert running.counted("kubeproxy_sync_proxy_rules_service_changes_total") == 1
    assert running.counted("kubeproxy_sync_proxy_rules_endpoint_changes_total") == 1
    assert running.counted("kubeproxy_sync_proxy_rules_endpoint_changes_pending") == 0
    assert running.counted("kubeproxy_sync_partial_proxy_rules_duration_seconds_count") >= 1
    assert running.counted("kubeproxy_network_programming_duration_seconds_count") == 1
    last = running.counted("kubeproxy_sync_proxy_rules_last_timestamp_seconds")
    assert running.counted("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds") <= last


async def test_the_zone_is_the_nodes(running: Running) -> None:
    """Which endpoints are near changes when the node's label does."""
    await running.client.create(SERVICES, SERVICE)
    await running.client.create(ENDPOINTSLICES, slice("east", "west"))
    await running.clock.advance(1)
    assert "any-of-2" in "".join(running.filter.texts)
    running.filter.texts.clear()
    running.nodes.apply("ADDED", node("west"))
    await running.clock.advance(1)
    assert "any-of-1" in "".join(running.filter.texts)
    assert "10.91.0.2" in "".join(running.filter.texts)


def balanced(port: int, **more: Any) -> dict[str, Any]:
    spec = {**SERVICE["spec"], "type": "LoadBalancer", "externalTrafficPolicy": "Local"}
    return {**SERVICE, "spec": {**spec, "healthCheckNodePort": port, **more}}


def there(*nodes: str, ready: bool = True) -> dict[str, Any]:
    made = slice(*nodes)
    for endpoint, name in zip(made["endpoints"], nodes, strict=True):
        endpoint |= {"nodeName": name, "conditions": {"ready": ready}}
    return made


def test_what_is_here() -> None:
    place = Place("n1")
    assert local_of(balanced(30123), [there("n1", "n2", "n1")], place) == Local(30123, 2)
    assert local_of(balanced(30123), [there("n2")], place) == Local(30123, 0, ("external",))
    assert local_of(balanced(30123), [there("n1", ready=False)], place) == Local(30123, 0)
    assert local_of(balanced(30123, type="NodePort"), [there("n1")], place) == Local(0, 1)
    inside = balanced(30123, externalTrafficPolicy="Cluster", internalTrafficPolicy="Local")
    assert local_of(inside, [there("n2")], place) == Local(0, 0, ("internal",))
    assert local_of(SERVICE, [there("n1")], place) == Local()


def free_port() -> int:
    with socket.create_server((HOST, 0)) as sock:
        return int(sock.getsockname()[1])


async def test_a_load_balancer_asks_who_is_here() -> None:
    health = ProxyHealth(FakeClock())
    ports = HealthPorts(health, HOST)
    port, client = free_port(), None

    async def asked() -> ClientResponse:
        assert client is not None
        return await client.request("GET", "/anything")

    await ports.follow({"shop/web": Local(port, 2), "shop/other": Local(0, 1)})
    client = HTTPClient(f"http://{HOST}:{port}")
    answer = await asked()
    assert answer.status == 200
    assert answer.body.decode().splitlines()[:3] == ["{", '\t"service": {', '\t\t"namespace": "shop",']
    assert json.loads(answer.body) == {
        "service": {"namespace": "shop", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }
    assert answer.headers["x-load-balancing-endpoint-weight"] == "2"
    await ports.follow({"shop/web": Local(port, 0)})
    assert (await asked()).status == 503
    # A port that somebody has leaves the others as they are; when it is free, it is opened.
    with socket.create_server((HOST, 0)) as sock:
        taken = sock.getsockname()[1]
        both = {"shop/web": Local(port, 1), "shop/late": Local(taken, 1)}
        await ports.follow(both)
        assert (await asked()).status == 200
    await ports.follow(both)
    late = HTTPClient(f"http://{HOST}:{taken}")
    assert json.loads((await late.request("GET", "/")).body)["service"]["name"] == "late"
    await ports.close()
    with pytest.raises(ConnectError):
        await late.request("GET", "/")
    await late.close()
    await client.close()


async def test_services_with_nobody_here_are_counted(running: Running) -> None:
    await running.client.create(SERVICES, balanced(0))
    await running.client.create(ENDPOINTSLICES, there("n2"))
    await running.clock.advance(1)
    assert running.counted("kubeproxy_sync_proxy_rules_no_local_endpoints_total") == 1
    await running.client.delete(SERVICES, "web", "shop")
    await running.clock.advance(1)
    assert running.counted("kubeproxy_sync_proxy_rules_no_local_endpoints_total") == 0
