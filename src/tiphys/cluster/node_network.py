"""The process of a node's service network, inside that node's namespaces: the service proxy.

Started by the supervisor with the path of a settings file; waits quietly for the API server; ended by SIGTERM, and then rules stay as
they are.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path

from tiphys.client.client import Client
from tiphys.client.https import HTTPSTransport
from tiphys.client.kubeconfig import Access
from tiphys.client.reflector import Informers
from tiphys.cluster.blueprint import KUBE_PROXY
from tiphys.cluster.node_network_settings import NodeNetworkSettings
from tiphys.machinery.clock import Clock, SystemClock
from tiphys.machinery.errors import StatusError
from tiphys.net.tls_files import LOOK_SECONDS, Pair, WatchedFiles
from tiphys.proxy.backends import Place
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
        self._transports: list[HTTPSTransport] = []
        self._watched: list[WatchedFiles] = []

    async def run(self, stop: asyncio.Event) -> None:
        settings = self._settings
        if not has_address(settings.address):
            raise SystemExit(f"tiphys: {settings.address} is no address of this network namespace")
        proxy = self._client(KUBE_PROXY)
        try:
            async with asyncio.TaskGroup() as group:
                work = [
                    group.create_task(self._proxy(proxy), name="service proxy"),
                    group.create_task(self._follow_certificates(), name="certificates"),
                ]
                await stop.wait()
                for task in work:
                    task.cancel()
        finally:
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
        try:
            await Proxy(informers, node, PacketFilter(), clock=self._clock).run()
        finally:
            await informers.stop()

    async def _wait_for_server(self, client: Client) -> None:
        """We are started together with it."""
        while True:
            try:
                await client.transport.request("GET", "/version")
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
    """python -m tiphys.cluster.node_network SETTINGS"""
    logging.basicConfig(
        level=os.environ.get("TIPHYS_LOG", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    settings = NodeNetworkSettings.read(Path(sys.argv[1]))
    import uvloop

    uvloop.run(_main(settings))


if __name__ == "__main__":
    main()
