"""A gRPC service of ours on a unix socket, made of handlers by the names of its methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tiphys.kubelet.devices.plugin import MESSAGES
from tiphys.net.grpc_messages import Message, message_of, pool_of

Handle = Callable[[Message], Awaitable[Message] | Message]


class Refused(Exception):
    """What the caller is told."""


def message(name: str) -> Callable[..., Message]:
    return message_of(pool_of(MESSAGES), name)


async def serve(socket: Path, name: str, handlers: Mapping[str, Handle]) -> grpc.aio.Server:
    """The server, started; `stop` it. Whatever was at the socket's path is gone."""
    methods = {
        method.name: _handler(method, handlers[method.name])
        for method in pool_of(MESSAGES).FindServiceByName(name).methods
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    socket.unlink(missing_ok=True)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    return server


def _handler(method: Any, handle: Handle) -> Any:
    request = message(method.input_type.full_name)

    async def answer(wanted: Message, context: Any) -> Message:
        try:
            found = handle(wanted)
            return await found if isinstance(found, Awaitable) else found
        except Refused as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=request.FromString,  # type: ignore[attr-defined]
        response_serializer=lambda value: value.SerializeToString(),
    )
