"""pods/exec, attach, portforward: passed on to the kubelet of the pod's node.

The API server only finds the node, asks the kubelet's HTTPS API under the same path scheme as upstream's kubelet has, and
carries bytes: an upgraded connection (WebSocket or SPDY) is tunnelled as it is. What the bytes mean is between the client and the
kubelet. Only when the kubelet refuses, a client of `v5.channel.k8s.io` is told so within its WebSocket, where it looks for it.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

import orjson

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CONNECT
from tiphys.apiserver.authorization.chain import authorize_create
from tiphys.apiserver.call import Call
from tiphys.apiserver.relay import describe
from tiphys.apiserver.requests import query_bool
from tiphys.apiserver.streams import splice
from tiphys.apiserver.subresources.kubelets import client_of, kubelet_address
from tiphys.apiserver.subresources.pod_containers import container_of
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.net.client import HTTPClientError
from tiphys.net.http import ByteStream, Request, Response
from tiphys.net.websocket import (
    HandshakeError,
    WebSocket,
    is_websocket_upgrade,
    offered_subprotocols,
    server_handshake,
)

_EXEC_OPTIONS = ("command", "stdin", "stdout", "stderr", "tty")
_HOP_HEADERS = frozenset({"host", "authorization", "content-length", "transfer-encoding", "accept-encoding"})
_PORT = re.compile(r"[0-9]{1,5}")
_CLOSING_PROTOCOL = "v5.channel.k8s.io"
_ERROR_CHANNEL = b"\x03"


async def execute(call: Call) -> Response:
    await authorize_create(call)
    pod = _pod(call)
    container = container_of(call, pod)
    await _review(call, "PodExecOptions", (*_EXEC_OPTIONS, "container"))
    return await _upgrade(call, pod, f"/exec/{_pod_path(call)}/{container}", _exec_query(call))


async def attach(call: Call) -> Response:
    await authorize_create(call)
    pod = _pod(call)
    container = container_of(call, pod)
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


def _exec_query(call: Call) -> list[tuple[str, str]]:
    """The kubelet's own names for the same options."""
    query = call.request.query
    flags = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
    asked = [(theirs, "1") for ours, theirs in flags.items() if query_bool(query, ours)]
    return [*asked, *(("command", word) for word in query.get("command", ()))]


async def _upgrade(call: Call, pod: Object, path: str, query: list[tuple[str, str]]) -> Response:
    """Opens the same upgrade at the kubelet and joins the two connections."""
    request = call.request
    if not pod["spec"].get("nodeName"):
        raise errors.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    kubelet = kubelet_address(call, pod["spec"]["nodeName"])
    if "upgrade" not in request.headers.get("connection", "").lower():
        raise errors.bad_request("Upgrade request required")
    headers = [(name, value) for name, value in request.headers.items() if name not in _HOP_HEADERS]
    target = f"{path}?{urlencode(query)}" if query else path
    tells_inside = _takes_status(request) and not path.startswith("/portForward/")
    try:
        answer, backend = await client_of(call, kubelet).upgrade(request.method, target, headers)
    except (HTTPClientError, OSError) as error:
        cause = describe(error) if isinstance(error, HTTPClientError) else str(error)
        if tells_inside:
            url = f"https://{kubelet.host}:{kubelet.port}{target}"
            return _told_inside(request, f'error sending request: Post "{url}": {cause}')
        raise errors.StatusError(500, "", f"error dialing backend: {cause}") from error
    if backend is None:
        text = answer.body.decode(errors="replace").strip()
        if tells_inside:
            return _told_inside(request, f"unable to upgrade connection: {text}")
        # As the kubelet said it: clients read the text of a refused upgrade, whatever its form.
        content_type = answer.headers.get("content-type", "text/plain; charset=utf-8")
        return Response(answer.status, [("content-type", content_type)], answer.body)

    async def join(client_stream: ByteStream) -> None:
        await splice(client_stream, backend)

    kept = [(name, value) for name, value in answer.headers.items() if name not in ("date", "content-length")]
    return Response(101, kept, upgrade=join)


def _takes_status(request: Request) -> bool:
    return is_websocket_upgrade(request.headers) and _CLOSING_PROTOCOL in offered_subprotocols(
        request.headers
    )


def _told_inside(request: Request, cause: str) -> Response:
    """The upgrade that the client wants, to say on its error channel that there is nothing behind it."""
    try:
        handshake = server_handshake(request.headers, [_CLOSING_PROTOCOL])
    except HandshakeError as error:
        raise errors.bad_request(str(error)) from None
    status = errors.internal_error(cause).status()
    del status["kind"], status["apiVersion"]

    async def tell(stream: ByteStream) -> None:
        socket = WebSocket(stream, "server")
        try:
            await socket.send(_ERROR_CHANNEL + orjson.dumps(status))
        finally:
            await socket.close()

    return Response(101, handshake.headers, upgrade=tell)
