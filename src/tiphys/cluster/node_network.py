"""The process of a node's service network, inside that node's namespaces: the service proxy, and a name server of the cluster.

Both know Services and EndpointSlices and little else, both sleep until something changes, and neither may wait for a kubelet that is
busy with containers: so they are one process of their own (docs/decisions/0035-cluster-dns.md), each with an identity of its own. Started
by the supervisor with the path of a settings file; waits quietly for the API server; ended by SIGTERM, and then rules stay as they are.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from random import Random, SystemRandom

from tiphys.client.client import Client
from tiphys.client.https import HTTPSTransport
from tiphys.client.kubeconfig import Access
from tiphys.client.reflector import Informers, Reflector
from tiphys.client.resources import NODES
from tiphys.cluster.blueprint import CLUSTER_DNS, KUBE_PROXY
from tiphys.cluster.node_network_pages import Pages
from tiphys.cluster.node_network_settings import NodeNetworkSettings
from tiphys.dns.forwarding import Forwarder, ResolverFile
from tiphys.dns.records import Zone
from tiphys.dns.server import Resolver, Server, watch
from tiphys.machinery.clock import Clock, SystemClock
from tiphys.machinery.errors import StatusError
from tiphys.net.tls_files import LOOK_SECONDS, Pair, WatchedFiles
from tiphys.proxy.backends import Place
from tiphys.proxy.health_ports import HealthPorts
from tiphys.proxy.packet_filter import PacketFilter, has_address
from tiphys.proxy.proxy import Proxy
from tiphys.proxy.rules import Node

log = logging.getLogger("tiphys")

SERVER_RETRY_SECONDS = 0.05


class NodeNetwork:
    """Everything in this process."""

    def __init__(self, settings: NodeNetworkSettings) -> None:
        self._settings = settings
        self._clock: Clock = SystemClock()
        self._pages = Pages(self._clock)
        self._transports: list[HTTPSTransport] = []
        self._watched: list[WatchedFiles] = []

    async def run(self, stop: asyncio.Event) -> None:
        settings = self._settings
        if not has_address(settings.address):
            raise SystemExit(f"tiphys: {settings.address} is no address of this network namespace")
        proxy, names = self._client(KUBE_PROXY), self._client(CLUSTER_DNS)
        await self._pages.listen(settings.address)
        try:
            async with asyncio.TaskGroup() as group:
                work = [
                    group.create_task(self._proxy(proxy), name="service proxy"),
                    group.create_task(self._names(names), name="cluster DNS"),
                    group.create_task(self._follow_certificates(), name="certificates"),
                ]
                await stop.wait()
                for task in work:
                    task.cancel()
        finally:
            await self._pages.close()
            for transport in self._transports:
                await transport.close()

    def _client(self, user: str) -> Client:
        settings = self._settings
        pair = Pair(*(f"{settings.pki}/{user}.{kind}" for kind in ("crt", "key")))
        authority = f"{settings.pki}/ca.crt"
        access = Access(
            server=settings.server,
            certificate_authority=Path(authority).read_bytes(),
            client_certificate=Path(pair.cert_file).read_bytes(),
            client_key=Path(pair.key_file).read_bytes(),
        )
        transport = HTTPSTransport(access, user_agent=user)
        self._transports.append(transport)
        if transport.ssl_context is not None:
            self._watched.append(WatchedFiles(transport.ssl_context, pair, authority))
        return Client(transport)

    async def _proxy(self, client: Client) -> None:
        settings = self._settings
        node = Node(Place(settings.node), (settings.address,), settings.pod_cidr, settings.service_cidr)
        await self._wait_for_server(client)
        informers = Informers(client, clock=self._clock)
        itself = f"metadata.name={settings.node}"
        nodes = Reflector(client, NODES, clock=self._clock, field_selector=itself)
        proxy = Proxy(
            informers,
            node,
            PacketFilter(),
            clock=self._clock,
            metrics=self._pages.proxy_metrics,
            health=self._pages.health,
            nodes=nodes.cache,
            ports=HealthPorts(self._pages.health),
        )
        following = asyncio.create_task(nodes.run(), name="the node itself")
        try:
            await nodes.wait_synced()
            await proxy.run()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await informers.stop()

    async def _names(self, client: Client) -> None:
        settings = self._settings
        zone = Zone(server=settings.dns_address)
        random, metrics = SystemRandom(), self._pages.name_metrics
        own = (settings.dns_address, settings.address)
        servers = ResolverFile(Path(settings.resolver), own, lambda: resolver.cache.clear())
        await self._wait_for_server(client)
        informers = Informers(client, clock=self._clock)
        forwarder = Forwarder(servers, random=random, clock=self._clock, metrics=metrics)
        resolver = Resolver(
            watch(informers), zone, forwarder, random=Random(), clock=self._clock, metrics=metrics
        )
        server = Server(resolver)
        try:
            await informers.wait_synced()
            await server.listen(settings.address)
            self._pages.has_names = True
            await asyncio.Event().wait()
        finally:
            await server.close()
            await informers.stop()

    async def _wait_for_server(self, client: Client) -> None:
        """We are started together with it, and in a new cluster our rights come a moment later."""
        while True:
            try:
                await client.transport.request("GET", "/api/v1/services", query={"limit": "1"})
                return
            except (StatusError, OSError, TimeoutError):
                await self._clock.sleep(SERVER_RETRY_SECONDS)

    async def _follow_certificates(self) -> None:
        """The control plane renews them."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            for files in self._watched:
                files.look()


async def _main(settings: NodeNetworkSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.freeze()
    await NodeNetwork(settings).run(stop)


def main() -> None:
    """Begun by `node_network_process.py`; the settings' path is the first argument of the command line."""
    logging.basicConfig(
        level=os.environ.get("TIPHYS_LOG", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    settings = NodeNetworkSettings.read(Path(sys.argv[1]))
    import uvloop

    uvloop.run(_main(settings))
