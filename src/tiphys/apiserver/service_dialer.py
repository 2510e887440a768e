"""How the API server itself reaches a Service: API services, webhooks, and the `proxy` subresources.

The server is in no pod, so no node's packet filter turns a cluster address into a pod's for it. It picks an endpoint that is
ready and connects to that; how a connection is made (from which network namespace) is the composition root's business.
Errors are in the words of upstream's resolvers (apiserver `util/proxy`).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import count

from tiphys.api.resource import Object
from tiphys.apiserver.cache import ResourceCache
from tiphys.machinery.frozen import frozen
from tiphys.net.client import HTTPClient

Connect = Callable[[str, int], Awaitable[socket.socket]]
"""(host or IP, port) → a connected, non-blocking socket. OSError when nobody listens."""
Caches = Callable[[str, str], ResourceCache]
"""(group, plural) → the objects of a resource."""

SERVICE_NAME = "kubernetes.io/service-name"
_ROUTED = ("", "ClusterIP", "NodePort", "LoadBalancer")


class ServiceError(Exception):
    """A Service that cannot be reached. `reason` is of the kind that availability conditions carry."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ServiceNotFound(ServiceError):
    """There is no Service of that name."""


class NoEndpoints(ServiceError):
    """Nobody stands behind the Service, or not behind that port."""


@frozen
class Endpoint:
    """Where to connect to. `host` is an IP address, or a DNS name outside the cluster."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ServiceDialer:
    """Looks at the watch cache, so that an answer is never older than the last write."""

    def __init__(self, caches: Caches, connect: Connect) -> None:
        self._caches = caches
        self._connect = connect
        self._turn = count()

    def service(self, namespace: str, name: str) -> Object:
        """The Service. Raises ServiceNotFound."""
        record = self._caches("", "services").get(namespace, name)
        if record is None:
            raise ServiceNotFound(f'service "{name}" not found')
        return record.object

    def slices(self, namespace: str, name: str) -> list[Object]:
        """The EndpointSlices of a Service, or its Endpoints in that form when nobody has made slices of them."""
        page, _ = self._caches("discovery.k8s.io", "endpointslices").page(namespace)
        found = [record.object for record in page if record.labels.get(SERVICE_NAME) == name]
        if found:
            return found
        endpoints = self._caches("", "endpoints").get(namespace, name)
        return [] if endpoints is None else list(slices_of(endpoints.object))

    def resolve(self, namespace: str, name: str, port: int | str) -> Endpoint:
        """One endpoint behind a port (its number or its name) of a Service. Raises ServiceError."""
        service = self.service(namespace, name)
        spec = service["spec"]
        kind = spec.get("type") or ""
        if kind == "ExternalName":
            return Endpoint(spec["externalName"], _external_port(spec, port))
        if kind not in _ROUTED:
            raise ServiceError(f'unsupported service type "{kind}"')
        port_name = port_name_of(service, port)
        if port_name is None:
            shown = port if isinstance(port, int) else f'"{port}"'
            raise NoEndpoints(f'no service port {shown} found for service "{name}"')
        ready = ready_endpoints(self.slices(namespace, name), port_name)
        if not ready:
            raise NoEndpoints(f'no endpoints available for service "{name}"')
        return self.one_of(ready)

    def one_of(self, ready: Sequence[Endpoint]) -> Endpoint:
        """They take turns."""
        return ready[next(self._turn) % len(ready)]

    async def connect(self, host: str, port: int) -> socket.socket:
        """A connection to a pod, a node or the world. Raises OSError."""
        return await self._connect(host, port)

    async def dial(self, namespace: str, name: str, port: int | str) -> socket.socket:
        """A connection to one endpoint of a Service. Raises ServiceError or OSError."""
        endpoint = self.resolve(namespace, name, port)
        return await self._connect(endpoint.host, endpoint.port)

    def client(
        self, namespace: str, name: str, port: int | str, *, ssl_context: ssl.SSLContext | None = None
    ) -> HTTPClient:
        """A client of a Service: HTTPS with a context, else HTTP. Each connection goes to an endpoint of that moment; the
        certificate must be for `<name>.<namespace>.svc`. Whoever asks for it closes it."""
        scheme = "https" if ssl_context is not None else "http"
        number = port if isinstance(port, int) else 0
        authority = f"{name}.{namespace}.svc" + (f":{number}" if number else "")
        return HTTPClient(
            f"{scheme}://{authority}",
            ssl_context=ssl_context,
            dial=lambda: self._dial_or_fail(namespace, name, port),
        )

    async def _dial_or_fail(self, namespace: str, name: str, port: int | str) -> socket.socket:
        """`dial` in the errors that an HTTPClient expects."""
        try:
            return await self.dial(namespace, name, port)
        except ServiceError as error:
            raise ConnectionError(error.message) from error


def port_name_of(service: Object, port: int | str) -> str | None:
    """The name of a Service's port ("" when it has none), by which its endpoints know it; None when it has no such port."""
    for each in service["spec"].get("ports") or ():
        if port in (each.get("port"), each.get("name") or None):
            return each.get("name") or ""
    return None


def _external_port(spec: Object, port: int | str) -> int:
    if isinstance(port, int):
        return port
    for each in spec.get("ports") or ():
        if each.get("name") == port:
            return int(each["port"])
    raise ServiceError(f'no service port "{port}" found')


def ready_endpoints(slices: Iterable[Object], port_name: str) -> Sequence[Endpoint]:
    """Every address that is ready and listens at the port of that name."""
    found = []
    for each in slices:
        if each.get("addressType", "IPv4") == "FQDN":
            continue
        ports = [
            item["port"]
            for item in each.get("ports") or ()
            if _is_named(item, port_name) and item.get("port")
        ]
        for endpoint in each.get("endpoints") or ():
            if is_ready(endpoint):
                found += [Endpoint(endpoint["addresses"][0], port) for port in ports]
    return found


def _is_named(port: Object, name: str) -> bool:
    return (port.get("name") or "") == name


def is_ready(endpoint: Object) -> bool:
    """An endpoint that says nothing of itself is ready."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


def slices_of(endpoints: Object) -> Iterable[Object]:
    """Endpoints in the form of EndpointSlices: one for each subset."""
    for subset in endpoints.get("subsets") or ():
        yield {
            "addressType": "IPv4",
            "ports": [{"name": each.get("name") or "", **each} for each in subset.get("ports") or ()],
            "endpoints": [
                {"addresses": [address["ip"]], "conditions": {"ready": ready}}
                for kind, ready in (("addresses", True), ("notReadyAddresses", False))
                for address in subset.get(kind) or ()
            ],
        }
