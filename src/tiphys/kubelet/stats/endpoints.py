"""The pages on which a kubelet tells what its node uses and what it does itself: /stats/summary and /metrics with what is below it.

Paths, queries and texts are upstream's (`pkg/kubelet/server`). A process with many simulated nodes has one address for all; the API
server says in a header which node is meant.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import orjson

from tiphys.api.core.kubelet_requests import NODE_HEADER
from tiphys.kubelet.access import Refusal
from tiphys.kubelet.kubelet import Dispatcher, Kubelet
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.stats import present
from tiphys.kubelet.stats.cadvisor_metrics import cadvisor_metrics
from tiphys.kubelet.stats.rates import FIRST_SECONDS
from tiphys.kubelet.stats.resource_metrics import resource_metrics
from tiphys.kubelet.stats.summary import Measurements, summary
from tiphys.kubelet.stats.usage import ContainerUsage, NodeUsage, PodUsage
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import CONTENT_TYPE
from tiphys.net.http import Request, Response

_JSON = [("content-type", "application/json")]
_METRICS = [("content-type", CONTENT_TYPE)]
_METHODS = ("OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT")
_LONG_RUNNING = ("exec", "attach", "portForward")
_PATHS = (
    "healthz", "pods", "stats", "metrics", "metrics/cadvisor", "metrics/probes", "metrics/resource", "run", "containerLogs",
    "runningpods", "configz", "logs", "statusz", "flagz", "debug", *_LONG_RUNNING,
)  # fmt: skip
_TRUE = ("1", "t", "T", "TRUE", "true", "True")


class StatsEndpoints:
    """Of all nodes of a process. `pages` is for its KubeletServer."""

    def __init__(self, kubelets: Dispatcher, clock: Clock, metrics: KubeletMetrics) -> None:
        self._kubelets = kubelets
        self._clock = clock
        self._metrics = metrics
        self.pages = {"stats": self._answer, "metrics": self._answer}
        self._of_node: Mapping[str, Callable[[Request, Kubelet], Awaitable[Response]]] = {
            "stats": self._summary,
            "stats/summary": self._summary,
            "metrics/cadvisor": self._cadvisor,
            "metrics/resource": self._resource,
        }

    async def _answer(self, request: Request) -> Response:
        path = request.path.strip("/")
        if path == "metrics":
            return await self._own()
        if path == "metrics/probes":
            return Response(200, _METRICS, self._metrics.probes.registry.render())
        page = self._of_node.get(path)
        if page is None:
            raise Refusal(404, "404 page not found\n")
        kubelet = self._kubelet_of(request)
        if kubelet is None:
            through = "ask through the API server, /api/v1/nodes/NAME/proxy"
            raise Refusal(400, f"this address is that of many nodes: {through}\n")
        return await page(request, kubelet)

    def _kubelet_of(self, request: Request) -> Kubelet | None:
        """The one that is named, or the only one that there is."""
        named = request.headers.get(NODE_HEADER)
        if named:
            return self._kubelets.find(named)
        kubelets = list(self._kubelets)
        return kubelets[0] if len(kubelets) == 1 else None

    def answered(self, request: Request, seconds: float) -> None:
        """Counts a request to the kubelet, whatever it was about."""
        root, _, rest = request.path.strip("/").partition("/")
        path = f"{root}/{rest}" if root == "metrics" and rest else root
        method = request.method if request.method in _METHODS else "other"
        self._metrics.request_answered(
            method, path if path in _PATHS else "other", seconds, long_running=path in _LONG_RUNNING
        )

    # What is used

    async def _summary(self, request: Request, kubelet: Kubelet) -> Response:
        only_basic = (request.query.get("only_cpu_and_memory") or [""])[-1] in _TRUE
        found = await self._measure(kubelet, with_rates=True, with_disks=not only_basic)
        return Response(200, _JSON, orjson.dumps(summary(found)))

    async def _resource(self, request: Request, kubelet: Kubelet) -> Response:
        found = await self._measure(kubelet, with_rates=False, with_disks=False)
        return Response(200, _METRICS, resource_metrics(found))

    async def _cadvisor(self, request: Request, kubelet: Kubelet) -> Response:
        meter = kubelet.host.meter
        disks = await meter.node_disks()
        groups = meter.groups(kubelet.measured())
        text = cadvisor_metrics(meter.machine, groups, disks.node, self._clock.now())
        return Response(200, _METRICS, text)

    async def _measure(self, kubelet: Kubelet, *, with_rates: bool, with_disks: bool) -> Measurements:
        meter = kubelet.host.meter
        pods = kubelet.measured()
        usages, node = meter.pods(pods), meter.node()
        if with_rates and not _are_known(node, usages.values()):
            # Nobody has asked for a while, or something has just begun: how much is used now takes a second look.
            await self._clock.sleep(FIRST_SECONDS)
            usages, node = meter.pods(pods), meter.node()
        if not with_disks:
            return Measurements(kubelet.host.node, node, pods, usages)
        disks, of_pods = await meter.node_disks(), await meter.pod_disks(pods)
        return Measurements(kubelet.host.node, node, pods, usages, disks, of_pods)

    # What the kubelet does

    async def _own(self) -> Response:
        await self._collect()
        return Response(200, _METRICS, self._metrics.registry.render())

    async def _collect(self) -> None:
        """Counts what is cheaper to count now than to keep."""
        present.count(self._kubelets, self._metrics)
        for gauge in self._metrics.volumes.gauges.values():
            gauge.clear()
        for kubelet in self._kubelets:
            await self._collect_volumes(kubelet)

    async def _collect_volumes(self, kubelet: Kubelet) -> None:
        with_claims = [pod for pod in kubelet.measured() if _claims(pod.pod)]
        if not with_claims:
            return
        found = await kubelet.host.meter.pod_disks(with_claims)
        for pod in with_claims:
            for volume in found[pod.uid].volumes if pod.uid in found else ():
                if volume.claim:
                    for field, gauge in self._metrics.volumes.gauges.items():
                        value = getattr(volume.usage, field) or 0
                        gauge.set(value, meta.namespace(pod.pod), volume.claim)


def _are_known(node: NodeUsage, pods: Collection[PodUsage]) -> bool:
    """Whether it can be said of everything how much of the processor it uses now."""
    everything: list[NodeUsage | PodUsage | ContainerUsage] = [node, *pods]
    for pod in pods:
        everything += pod.containers
    return all(used.cpu is None or used.cpu_nano_cores is not None for used in everything)


def _claims(pod: Mapping[str, Any]) -> bool:
    volumes = pod["spec"].get("volumes") or ()
    return any("persistentVolumeClaim" in volume or "ephemeral" in volume for volume in volumes)
