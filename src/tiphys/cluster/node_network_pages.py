"""What the process of a node's service network says of itself, at the ports where people look for kube-proxy's and CoreDNS's pages.

    *:10256           /healthz, /livez             of the proxy, for load balancers
    127.0.0.1:10249   /metrics, /healthz, /proxyMode    of the proxy, for whoever is on the node
    <node>:9153       /metrics, /health, /ready    of the name server; the Service `kube-dns` leads there

CoreDNS has ports of their own for /health and /ready, 8080 and 8181; here names are not in a pod but on the node, where those are for
others. A port that somebody else has is gone without: Services and names matter more than what is said of them.
"""

from __future__ import annotations

import logging
from pathlib import Path

from tiphys.cluster.process_metrics import ProcessMetrics
from tiphys.dns.metrics import NameMetrics
from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import CONTENT_TYPE, Registry
from tiphys.net.http import Handler, Request, Response
from tiphys.net.server import Server
from tiphys.proxy import health
from tiphys.proxy.health import ProxyHealth, not_found
from tiphys.proxy.metrics import ProxyMetrics

log = logging.getLogger("tiphys")

PROXY_HOST, PROXY_PORT = "127.0.0.1", 10249
NAMES_PORT = 9153


class Pages:
    def __init__(self, clock: Clock) -> None:
        self._proxy_registry, self._names_registry = Registry(), Registry()
        for registry in (self._proxy_registry, self._names_registry):
            ProcessMetrics(registry, Path("/proc/self"))
        self.proxy_metrics = ProxyMetrics(self._proxy_registry)
        self.name_metrics = NameMetrics(self._names_registry)
        self.health = ProxyHealth(clock, self.proxy_metrics)
        self.has_names = False
        """Whether the name server answers."""
        self._servers: list[Server] = []

    async def listen(self, address: str) -> None:
        """`address`: the node's."""
        await self._listen("0.0.0.0", health.PORT, self.health.handle)
        await self._listen(PROXY_HOST, PROXY_PORT, self.proxy)
        await self._listen(address, NAMES_PORT, self.names)

    async def _listen(self, host: str, port: int, handler: Handler) -> None:
        server = Server(handler)
        try:
            await server.listen(host=host, port=port)
        except OSError as error:
            log.warning("nobody is told at %s:%d how the node's network is: %s", host, port, error)
        self._servers.append(server)

    async def close(self) -> None:
        for server in self._servers:
            await server.shutdown(grace_seconds=0.0)

    def proxy(self, request: Request) -> Response:
        match request.path:
            case "/metrics":
                return _metrics(self._proxy_registry)
            case "/healthz":
                return _text(200, "ok")
            case "/proxyMode":
                return _text(200, "nftables")
        return not_found()

    def names(self, request: Request) -> Response:
        match request.path:
            case "/metrics":
                return _metrics(self._names_registry)
            case "/health":
                return _text(200, "OK")
            case "/ready":
                return _text(200, "OK") if self.has_names else _text(503, "kubernetes")
        return not_found()


def _metrics(registry: Registry) -> Response:
    return Response(200, [("content-type", CONTENT_TYPE)], registry.render())


def _text(code: int, text: str) -> Response:
    return Response(code, [("content-type", "text/plain; charset=utf-8")], text.encode())
