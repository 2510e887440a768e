"""pods/log, exec, attach, portforward: passed on to the kubelet of the pod's node.

The API server only finds the node, asks the kubelet's HTTPS API under the same path scheme as upstream's kubelet has, and
carries bytes: a log is streamed, an upgraded connection (WebSocket or SPDY) is tunnelled as it is. What the bytes mean is
between the client and the kubelet.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CONNECT
from tiphys.apiserver.authorization.chain import authorize_create
from tiphys.apiserver.call import Call
from tiphys.apiserver.requests import query_bool, query_integer
from tiphys.apiserver.streams import splice
from tiphys.machinery import errors
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupResource, GroupVersionKind
from tiphys.net.client import HTTPClient, HTTPClientError
from tiphys.net.http import ByteStream, Response

_LOG_OPTIONS = (
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "tailLines",
    "limitBytes",
    "stream",
)
_EXEC_OPTIONS = ("command", "stdin", "stdout", "stderr", "tty")
_HOP_HEADERS = frozenset({"host", "authorization", "content-length", "transfer-encoding", "accept-encoding"})
_NODES = GroupResource("", "nodes")
_PORT = re.compile(r"[0-9]{1,5}")


@frozen
class KubeletAddress:
    node: str
    host: str
    port: int


async def read_log(call: Call) -> Response:
    pod = _pod(call)
    container = _container(call, pod, "log")
    query = _chosen(call, _LOG_OPTIONS)
    _check_log_options(call)
    namespace, name = call.info.namespace, call.info.name
    kubelet = _kubelet_of(call, pod)
    if kubelet is None:
        return _not_running(pod, container)
    path = f"/containerLogs/{namespace}/{name}/{container}"
    return await _stream(call, kubelet, f"{path}?{urlencode(query)}" if query else path)


async def execute(call: Call) -> Response:
    await authorize_create(call)
    pod = _pod(call)
    container = _container(call, pod, "exec")
    if not call.request.query.get("command"):
        raise errors.bad_request("you must specify at least 1 command for the pod")
    await _review(call, "PodExecOptions", (*_EXEC_OPTIONS, "container"))
    return await _upgrade(call, pod, f"/exec/{_pod_path(call)}/{container}", _exec_query(call))


async def attach(call: Call) -> Response:
    await authorize_create(call)
    pod = _pod(call)
    container = _container(call, pod, "attach")
    await _review(call, "PodAttachOptions", (*_EXEC_OPTIONS[1:], "container"))
    return await _upgrade(call, pod, f"/attach/{_pod_path(call)}/{container}", _exec_query(call))


async def port_forward(call: Call) -> Response:
    await authorize_create(call)
    pod = _pod(call)
    query = [("port", port) for port in call.request.query.get("ports", ())]
    await _review(call, "PodPortForwardOptions", ("ports",))
    return await _upgrade(call, pod, f"/portForward/{_pod_path(call)}", query)


async def _review(call: Call, kind: str, names: tuple[str, ...]) -> None:
    """A connection is admitted as its options are: there is no object."""
    options: Object = {"kind": kind, "apiVersion": "v1"}
    for name in names:
        values = call.request.query.get(name)
        if values and name in ("command", "ports"):
            options[name] = (
                [int(value) for value in values if _PORT.fullmatch(value)] if name == "ports" else values
            )
        elif values:
            options[name] = values[0] if name == "container" else query_bool(call.request.query, name)
    await call.server.writes.review(call, CONNECT, options, kind=GroupVersionKind("", "v1", kind))


def _pod(call: Call) -> Object:
    return call.server.writes.find(call.row, call.info.namespace, call.info.name).object


def _pod_path(call: Call) -> str:
    return f"{quote(call.info.namespace)}/{quote(call.info.name)}"


def _containers(pod: Object) -> list[str]:
    spec = pod["spec"]
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return [container["name"] for kind in kinds for container in spec.get(kind) or ()]


def _container(call: Call, pod: Object, verb: str) -> str:
    """The container that is meant; raises 400 when that is not clear."""
    wanted = call.request.query.get("container", ("",))[0]
    name, spec = pod["metadata"]["name"], pod["spec"]
    if wanted:
        if wanted not in _containers(pod):
            raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    annotated = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    names: list[str] = [container["name"] for container in spec["containers"]]
    if annotated in names:
        return str(annotated)
    if len(names) == 1:
        return names[0]
    message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    inits = [container["name"] for container in spec.get("initContainers") or ()]
    if inits:
        message += f" or one of the init containers: [{' '.join(inits)}]"
    del verb
    raise errors.bad_request(message)


def _chosen(call: Call, names: tuple[str, ...]) -> list[tuple[str, str]]:
    query = call.request.query
    return [(name, value) for name in names for value in query.get(name, ())]


def _exec_query(call: Call) -> list[tuple[str, str]]:
    """The kubelet's own names for the same options."""
    kubelet_names = {
        "stdin": "input",
        "stdout": "output",
        "stderr": "error",
        "tty": "tty",
        "command": "command",
    }
    chosen = _chosen(call, _EXEC_OPTIONS)
    return [
        (kubelet_names[name], value if name == "command" else "1")
        for name, value in chosen
        if name == "command" or value not in ("false", "0")
    ]


def _check_log_options(call: Call) -> None:
    from tiphys.machinery.gvk import GroupKind

    query = call.request.query
    found: list[errors.FieldError] = []
    for name, least in (("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)):
        value = query_integer(query, name)
        if value is not None and value < least:
            rule = "must be greater than or equal to 0" if least == 0 else "must be greater than 0"
            found.append(errors.FieldError.invalid(errors.Path(name), value, rule))
    if query.get("sinceTime") and query.get("sinceSeconds"):
        detail = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        found.append(errors.FieldError.forbidden(errors.Path(), detail))
    if found:
        raise errors.invalid(GroupKind("", "PodLogOptions"), "", found)


def _not_running(pod: Object, container: str) -> Response:
    del container
    if pod["spec"].get("nodeName"):
        raise errors.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return Response(200, [("content-type", "text/plain")], b"")


def _kubelet_of(call: Call, pod: Object) -> KubeletAddress | None:
    node_name = pod["spec"].get("nodeName")
    if not node_name:
        return None
    return kubelet_address(call, node_name)


def kubelet_address(call: Call, node_name: str) -> KubeletAddress:
    """Where the kubelet of a node listens, from the node's status."""
    record = call.server.writes.cache("", "nodes").get("", node_name)
    if record is None:
        raise errors.not_found(_NODES, node_name)
    status = record.object.get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or 10250
    addresses = {entry["type"]: entry["address"] for entry in status.get("addresses") or ()}
    for kind in ("InternalIP", "ExternalIP", "Hostname"):
        if addresses.get(kind):
            return KubeletAddress(node_name, addresses[kind], port)
    raise errors.service_unavailable(f'no preferred addresses found; known addresses: []: node "{node_name}"')


def _required(call: Call, pod: Object) -> KubeletAddress:
    kubelet = _kubelet_of(call, pod)
    if kubelet is None:
        raise errors.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return kubelet


def _client(call: Call, kubelet: KubeletAddress) -> HTTPClient:
    return call.server.kubelet_client(kubelet.node, kubelet.host, kubelet.port)


def _unreachable(kubelet: KubeletAddress, error: Exception) -> errors.StatusError:
    return errors.internal_error(f"error dialing backend: dial tcp {kubelet.host}:{kubelet.port}: {error}")


async def _stream(call: Call, kubelet: KubeletAddress, target: str) -> Response:
    """A GET whose answer is carried on as it comes."""
    client = _client(call, kubelet)
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            async with client.stream("GET", target) as answer:
                opened.set_result(answer)
                async for piece in answer:
                    yield piece
        except (HTTPClientError, OSError) as error:
            if not opened.done():
                opened.set_exception(error)

    body = pieces()
    first = asyncio.ensure_future(anext(body, b""))
    await asyncio.wait((first, opened), return_when=asyncio.FIRST_COMPLETED)
    if not opened.done():
        first.cancel()
        raise errors.internal_error("the kubelet did not answer")
    try:
        answer = opened.result()
    except (HTTPClientError, OSError) as error:
        raise _unreachable(kubelet, error) from error
    if answer.status != 200:
        text = (await first + b"".join([piece async for piece in body])).decode(errors="replace").strip()
        raise errors.StatusError(answer.status, _reason(answer.status), text)

    async def whole() -> AsyncIterator[bytes]:
        try:
            yield await first
            async for piece in body:
                yield piece
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await body.aclose()  # type: ignore[attr-defined]

    return Response(200, [("content-type", answer.headers.get("content-type", "text/plain"))], whole())


def _reason(status: int) -> str:
    return {400: "BadRequest", 404: "NotFound", 403: "Forbidden"}.get(status, "InternalError")


async def _upgrade(call: Call, pod: Object, path: str, query: list[tuple[str, str]]) -> Response:
    """Opens the same upgrade at the kubelet and joins the two connections."""
    request = call.request
    if "upgrade" not in request.headers.get("connection", "").lower():
        raise errors.bad_request("Upgrade request required")
    kubelet = _required(call, pod)
    client = _client(call, kubelet)
    headers = [(name, value) for name, value in request.headers.items() if name not in _HOP_HEADERS]
    target = f"{path}?{urlencode(query)}" if query else path
    try:
        answer, backend = await client.upgrade(request.method, target, headers)
    except (HTTPClientError, OSError) as error:
        raise _unreachable(kubelet, error) from error
    if backend is None:
        text = answer.body.decode(errors="replace").strip()
        raise errors.StatusError(answer.status, _reason(answer.status), text)

    async def join(client_stream: ByteStream) -> None:
        await splice(client_stream, backend)

    kept = [(name, value) for name, value in answer.headers.items() if name not in ("date", "content-length")]
    return Response(101, kept, upgrade=join)
