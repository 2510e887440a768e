"""A gRPC service of ours on a unix socket, made of handlers by the names of its methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tiphys.kubelet.devices.plugin import MESSAGES
from tiphys.net.grpc import Code, GRPCError
from tiphys.net.grpc_messages import Message, message_of, pool_of
from tiphys.net.grpc_server import GRPCServer, Method

Handle = Callable[[Message], Awaitable[Message] | Message]


class Refused(Exception):
    """What the caller is told."""


def message(name: str) -> Callable[..., Message]:
    return message_of(pool_of(MESSAGES), name)


async def serve(socket: Path, name: str, handlers: Mapping[str, Handle]) -> GRPCServer:
    """The server, started; `stop` it. Whatever was at the socket's path is gone."""
    server = GRPCServer(
        {
            f"/{name}/{method.name}": _method(method, handlers[method.name])
            for method in pool_of(MESSAGES).FindServiceByName(name).methods
        }
    )
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    await server.listen(socket)
    return server


def _method(method: Any, handle: Handle) -> Method:
    request: Any = message(method.input_type.full_name)

    async def answer(data: bytes) -> bytes:
        try:
            found = handle(request.FromString(data))
            answered = await found if isinstance(found, Awaitable) else found
        except Refused as error:
            raise GRPCError(Code.UNKNOWN, str(error)) from None
        return bytes(answered.SerializeToString())

    return answer
