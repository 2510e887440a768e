"""One kubelet process is all simulated nodes, and yet each is itself to the API server: over HTTPS, by impersonation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from served import Client as Caller
from served import running

from tiphys.apiserver.authorization.reconcile import reconcile
from tiphys.apiserver.server import APIServer
from tiphys.client.client import Client
from tiphys.client.https import HTTPSTransport
from tiphys.client.resources import NODES, PODS, SECRETS
from tiphys.cluster import blueprint
from tiphys.cluster.grants import grants
from tiphys.cluster.kubelet_process import KubeletProcess, access
from tiphys.cluster.kubelet_settings import KubeletSettings
from tiphys.cluster.layout import ClusterConfig
from tiphys.cluster.pki import Authority
from tiphys.kubelet.limited_transport import LimitedTransport
from tiphys.machinery.clock import SystemClock
from tiphys.machinery.errors import StatusError
from tiphys.net.server import Server
from tiphys.net.tls import server_context

NAMES = ["node-1", "node-2"]


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[tuple[APIServer, KubeletSettings]]:
    """A server, and what the kubelet of two simulated nodes is told."""
    config = ClusterConfig("default", 2, "sqlite", "simulated", 6443, 1)
    authority = Authority(home / "pki", datetime.now(UTC))
    authority.ensure(blueprint.leaves(config))
    files = (home / "pki" / name for name in ("apiserver.crt", "apiserver.key", "ca.crt"))
    key = authority.ensure_signing_key("service-account").read_bytes()
    async with running(SystemClock(), key) as api:
        listener = Server(api.handle, ssl_context=server_context(*map(str, files)))
        port = (await listener.listen(host="127.0.0.1", port=0)).port
        yield (
            api,
            KubeletSettings(
                node="node-1",
                nodes=NAMES,
                runtime="simulated",
                server=f"https://127.0.0.1:{port}",
                pki=str(home / "pki"),
                certificate=blueprint.kubelet_file("node-1"),
                serving=blueprint.serving_file(config, 1),
                address="127.0.0.1",
                directory=str(home),
                cgroup="/t",
                images=str(home),
                port=0,
            ),
        )
        await listener.shutdown(grace_seconds=0)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[tuple[APIServer, KubeletSettings]]:
    async with serving(tmp_path) as made:
        await reconcile(made[0], grants(NAMES))
        yield made


async def refusal(work: object) -> str:
    with pytest.raises(StatusError) as caught:
        await work  # type: ignore[misc]
    assert caught.value.code == 403
    return str(caught.value)


async def test_each_node_registers_as_itself(place: tuple[APIServer, KubeletSettings]) -> None:
    api, settings = place
    stop, seen = asyncio.Event(), asyncio.Event()
    process = asyncio.get_running_loop().create_task(KubeletProcess(settings).run(stop))
    watcher = _Count(seen, len(NAMES))
    api.writes.cache("coordination.k8s.io", "leases").watch(watcher)
    async with asyncio.timeout(60):
        await seen.wait()
    stop.set()
    await process
    nodes = (await Caller(api).get("/api/v1/nodes"))["items"]
    assert [node["metadata"]["name"] for node in nodes] == NAMES


class _Count:
    """Of new objects of kube-node-lease."""

    namespace = ""

    def __init__(self, done: asyncio.Event, wanted: int) -> None:
        self._done, self._left = done, wanted

    def deliver(self, event: object) -> None:
        self._left -= getattr(event, "type", "") == "ADDED"
        if not self._left:
            self._done.set()


async def test_a_node_may_do_what_is_its_own_and_nothing_of_its_neighbour(
    place: tuple[APIServer, KubeletSettings],
) -> None:
    api, settings = place
    transport = HTTPSTransport(access(settings))
    itself = Client(transport)
    first = Client(transport.acting_as("system:node:node-1", "system:nodes"))
    node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-1"}}
    await first.create(NODES, node)
    await Caller(api).create("/api/v1/nodes", {**node, "metadata": {"name": "node-2"}})
    labels = {"metadata": {"labels": {"a": "b"}}}
    await first.patch(NODES, "node-1", labels)
    assert "node 'node-1' cannot read 'node-2', only its own Node object" in await refusal(
        first.get(NODES, "node-2")
    )
    assert 'node "node-1" is not allowed to modify node "node-2"' in await refusal(
        first.patch(NODES, "node-2", labels)
    )
    assert "No Object name found" in await refusal(first.list(SECRETS, "kube-system"))
    # Without a node's name it sees pods, and that is all.
    await itself.list(PODS)
    assert 'User "tiphys:hollow-kubelet" cannot list resource "secrets"' in await refusal(
        itself.list(SECRETS, "kube-system")
    )
    await transport.close()


@pytest.mark.parametrize(
    ("user", "group"),
    [
        ("system:node:node-3", "system:nodes"),
        ("system:node:node-1", "system:masters"),
        ("kubernetes-admin", "system:nodes"),
    ],
)
async def test_it_can_be_nobody_but_the_cluster_s_own_nodes(
    place: tuple[APIServer, KubeletSettings], user: str, group: str
) -> None:
    transport = HTTPSTransport(access(place[1]))
    assert "cannot impersonate resource" in await refusal(Client(transport.acting_as(user, group)).list(PODS))
    await transport.close()


async def test_all_of_them_together_keep_within_one_bound() -> None:
    counted = _Counted()
    one = LimitedTransport(counted, 2)  # type: ignore[arg-type]
    other = one.sharing(counted)  # type: ignore[arg-type]
    tasks = [asyncio.ensure_future(each.request("GET", "/")) for each in (one, other, one, other)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert counted.under_way == 2
    counted.go.set()
    await asyncio.gather(*tasks)
    assert counted.most == 2


class _Counted:
    """A transport that says how many requests are under way."""

    def __init__(self) -> None:
        self.under_way = self.most = 0
        self.go = asyncio.Event()

    async def request(self, *arguments: object, **named: object) -> dict[str, object]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.go.wait()
        self.under_way -= 1
        return {}
