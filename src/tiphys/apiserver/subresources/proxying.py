"""pods/proxy, services/proxy, nodes/proxy: HTTP requests passed on to a pod, to an endpoint of a Service, or to a node.

What is asked for is `[scheme:]name[:port]`; the path behind `proxy` is what the server there is asked for. Pages that come back
get links that lead through us again. As upstream's `registry/core/{pod,service,node}/rest` and apimachinery `util/proxy`.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import quote

from tiphys.api.core.kubelet_requests import NODE_HEADER
from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CONNECT
from tiphys.apiserver.call import Call
from tiphys.apiserver.relay import Headers, Passage, is_upgrade, passed_on, relay
from tiphys.apiserver.service_dialer import port_name_of, ready_endpoints
from tiphys.apiserver.subresources.kubelets import client_of, kubelet_address
from tiphys.apiserver.subresources.links import Links
from tiphys.machinery import errors, names
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.quoting import quote as quoted
from tiphys.net.client import HTTPClient
from tiphys.net.http import Response
from tiphys.net.tls import client_context

_IN_PATHS = "/:@!$&'()*+,;=~-._"


@frozen
class Asked:
    """`[scheme:]name[:port]`, taken apart."""

    scheme: str
    name: str
    port: str


@frozen
class Location:
    """`port` 0: the scheme's own."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


def split(text: str) -> Asked | None:
    """None when it is of no such form (apimachinery `util/net` SplitSchemeNamePort)."""
    parts = text.split(":")
    if len(parts) == 1:
        asked = Asked("", text, "")
    elif len(parts) == 2:
        asked = Asked("", parts[0], parts[1])
    elif len(parts) == 3 and parts[0] in ("", "http", "https"):
        asked = Asked(*parts)
    else:
        return None
    port_errors = asked.port and not asked.port.isdecimal() and names.dns1035_label(asked.port)
    return None if not asked.name or port_errors else asked


async def proxy_pod(call: Call) -> Response:
    asked = _asked(call, "pod")
    await _review(call, "PodProxyOptions")
    pod = call.server.writes.find(call.row, call.info.namespace, asked.name).object
    ips = (pod.get("status") or {}).get("podIPs") or [{"ip": (pod.get("status") or {}).get("podIP") or ""}]
    port = asked.port or str(_first_port(pod) or "")
    if not port.isdecimal() and port:
        raise errors.bad_request(f"invalid pod request {quoted(call.info.name)}")
    host = ips[0]["ip"]
    if not _is_proxyable(host):
        raise errors.bad_request("address not allowed")
    return await _pass_on(call, Location(asked.scheme or "http", host, int(port or 0)))


def _first_port(pod: Object) -> int | None:
    """Of the containers in order, the first that is declared."""
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            return int(port["containerPort"])
    return None


async def proxy_service(call: Call) -> Response:
    asked = _asked(call, "service")
    await _review(call, "ServiceProxyOptions")
    dialer, namespace = call.server.service_dialer, call.info.namespace
    service = call.server.writes.find(call.row, namespace, asked.name).object
    port_name: str | None = asked.port
    if asked.port.isdecimal():
        port_name = port_name_of(service, int(asked.port))
        if port_name is None:
            message = f"no service port {asked.port} found for service {quoted(asked.name)}"
            raise errors.service_unavailable(message)
    ready = ready_endpoints(dialer.slices(namespace, asked.name), port_name or "")
    if not ready:
        raise errors.service_unavailable(f"no endpoints available for service {quoted(call.info.name)}")
    endpoint = dialer.one_of(ready)
    if not _is_proxyable(endpoint.host):
        raise errors.bad_request("address not allowed")
    return await _pass_on(call, Location(asked.scheme or "http", endpoint.host, endpoint.port))


async def proxy_node(call: Call) -> Response:
    """To the kubelet unless another port is asked for."""
    asked = _asked(call, "node")
    await _review(call, "NodeProxyOptions")
    call.server.writes.find(call.row, "", asked.name)
    kubelet = kubelet_address(call, asked.name)
    if asked.port in ("", str(kubelet.port)):
        client = client_of(call, kubelet)
        location = Location("https", kubelet.host, kubelet.port)
        # Simulated nodes share an address: their kubelet is told which of them is meant.
        return await _pass_on(call, location, client=client, added=[(NODE_HEADER, kubelet.node)])
    if not asked.port.isdecimal():
        raise errors.bad_request(f"invalid node request {quoted(call.info.name)}")
    if not _is_proxyable(kubelet.host):
        raise errors.bad_request("address not allowed")
    return await _pass_on(call, Location(asked.scheme or "http", kubelet.host, int(asked.port)))


def _asked(call: Call, what: str) -> Asked:
    asked = split(call.info.name)
    if asked is None:
        raise errors.bad_request(f"invalid {what} request {quoted(call.info.name)}")
    return asked


async def _review(call: Call, kind: str) -> None:
    """A connection is admitted as its options are: there is no object."""
    options: Object = {"kind": kind, "apiVersion": "v1"}
    if behind := _behind(call):
        options["path"] = behind
    await call.server.writes.review(call, CONNECT, options, kind=GroupVersionKind("", "v1", kind))


def _is_proxyable(host: str) -> bool:
    """Whether it may be asked on somebody's behalf: never ourselves, nor the machine's own metadata."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not (
        address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    )


async def _pass_on(
    call: Call, location: Location, *, client: HTTPClient | None = None, added: Headers | None = None
) -> Response:
    request = call.request
    query = request.target.partition("?")[2]
    behind = _behind(call)
    if not behind and request.method in ("GET", "HEAD") and not is_upgrade(request.headers):
        # Relative links of a page would lead to its neighbour: so its path must end with a slash.
        return Response(301, [("location", f"{request.path}/" + (f"?{query}" if query else ""))])
    prefix = request.path.removesuffix(behind)
    links = Links(location.authority, request.headers.get("host", ""), prefix)
    headers = [(name, value) for name, value in passed_on(request) if name != "accept-encoding"]
    host = request.headers.get("host", "")
    headers += [
        *(added or ()),
        ("X-Forwarded-Uri", request.path),
        ("X-Forwarded-Proto", "https" if request.connection.tls else "http"),
    ]
    if host:
        headers.append(("X-Forwarded-Host", host))
    passage = Passage(
        client or _client(call, location),
        quote(behind or "/", safe=_IN_PATHS) + (f"?{query}" if query else ""),
        headers,
        unreachable=_unreachable,
        rewrite=links.rewrite,
    )
    if client is None:
        passage.resources.push_async_callback(passage.client.close)
    return await relay(request, passage)


def _behind(call: Call) -> str:
    """The path behind `proxy`, with its slash; "" when there is none."""
    root = "/".join(call.info.parts[:3])
    return call.request.path.partition(f"/{root}")[2]


def _client(call: Call, location: Location) -> HTTPClient:
    """For this one request: another may be for another pod."""
    port = location.port or (443 if location.scheme == "https" else 80)
    return HTTPClient(
        f"{location.scheme}://{location.authority}",
        ssl_context=client_context(insecure=True) if location.scheme == "https" else None,
        dial=lambda: call.server.service_dialer.connect(location.host, port),
    )


def _unreachable(text: str) -> Response:
    raise errors.service_unavailable(text)
