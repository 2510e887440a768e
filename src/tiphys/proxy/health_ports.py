"""The port of a Service at which a load balancer asks each node whether it has endpoints of it (`spec.healthCheckNodePort`).

Opened and closed as Services come and go; the answer is 200 where there is somebody and the proxy keeps up, else 503, with kube-proxy's
body. Owned by the proxy.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from tiphys.net.http import Request, Response
from tiphys.net.server import Server
from tiphys.proxy.health import ProxyHealth, as_json
from tiphys.proxy.local_endpoints import Local

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    port: int
    server: Server
    ready_here: int = 0


class HealthPorts:
    """`host`: where they are opened."""

    def __init__(self, health: ProxyHealth, host: str = "0.0.0.0") -> None:
        self._health = health
        self._host = host
        self._open: dict[str, _Open] = {}

    async def follow(self, services: Mapping[str, Local]) -> None:
        """`services`: by namespace/name."""
        wanted = {key: local for key, local in services.items() if local.health_port}
        for key, known in list(self._open.items()):
            if key not in wanted or wanted[key].health_port != known.port:
                del self._open[key]
                await known.server.shutdown(grace_seconds=0.0)
        for key, local in wanted.items():
            opened = self._open.get(key) or await self._opened(key, local.health_port)
            if opened is not None:
                opened.ready_here = local.ready_here

    async def close(self) -> None:
        await self.follow({})

    async def _opened(self, key: str, port: int) -> _Open | None:
        """None where somebody else listens; it is tried again at the next change."""
        server = Server(lambda request: self._answer(key, request))
        try:
            await server.listen(host=self._host, port=port)
        except OSError as error:
            log.error("load balancers cannot ask for %s at port %d: %s", key, port, error)
            return None
        made = self._open[key] = _Open(port, server)
        return made

    def _answer(self, key: str, request: Request) -> Response:
        """Whatever is asked, as upstream."""
        opened = self._open.get(key)
        count = opened.ready_here if opened is not None else 0
        namespace, _, name = key.partition("/")
        said = {
            "service": {"namespace": namespace, "name": name},
            "localEndpoints": count,
            "serviceProxyHealthy": self._health.is_well,
        }
        answer = as_json(200 if count and self._health.is_well else 503, json.dumps(said, indent="\t"))
        answer.headers.append(("x-load-balancing-endpoint-weight", str(count)))
        return answer
