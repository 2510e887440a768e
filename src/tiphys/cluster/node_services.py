"""What a node with containers runs beside the kubelet proper: its images, its registry mirror; and how its kubelet is put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.reflector import Reflector
from tiphys.client.resources import SERVICES
from tiphys.cluster.containerd_config import SOCKET
from tiphys.cluster.images import PAUSE_IMAGE, BusyboxError, provide_built_in_images
from tiphys.cluster.kubelet_settings import KubeletSettings
from tiphys.cluster.nodes import KUBELET_DIRECTORY, MIRROR_URL, REGISTRY_CACHE
from tiphys.kubelet.access import Refusal
from tiphys.kubelet.assembly import assemble
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.credentials.settings import read
from tiphys.kubelet.files import Files
from tiphys.kubelet.images.load import ImageLoader
from tiphys.kubelet.images.registry_cache import RegistryCache
from tiphys.kubelet.images.upstream_registry import UpstreamRegistry
from tiphys.kubelet.kubelet import Kubelet
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.node_itself import NodeParts
from tiphys.kubelet.node_pages import health
from tiphys.kubelet.pull_through import PullThrough
from tiphys.kubelet.registry_mirror import RegistryMirror
from tiphys.kubelet.runtimes.cri import wire
from tiphys.kubelet.runtimes.cri.runtime import ContainerdRuntime
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.machinery.clock import Clock
from tiphys.net.http import Request, Response
from tiphys.net.server import Server

log = logging.getLogger("tiphys")

RETRY_SECONDS = 0.05
HEALTHZ_HOST, HEALTHZ_PORT = "127.0.0.1", 10248
"""Upstream's: whether the kubelet is well, for whoever is on the node, who need not say who he is."""


class NodeServices:
    """Of the node in whose namespaces this process runs."""

    def __init__(
        self, settings: KubeletSettings, client: Client, clock: Clock, metrics: KubeletMetrics
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._cache = RegistryCache(Path(settings.directory, REGISTRY_CACHE))
        self._services = Reflector(client, SERVICES, clock=clock)

    async def run(self, until_served: Callable[[], Awaitable[object]]) -> None:
        """Until cancelled. `until_served()`: the API server answers."""
        channel = wire.open_channel(SOCKET)
        where = urlsplit(MIRROR_URL)
        through = PullThrough(self._cache, UpstreamRegistry(self._clock), self._clock)
        mirror = Server(RegistryMirror(channel, through, own_name=where.netloc).handle)
        healthz = Server(_healthz)
        try:
            await mirror.listen(host=where.hostname, port=where.port)
            await healthz.listen(host=HEALTHZ_HOST, port=HEALTHZ_PORT)
            await until_served()
            await self._services.run()
        finally:
            await mirror.shutdown(grace_seconds=0.5)
            await through.close()
            await healthz.shutdown(grace_seconds=0.5)
            await channel.close()

    async def kubelet(self, pods: Reflector) -> Kubelet:
        """Once containerd answers and has the built-in images; the API server may be away."""
        settings = self._settings
        directory = Path(settings.directory, "kubelet")
        directory.mkdir(parents=True, exist_ok=True)
        manifests = Path(settings.directory, "manifests")
        manifests.mkdir(exist_ok=True)
        runtime = ContainerdRuntime(SOCKET, observe=self._metrics.runtime_called)
        await self._wait_for_runtime(runtime)
        await runtime.end_sessions_left_behind()
        await self._provide_images()
        parts = NodeParts(
            name=settings.node,
            addresses=(settings.address,),
            port=settings.port,
            cgroup=settings.cgroup,
            files=Files(directory),
            plugins=Path(KUBELET_DIRECTORY),
            sandbox_image=PAUSE_IMAGE,
            copies=self._cache,
            mirror=urlsplit(MIRROR_URL).netloc,
            manifests=manifests,
            credential_providers=read(
                settings.credential_provider_config, settings.credential_provider_bin_dir
            ),
        )

        async def until_known() -> None:
            await self._services.wait_synced()
            await pods.wait_synced()

        recorder = EventRecorder(self._client, "kubelet", clock=self._clock, host=settings.node)
        return assemble(
            parts,
            self._client,
            runtime,
            pods.cache,
            services=self._services.cache,
            recorder=recorder,
            clock=self._clock,
            configuration=KubeletConfiguration.parse(settings.configuration),
            metrics=self._metrics,
            until_known=until_known,
        )

    async def _wait_for_runtime(self, runtime: ContainerdRuntime) -> None:
        waited = 0.0
        while True:
            try:
                if all(condition.status for condition in (await runtime.status()).conditions):
                    return
            except RuntimeFailure as error:
                if waited and waited % 5 < RETRY_SECONDS:
                    log.info("waiting for containerd: %s", error.message)
            await self._clock.sleep(RETRY_SECONDS)
            waited += RETRY_SECONDS

    async def _provide_images(self) -> None:
        loader = ImageLoader(SOCKET)
        try:
            for image in await provide_built_in_images(loader, Path(self._settings.images)):
                log.info("imported %s", image.name)
        except (BusyboxError, RuntimeFailure) as error:
            log.error("the built-in images are not here: %s", error)
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await loader.close()


def _healthz(request: Request) -> Response:
    first, *rest = request.path.strip("/").split("/")
    try:
        if first != "healthz" or len(rest) > 1:
            raise Refusal(404, "404 page not found\n")
        return health(request, "".join(rest))
    except Refusal as refusal:
        return Response(refusal.code, [("content-type", "text/plain; charset=utf-8")], str(refusal).encode())
