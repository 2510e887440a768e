"""pods/log: what the kubelet of the pod's node has of a container's log, passed on as it comes; in WebSocket messages to who asks so."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from tiphys.apiserver.call import Call
from tiphys.apiserver.relay import describe
from tiphys.apiserver.requests import query_bool, query_integer
from tiphys.apiserver.responses import plain_error
from tiphys.apiserver.subresources.kubelets import KubeletAddress, client_of, kubelet_address
from tiphys.apiserver.subresources.pod_containers import container_of
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupKind
from tiphys.machinery.schema.errors import DecodeError
from tiphys.machinery.schema.times import canonical_time
from tiphys.net.client import HTTPClientError
from tiphys.net.http import ByteStream, Response
from tiphys.net.websocket import (
    HandshakeError,
    Opcode,
    WebSocket,
    WebSocketError,
    is_websocket_upgrade,
    server_handshake,
)

_NUMBERS = ("sinceSeconds", "tailLines", "limitBytes")
_FLAGS = ("follow", "previous", "timestamps")
_PROTOCOLS = ("binary.k8s.io", "base64.binary.k8s.io", "")
_READ_BYTES = 2000
"""So much of a kubelet's refusal is passed on."""


async def read_log(call: Call) -> Response:
    query = _options(call)
    pod = call.server.writes.find(call.row, call.info.namespace, call.info.name).object
    container = container_of(call, pod)
    node = pod["spec"].get("nodeName")
    pieces: AsyncIterator[bytes] = _nothing()
    content_type = "text/plain"
    if node:
        kubelet = kubelet_address(call, node)
        path = f"/containerLogs/{call.info.namespace}/{call.info.name}/{container}"
        content_type, pieces = await _open(call, kubelet, f"{path}?{urlencode(query)}" if query else path)
    if is_websocket_upgrade(call.request.headers):
        return _over_websocket(call, pieces)
    return Response(200, [("content-type", content_type)], pieces)


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


def _options(call: Call) -> list[tuple[str, str]]:
    """PodLogOptions as the kubelet is asked with them. Raises 400 and 422."""
    query = call.request.query
    numbers = {name: value for name in _NUMBERS if (value := query_integer(query, name)) is not None}
    since = query.get("sinceTime", ("",))[0]
    if since:
        try:
            since = canonical_time(since)
        except DecodeError as error:
            raise errors.bad_request(str(error)) from None
    found = _problems(numbers, query, since)
    if found:
        raise errors.invalid(GroupKind("", "PodLogOptions"), call.info.name, found)
    asked = [(name, "true") for name in _FLAGS if query_bool(query, name)]
    asked += [(name, str(value)) for name, value in numbers.items()]
    return [*asked, ("sinceTime", since)] if since else asked


def _problems(numbers: dict[str, int], query: dict[str, list[str]], since: str) -> list[errors.FieldError]:
    rules = {
        "tailLines": (0, "must be greater than or equal to 0"),
        "limitBytes": (1, "must be greater than 0"),
        "sinceSeconds": (1, "must be greater than 0"),
    }
    found: list[errors.FieldError] = []
    for name, (least, rule) in rules.items():
        is_told_below = name == "sinceSeconds" and since
        if name in numbers and numbers[name] < least and not is_told_below:
            found.append(errors.FieldError.invalid(errors.Path(name), numbers[name], rule))
    if since and "sinceSeconds" in numbers:
        detail = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        found.append(errors.FieldError.forbidden(errors.Path(""), detail))
    if query.get("stream", ("",))[0]:
        # PodLogsQuerySplitStreams, which is off unless somebody switches it on.
        found.append(errors.FieldError.forbidden(errors.Path("stream"), "may not be specified"))
    return found


async def _open(call: Call, kubelet: KubeletAddress, target: str) -> tuple[str, AsyncIterator[bytes]]:
    """The answer's content type, and its body as it comes, whose end ends the exchange with the kubelet."""
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    body = _exchange(call, kubelet, target, opened)
    # The exchange is a block that must be left by whom it was entered: it lives in the iterator, which begins now.
    await anext(body)
    answer = opened.result()
    if answer.status != 200:
        text = b"".join([piece async for piece in body])[:_READ_BYTES].decode(errors="replace")
        raise _refused(call, answer.status, text)
    return answer.headers.get("content-type", "text/plain"), body


async def _exchange(
    call: Call, kubelet: KubeletAddress, target: str, opened: asyncio.Future[Any]
) -> AsyncIterator[bytes]:
    """First nothing, once the answer's head is in `opened`; then the body."""
    try:
        async with client_of(call, kubelet).stream("GET", target) as answer:
            opened.set_result(answer)
            yield b""
            async for piece in answer:
                yield piece
    except (HTTPClientError, OSError) as error:
        if opened.done():
            raise ConnectionError(str(error)) from error
        text = describe(error) if isinstance(error, HTTPClientError) else str(error)
        url = f"https://{kubelet.host}:{kubelet.port}{target}"
        raise errors.StatusError(500, "", f'Get "{url}": {text}') from error


def _refused(call: Call, status: int, text: str) -> errors.StatusError:
    """As upstream's generic server response."""
    if status == 500:
        return errors.internal_error(text)
    if status == 400:
        return errors.bad_request(text)
    said = {
        401: ("Unauthorized", "the server has asked for the client to provide credentials"),
        403: ("Forbidden", text),
        404: ("NotFound", "the server could not find the requested resource"),
        405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
        422: ("Invalid", "the server rejected our request due to an error in our request"),
        503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    }
    unknown = (
        "Unknown",
        f"the server responded with the status code {status} but did not return more information",
    )
    reason, message = said.get(status, unknown)
    details = {"name": call.info.name, "kind": "pods/log"}
    return errors.StatusError(status, reason, f"{message} ( pods/log {call.info.name})", details)


# WebSocket


def _over_websocket(call: Call, pieces: AsyncIterator[bytes]) -> Response:
    """`binary.k8s.io` or `base64.binary.k8s.io`: an empty message first, then the log; what the client says is dropped."""
    try:
        handshake = server_handshake(call.request.headers, _PROTOCOLS)
    except HandshakeError as error:
        return plain_error(str(error), error.status)
    in_base64 = handshake.subprotocol.startswith("base64")

    async def send(stream: ByteStream) -> None:
        socket = WebSocket(stream, "server")
        receiving = asyncio.ensure_future(_ignore(socket))
        sending = asyncio.ensure_future(_send_all(socket, pieces, in_base64=in_base64))
        try:
            await asyncio.wait([receiving, sending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (receiving, sending):
                task.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)
            await pieces.aclose()  # type: ignore[attr-defined]
            await socket.close()

    return Response(101, handshake.headers, upgrade=send)


async def _ignore(socket: WebSocket) -> None:
    try:
        while await socket.receive() is not None:
            pass
    except WebSocketError:
        pass


async def _send_all(socket: WebSocket, pieces: AsyncIterator[bytes], *, in_base64: bool) -> None:
    opcode = Opcode.TEXT if in_base64 else Opcode.BINARY
    await socket.send(b"", opcode)
    async for piece in pieces:
        if piece:
            await socket.send(base64.b64encode(piece) if in_base64 else piece, opcode)
