"""Real rules in real network namespaces: a client outside, a node, and two pods on it, each a namespace of its own.

outside 10.90.0.1 ──── 10.90.0.11 node 10.91.0.1 ──┬── 10.91.0.2 pod
                                                   └── 10.91.0.3 pod
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tiphys.client.client import Client
from tiphys.client.reflector import Informers
from tiphys.client.resources import ENDPOINTSLICES, SERVICES
from tiphys.cluster.holder import end_holder, start_holder
from tiphys.kubelet.runtimes import network_namespace
from tiphys.machinery.clock import SystemClock
from tiphys.proxy.backends import Place
from tiphys.proxy.flows import Flow
from tiphys.proxy.packet_filter import PacketFilter, PacketFilterError, has_address
from tiphys.proxy.proxy import Proxy
from tiphys.proxy.rules import Node
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import FakeClock

pytestmark = pytest.mark.real

PATIENCE_SECONDS = 60.0
ANSWER_SECONDS = 10.0
"""A connection that was begun while there were no rules leads nowhere for ever: then another one is made."""
NODE = Node(Place("n1"), ("10.90.0.11",), pod_cidr="10.91.0.0/24", service_cidr="10.96.0.0/16")
Object = dict[str, Any]


class Wires:
    """The namespaces, by name: paths of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.pids = {
            name: start_holder(directory / name, ["--net"], "") for name in ("outside", "node", "a", "b")
        }
        node = self.pids["node"]
        self._ip(
            "outside", f"link add up0 type veth peer name up0 netns {node}", *self._up("up0", "10.90.0.1/24")
        )
        bridge = ["link add cni0 type bridge", *self._up("cni0", "10.91.0.1/24")]
        self._ip("node", "link set lo up", *self._up("up0", "10.90.0.11/24"), *bridge)
        self._ip("node", "route add 10.96.0.0/16 dev lo src 10.90.0.11", "addr add 10.90.0.200/32 dev lo")
        self._ip(
            "outside",
            "link set lo up",
            "route add 10.96.0.0/16 via 10.90.0.11",
            "route add 10.91.0.0/24 via 10.90.0.11",
        )
        for name, address in (("a", "10.91.0.2/24"), ("b", "10.91.0.3/24")):
            self._ip(
                name, f"link add eth0 type veth peer name p{name} netns {node}", *self._up("eth0", address)
            )
            self._ip(name, "link set lo up", "route add default via 10.91.0.1")
            self._ip(
                "node", f"link set p{name} master cni0 up", f"link set p{name} type bridge_slave hairpin on"
            )
        settings = "net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1"
        self.run("node", f"sysctl -q -w {settings}")

    def path(self, name: str) -> Path:
        return Path(f"/proc/{self.pids[name]}/ns/net")

    def run(self, name: str, script: str, input: str = "") -> str:
        enter = ["nsenter", f"--net={self.path(name)}", "--", "sh", "-ec", script]
        done = subprocess.run(enter, input=input, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _ip(self, name: str, *commands: str) -> None:
        self.run(name, "ip -batch -", "\n".join(commands) + "\n")

    def _up(self, link: str, address: str) -> list[str]:
        return [f"addr add {address} dev {link}", f"link set {link} up"]

    def close(self) -> None:
        for name in self.pids:
            end_holder(self._directory / name)


class NodesFilter(PacketFilter):
    """nft runs inside the node, while the test does not. Counts what it does, and fails when it is told to."""

    def __init__(self, wires: Wires) -> None:
        self.wires = wires
        self.applied: list[str] = []
        self.forgotten: list[Flow] = []
        self.done = asyncio.Event()

    async def apply(self, text: str) -> None:
        try:
            await asyncio.to_thread(self.wires.run, "node", "nft -f -", text)
        except AssertionError as error:
            raise PacketFilterError(str(error)) from None
        self.applied.append(text)
        self.done.set()

    async def forget(self, flow: Flow) -> None:
        command = f"conntrack {' '.join(flow.arguments)} || true"
        await asyncio.to_thread(self.wires.run, "node", command)
        self.forgotten.append(flow)


@pytest.fixture(scope="module")
def wires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    wires = Wires(tmp_path_factory.mktemp("wires"))
    yield wires
    wires.close()


class Net:
    """The proxy at work on the node, over an API in memory."""

    def __init__(self, wires: Wires) -> None:
        self.wires = wires
        self.api = FakeAPI(clock=FakeClock())
        self.filter = NodesFilter(wires)
        self._task: asyncio.Task[None] | None = None
        self._informers: Informers | None = None

    async def start(self) -> None:
        clock = SystemClock()
        self._informers = Informers(Client(self.api), clock=clock)
        self._task = asyncio.create_task(Proxy(self._informers, NODE, self.filter, clock=clock).run())

    async def stop(self) -> None:
        if self._task is not None and self._informers is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._informers.stop()

    def service(self, name: str, ip: str, *ports: Object, **spec: Any) -> None:
        filled = [{"protocol": "TCP", "port": 80, **port} for port in ports or ({},)]
        metadata = {"name": name, "namespace": "default"}
        self.api.put(
            SERVICES,
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": filled, **spec},
            },
        )

    def endpoints(self, name: str, *addresses: str, port: int = 8080, protocol: str = "TCP") -> None:
        self.api.put(
            ENDPOINTSLICES,
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": name,
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "endpoints": [
                    {"addresses": [address], "conditions": {"ready": True}, "nodeName": "n1"}
                    for address in addresses
                ],
                "ports": [{"name": "", "port": port, "protocol": protocol}],
            },
        )

    async def ask(self, where: str, host: str, port: int) -> str:
        """What the server says: its name and whom it sees; or why there is none."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                sock = await network_namespace.connect(self.wires.path(where), host, port)
                with sock:
                    return (await asyncio.get_running_loop().sock_recv(sock, 100)).decode()
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:  # before there are any rules
            return f"{error}"

    async def until(self, where: str, host: str, port: int, is_so: Callable[[str], bool]) -> None:
        """Asks until the answer is so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so(await self.ask(where, host, port)):
                await asyncio.sleep(0.02)

    async def until_thrown_away(self, where: str, host: str, port: int) -> None:
        """Until a connection is not answered, however long one waits: neither made nor refused."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    async with asyncio.timeout(0.5):
                        (await network_namespace.connect(self.wires.path(where), host, port)).close()
                except TimeoutError:
                    return
                await asyncio.sleep(0.02)

    async def until_applied(self) -> None:
        """Until what was just written is in the packet filter. Call it without waiting for anything else in between."""
        before = len(self.filter.applied)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.filter.applied) == before:
                self.filter.done.clear()
                await self.filter.done.wait()

    async def servers_seen(self, where: str, host: str, port: int, count: int) -> set[str]:
        """Asks until so many servers have answered."""
        seen: set[str] = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(seen) < count:
                seen.add((await self.ask(where, host, port)).partition(" ")[0])
        return seen


@pytest.fixture
async def net(wires: Wires) -> AsyncIterator[Net]:
    net = Net(wires)
    servers = []
    for name, address in (("a", "10.91.0.2"), ("b", "10.91.0.3"), ("node", "10.90.0.11")):
        sock = network_namespace.listen(wires.path(name), address, 8080)
        servers.append(await asyncio.start_server(_greeter(name), sock=sock))
    yield net
    await net.stop()
    for server in servers:
        server.close()
    wires.run("node", "nft delete table ip tiphys-proxy; conntrack -F")


def _greeter(name: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name} sees {writer.get_extra_info('peername')[0]}".encode())
        with contextlib.suppress(OSError):
            await writer.drain()
            writer.close()

    return greet


def is_answer(said: str) -> bool:
    return "sees" in said


async def test_a_cluster_address_leads_to_all_that_are_ready(net: Net) -> None:
    net.service("web", "10.96.0.7")
    net.endpoints("web", "10.91.0.2", "10.91.0.3")
    await net.start()
    await net.until("a", "10.96.0.7", 80, is_answer)
    for where in ("a", "node"):
        assert await net.servers_seen(where, "10.96.0.7", 80, 2) == {"a", "b"}
    net.endpoints("web", "10.91.0.3")
    await net.until("a", "10.96.0.7", 80, lambda said: said == "b sees 10.91.0.2")
    # A pod that asks for itself must not see its own address as that of the asker, or it would answer itself.
    await net.until("b", "10.96.0.7", 80, lambda said: said == "b sees 10.91.0.1")


async def test_nobody_there_nobody_known_and_no_such_port(net: Net) -> None:
    net.service("empty", "10.96.0.7", externalIPs=["10.90.0.200"])
    net.service("web", "10.96.0.8")
    net.endpoints("web", "10.91.0.2")
    await net.start()
    await net.until("a", "10.96.0.8", 80, is_answer)
    for where in ("a", "node"):
        assert await net.ask(where, "10.96.0.7", 80) == "refused"
        assert await net.ask(where, "10.96.0.8", 81) == "refused"
        assert await net.ask(where, "10.96.99.99", 80) == "refused"
    assert await net.ask("outside", "10.90.0.200", 80) == "refused"
    net.endpoints("empty", "10.91.0.3")
    await net.until("a", "10.96.0.7", 80, is_answer)
    net.api.put(SERVICES, {**net.api.objects(SERVICES)[0], "spec": {"clusterIP": "None", "ports": []}})
    await net.until("a", "10.96.0.7", 80, lambda said: said == "refused")


async def test_from_outside(net: Net) -> None:
    net.service("web", "10.96.0.7", {"nodePort": 30080}, externalIPs=["10.90.0.200"], type="NodePort")
    net.endpoints("web", "10.91.0.2", "10.91.0.3")
    local: Object = {"externalTrafficPolicy": "Local", "type": "NodePort"}
    net.service("near", "10.96.0.8", {"nodePort": 30081}, **local)
    net.endpoints("near", "10.91.0.2")
    await net.start()
    await net.until("outside", "10.90.0.11", 30080, is_answer)
    assert await net.servers_seen("outside", "10.90.0.11", 30080, 2) == {"a", "b"}
    assert (await net.ask("outside", "10.90.0.200", 80)).endswith("sees 10.91.0.1")
    assert is_answer(await net.ask("a", "10.90.0.11", 30080))
    assert is_answer(await net.ask("node", "10.90.0.11", 30080))
    assert await net.ask("outside", "10.90.0.11", 30081) == "a sees 10.90.0.1"


async def test_only_those_who_may_come_by_a_load_balancer(net: Net) -> None:
    ingress: Object = {"loadBalancer": {"ingress": [{"ip": "10.90.0.200"}]}}

    def allow(*ranges: str) -> None:
        net.service("web", "10.96.0.7", type="LoadBalancer", loadBalancerSourceRanges=list(ranges))
        net.api.put(SERVICES, {**net.api.objects(SERVICES)[0], "status": ingress})

    allow("10.90.0.1/32", "10.90.0.0/28")
    net.endpoints("web", "10.91.0.2")
    await net.start()
    await net.until("outside", "10.90.0.200", 80, is_answer)
    allow("10.90.0.99/32")
    for where in ("outside", "a"):
        await net.until_thrown_away(where, "10.90.0.200", 80)
    assert is_answer(await net.ask("outside", "10.96.0.7", 80)), "it is about the load balancer's address"
    allow("10.90.0.0/24")
    await net.until("outside", "10.90.0.200", 80, is_answer)


async def test_a_client_comes_back_to_where_it_was(net: Net) -> None:
    affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}}}
    net.service("web", "10.96.0.7", {"nodePort": 30080}, **affinity)
    net.endpoints("web", "10.91.0.2", "10.91.0.3")
    await net.start()
    await net.until("outside", "10.90.0.11", 30080, is_answer)
    first = (await net.ask("outside", "10.90.0.11", 30080)).partition(" ")[0]
    again = {(await net.ask("outside", "10.90.0.11", 30080)).partition(" ")[0] for _ in range(20)}
    again |= {(await net.ask("outside", "10.96.0.7", 80)).partition(" ")[0] for _ in range(20)}
    assert again == {first}
    # Another one comes, and he stays; his own goes, and he moves.
    net.endpoints("web", "10.91.0.2", "10.91.0.3", "10.90.0.11")
    await net.until_applied()
    again = {(await net.ask("outside", "10.90.0.11", 30080)).partition(" ")[0] for _ in range(20)}
    assert again == {first}
    net.endpoints("web", {"a": "10.91.0.3", "b": "10.91.0.2"}[first])
    await net.until("outside", "10.90.0.11", 30080, lambda said: not said.startswith(first))


async def test_affinity_comes_and_goes(net: Net) -> None:
    net.service("web", "10.96.0.7")
    net.endpoints("web", "10.91.0.2", "10.91.0.3")
    await net.start()
    await net.until("node", "10.96.0.7", 80, is_answer)
    for _ in range(2):
        net.service("web", "10.96.0.7", sessionAffinity="ClientIP")
        await net.until_applied()
        assert len({(await net.ask("node", "10.96.0.7", 80)).partition(" ")[0] for _ in range(20)}) == 1
        net.service("web", "10.96.0.7", sessionAffinity="None")
        await net.until_applied()
        assert await net.servers_seen("node", "10.96.0.7", 80, 2) == {"a", "b"}
    assert "clients/" not in net.wires.run("node", "nft list table ip tiphys-proxy")


async def test_a_proxy_that_was_killed_leaves_nothing_stale(net: Net) -> None:
    net.service("web", "10.96.0.7")
    net.endpoints("web", "10.91.0.2")
    await net.start()
    await net.until("a", "10.96.0.7", 80, is_answer)
    await net.stop()
    assert is_answer(await net.ask("a", "10.96.0.7", 80)), "without the proxy rules and connections stay"
    net.api.put(SERVICES, {**net.api.objects(SERVICES)[0], "spec": {"clusterIP": "None", "ports": []}})
    net.service("other", "10.96.0.9")
    net.endpoints("other", "10.91.0.3")
    await net.start()
    await net.until("a", "10.96.0.9", 80, is_answer)
    assert await net.ask("a", "10.96.0.7", 80) == "refused"
    listed = net.wires.run("node", "nft list table ip tiphys-proxy")
    assert "10.96.0.7" not in listed


async def test_small_steps_and_a_whole_table_after_a_failure(net: Net) -> None:
    net.service("web", "10.96.0.7")
    net.endpoints("web", "10.91.0.2")
    await net.start()
    await net.until("a", "10.96.0.7", 80, is_answer)
    net.endpoints("web", "10.91.0.3")
    await net.until("a", "10.96.0.7", 80, lambda said: said.startswith("b "))
    assert all("delete table" not in text for text in net.filter.applied[1:])
    # Somebody takes the rules away: the next step fails, and all are made again.
    net.wires.run("node", "nft flush ruleset")
    net.endpoints("web", "10.91.0.2")
    await net.until("a", "10.96.0.7", 80, lambda said: said.startswith("a "))


async def test_udp_flows_follow_their_endpoints(net: Net) -> None:
    net.service("dns", "10.96.0.10", {"port": 53, "protocol": "UDP"})
    servers = {
        name: network_namespace.open_socket(net.wires.path(name), kind=socket.SOCK_DGRAM) for name in "ab"
    }
    client = network_namespace.open_socket(net.wires.path("node"), kind=socket.SOCK_DGRAM)
    loop = asyncio.get_running_loop()
    with client, servers["a"], servers["b"]:
        for name, address in (("a", "10.91.0.2"), ("b", "10.91.0.3")):
            servers[name].bind((address, 5353))
        await net.start()
        client.bind(("10.90.0.11", 0))

        async def until_it_arrives(name: str) -> None:
            arrived = asyncio.ensure_future(loop.sock_recvfrom(servers[name], 100))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not arrived.done():
                    with contextlib.suppress(ConnectionRefusedError, PermissionError):
                        await loop.sock_sendto(client, b"?", ("10.96.0.10", 53))
                    await asyncio.wait([arrived], timeout=0.05)

        net.endpoints("dns", "10.91.0.2", port=5353, protocol="UDP")
        await until_it_arrives("a")
        net.endpoints("dns", "10.91.0.3", port=5353, protocol="UDP")
        await until_it_arrives("b")


def test_whose_address_it_is() -> None:
    assert has_address("127.0.0.1")
    assert not has_address("10.90.0.11")
