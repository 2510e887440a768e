"""The kubelet's process: one node with containers, inside that node's namespaces; or all simulated nodes together.

Started by the supervisor with the path of a settings file; waits quietly for the API server and for containerd; ended by SIGTERM,
and then containers go on running.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

from tiphys.client.client import Client
from tiphys.client.https import HTTPSTransport
from tiphys.client.kubeconfig import Access
from tiphys.client.reflector import Reflector
from tiphys.client.resources import PODS
from tiphys.cluster.kubelet_settings import KubeletSettings
from tiphys.cluster.pki import NODES
from tiphys.cluster.process_metrics import ProcessMetrics
from tiphys.kubelet.access import KubeletAccess, ServerReviews
from tiphys.kubelet.certificate_metrics import CertificateMetrics
from tiphys.kubelet.certificates import (
    CLIENT_FILE,
    CLIENT_SIGNER,
    SERVING_FILE,
    SERVING_SIGNER,
    CertificateManager,
    Template,
)
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.debugging import DebuggingPages
from tiphys.kubelet.kubelet import Dispatcher, Kubelet
from tiphys.kubelet.limited_transport import LimitedTransport
from tiphys.kubelet.managers.checkpoint import CannotStart
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.node import KUBELET_VERSION
from tiphys.kubelet.server import KubeletServer
from tiphys.kubelet.stats.endpoints import StatsEndpoints
from tiphys.machinery.clock import Clock, SystemClock
from tiphys.machinery.errors import StatusError
from tiphys.net.server import Server
from tiphys.net.tls import server_context
from tiphys.net.tls_files import LOOK_SECONDS, Pair, WatchedFiles

log = logging.getLogger("tiphys")

RETRY_SECONDS = 0.1
SERVER_RETRY_SECONDS = 0.03
LISTEN_ATTEMPTS = 50
PATIENCE_SECONDS = 0.3
"""After that, another cluster has the address of simulated nodes."""
_M_ARENA_MAX = -8


class KubeletProcess:
    """Everything in this process."""

    def __init__(self, settings: KubeletSettings) -> None:
        self._settings = settings
        self._clock: Clock = SystemClock()
        self._kubelets = Dispatcher()
        self._metrics = KubeletMetrics()
        ProcessMetrics(self._metrics.registry, Path("/proc/self"))
        pairs = {"client": client_pair(settings), "server": serving_pair(settings)}
        self._certificates = CertificateMetrics(self._metrics.registry, self._clock, **pairs)
        self._port = settings.port
        self._watched: list[WatchedFiles] = []

    async def run(self, stop: asyncio.Event) -> None:
        settings = self._settings
        transport = HTTPSTransport(
            access(settings),
            clock=self._clock,
            user_agent=f"kubelet/{KUBELET_VERSION}",
            metrics=self._metrics.registry,
        )
        limited = LimitedTransport(transport)
        client = Client(limited)

        def client_of(node: str) -> Client:
            """Simulated nodes act each as itself, on the connections of all."""
            if settings.runtime != "simulated":
                return client
            return Client(limited.sharing(transport.acting_as(f"system:node:{node}", NODES)))

        pods = self._pods_of(client)
        server = self._server(client_of(settings.node))
        try:
            self._port = await listen(server, settings)
            async with asyncio.TaskGroup() as group:
                work: list[asyncio.Task[None]] = []
                self._watch_client_files(transport)
                work.append(group.create_task(self._follow_certificates(), name="certificates"))
                work.append(group.create_task(self._start(client_of, pods, group, work)))
                await stop.wait()
                for task in work:
                    task.cancel()
        finally:
            await server.shutdown(grace_seconds=1.0)
            await transport.close()

    def _pods_of(self, client: Client) -> Reflector:
        """Pods of our node; of all nodes when we are all of them."""
        selector = f"spec.nodeName={self._settings.node}" if self._settings.runtime != "simulated" else ""
        pods = Reflector(client, PODS, clock=self._clock, field_selector=selector)
        pods.cache.add_handler(self._kubelets.changed)
        return pods

    def _server(self, client: Client) -> Server:
        pair, authorities = serving_pair(self._settings), f"{self._settings.pki}/ca.crt"
        context = server_context(*pair.current(), authorities)
        self._watched.append(WatchedFiles(context, pair, authorities))
        configuration = KubeletConfiguration.parse(self._settings.configuration)
        guard = KubeletAccess(ServerReviews(client), self._clock, configuration.access)
        logs = {"pods": Path(self._settings.directory, "kubelet", "logs")}
        debugging = DebuggingPages(configuration, self._clock, own_flags(self._settings))
        stats = StatsEndpoints(self._kubelets, self._clock, self._metrics)
        handler = KubeletServer(
            self._kubelets,
            self._clock,
            guard,
            configuration=configuration,
            pages={**stats.pages, **debugging.pages},
            logs=logs,
            answered=stats.answered,
        )
        return Server(handler.handle, ssl_context=context)

    def _watch_client_files(self, transport: HTTPSTransport) -> None:
        if transport.ssl_context is not None:
            authorities = f"{self._settings.pki}/ca.crt"
            self._watched.append(
                WatchedFiles(transport.ssl_context, client_pair(self._settings), authorities)
            )

    async def _follow_certificates(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            for files in self._watched:
                files.look()

    async def _start(
        self,
        client_of: Callable[[str], Client],
        pods: Reflector,
        group: asyncio.TaskGroup,
        work: list[asyncio.Task[None]],
    ) -> None:
        client = client_of(self._settings.node)
        if self._settings.runtime == "simulated":
            await self._wait_for_server(client)
            work.append(group.create_task(pods.run(), name="pods"))
            await pods.wait_synced()
            self._launch(self._hollow(client_of, pods), group, work)
        else:
            from tiphys.cluster.node_services import NodeServices

            # Static pods run without an API server.
            served = asyncio.Event()
            services = NodeServices(self._settings, client, self._clock, self._metrics)
            work.append(group.create_task(services.run(served.wait), name="node services"))
            work.append(group.create_task(self._use_server(client, pods, served), name="pods"))
            for manager in certificate_managers(self._settings, client, self._clock, self._certificates):
                work.append(group.create_task(_renew(manager, served), name="certificate"))
            self._launch([await services.kubelet(pods)], group, work)
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 10, 20)

    async def _use_server(self, client: Client, pods: Reflector, served: asyncio.Event) -> None:
        await self._wait_for_server(client)
        served.set()
        await pods.run()

    async def _wait_for_server(self, client: Client) -> None:
        """We are started together with it: a reflector's first delay would be most of the time that a cluster needs to come up.

        And until simulated nodes may act as themselves: in a new cluster that is granted after the server answers.
        """
        while True:
            try:
                await client.transport.request("GET", "/version")
                return
            except (StatusError, OSError, TimeoutError):
                await self._clock.sleep(SERVER_RETRY_SECONDS)

    def _launch(
        self, kubelets: Iterable[Kubelet], group: asyncio.TaskGroup, work: list[asyncio.Task[None]]
    ) -> None:
        for kubelet in kubelets:
            self._kubelets.add(kubelet)
            work.append(group.create_task(kubelet.run(), name=f"kubelet {kubelet.host.node}"))

    def _hollow(self, client_of: Callable[[str], Client], pods: Reflector) -> list[Kubelet]:
        from tiphys.kubelet.hollow import HollowNode, hollow_kubelet

        settings = self._settings
        configuration = KubeletConfiguration.parse(settings.configuration)
        return [
            hollow_kubelet(
                HollowNode(name, number, (settings.address,), self._port),
                client_of(name),
                pods.cache,
                self._clock,
                configuration=configuration,
                metrics=self._metrics,
            )
            for number, name in enumerate(settings.nodes)
        ]


async def _renew(manager: CertificateManager, served: asyncio.Event) -> None:
    await served.wait()
    await manager.run()


def own_flags(settings: KubeletSettings) -> dict[str, str]:
    """What would be flags of upstream's kubelet, and is no setting of a KubeletConfiguration."""
    return {
        "hostname-override": settings.node,
        "image-credential-provider-bin-dir": settings.credential_provider_bin_dir,
        "image-credential-provider-config": settings.credential_provider_config,
        "node-ip": settings.address,
        "root-dir": "/var/lib/kubelet",
    }


def client_pair(settings: KubeletSettings) -> Pair:
    """Where the kubelet's client certificate is. One for all simulated nodes is renewed by the control plane."""
    return _pair(settings, settings.certificate, CLIENT_FILE)


def serving_pair(settings: KubeletSettings) -> Pair:
    return _pair(settings, settings.serving, SERVING_FILE)


def _pair(settings: KubeletSettings, name: str, renewed: str) -> Pair:
    own = "" if settings.runtime == "simulated" else f"{settings.directory}/kubelet/pki/{renewed}"
    return Pair(f"{settings.pki}/{name}.crt", f"{settings.pki}/{name}.key", own)


def certificate_managers(
    settings: KubeletSettings, client: Client, clock: Clock, metrics: CertificateMetrics
) -> list[CertificateManager]:
    """What renews the certificates of a node with containers, as its configuration has it."""
    configuration = KubeletConfiguration.parse(settings.configuration)
    wanted = []
    if configuration.rotate_certificates:
        wanted.append((Template(CLIENT_SIGNER, settings.node), client_pair(settings)))
    if configuration.server_tls_bootstrap:
        names = (settings.node, settings.address)
        wanted.append((Template(SERVING_SIGNER, settings.node, names), serving_pair(settings)))
    random = Random()
    failures = {CLIENT_SIGNER: metrics.client_failures, SERVING_SIGNER: metrics.server_failures}
    return [
        CertificateManager(template, pair, client, clock, random=random, failures=failures[template.signer])
        for template, pair in wanted
    ]


def access(settings: KubeletSettings) -> Access:
    certificate, key = client_pair(settings).current()
    return Access(
        server=settings.server,
        certificate_authority=Path(settings.pki, "ca.crt").read_bytes(),
        client_certificate=Path(certificate).read_bytes(),
        client_key=Path(key).read_bytes(),
    )


async def listen(server: Server, settings: KubeletSettings) -> int:
    """The port. An earlier kubelet of this node may need a moment to let go of it; simulated nodes take any other."""
    is_simulated = settings.runtime == "simulated"
    for attempt in range(LISTEN_ATTEMPTS):
        try:
            return (await server.listen(host=settings.address, port=settings.port)).port
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt == LISTEN_ATTEMPTS - 1:
                raise
        if is_simulated and attempt * RETRY_SECONDS >= PATIENCE_SECONDS:
            return (await server.listen(host=settings.address, port=0)).port
        await asyncio.sleep(RETRY_SECONDS)
    raise AssertionError("unreachable")


async def _main(settings: KubeletSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await KubeletProcess(settings).run(stop)


def save_memory() -> None:
    """One heap for all threads: gRPC's would each have their own, mostly empty."""
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def main() -> None:
    """python -m tiphys.cluster.kubelet_process SETTINGS"""
    logging.basicConfig(
        level=os.environ.get("TIPHYS_LOG", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    save_memory()
    settings = KubeletSettings.read(Path(sys.argv[1]))
    import uvloop

    try:
        uvloop.run(_main(settings))
    except* CannotStart as refusals:
        for refusal in refusals.exceptions:
            log.error("the kubelet does not start: %s", refusal)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
