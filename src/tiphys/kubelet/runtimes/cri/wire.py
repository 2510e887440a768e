"""gRPC to containerd: messages from a descriptor set loaded at run time, and calls that fail in our words."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool

from tiphys.kubelet.runtimes.interface import DeadlineExceeded, NotFound, RuntimeFailure, Unavailable
from tiphys.net.grpc_messages import FILE, Message, message_of, pool_of

Metadata = tuple[tuple[str, str], ...]

Observe = Callable[[str, float, bool], None]
"""(operation, seconds, whether it failed): told of each call, for metrics."""

CRI = "runtime.v1"
REQUEST_TIMEOUT_SECONDS = 120.0
"""The kubelet's runtimeRequestTimeout by default."""
MESSAGE_LIMIT_BYTES = 16 << 20
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    # A local socket comes back quickly or not at all: gRPC's own back-off (1 s, growing) would add seconds to a restart.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.enable_http_proxy", 0),
]


def _pool() -> descriptor_pool.DescriptorPool:
    return pool_of(Path(__file__).parent / FILE)


@cache
def message(name: str) -> Callable[..., Message]:
    """The class of a message: message("runtime.v1.PodSandboxConfig")."""
    return message_of(_pool(), name)


def cri(name: str) -> Callable[..., Message]:
    """The class of a CRI message: cri("PodSandboxConfig")."""
    return message(f"{CRI}.{name}")


@cache
def operation(method: str) -> str:
    """What a call of CRI is named in metrics: "run_podsandbox" for RunPodSandbox."""
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()
    return words.replace("pod_sandbox", "podsandbox").replace(
        "update_container_resources", "update_container"
    )


def failure(error: grpc.aio.AioRpcError) -> RuntimeFailure:
    """What went wrong, in the words of interface.py."""
    text = error.details() or error.code().name
    code = "".join(word.capitalize() for word in error.code().name.split("_"))
    if error.code() == grpc.StatusCode.NOT_FOUND:
        return NotFound(text, code)
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(text, code)
    # CRI's socket answers before its plugin is ready; only the text tells.
    if error.code() == grpc.StatusCode.UNAVAILABLE or "server is not initialized yet" in text:
        return Unavailable(text, code)
    return RuntimeFailure(text, code)


def open_channel(socket_path: str) -> grpc.aio.Channel:
    """A channel to containerd's socket. Connects at the first call, and again after each loss."""
    return grpc.aio.insecure_channel(f"unix:{socket_path}", options=CHANNEL_OPTIONS)


class Service:
    """The methods of one gRPC service by their names: `await service.call("Version", request)`."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        name: str,
        metadata: Metadata = (),
        *,
        observe: Observe | None = None,
        pool: descriptor_pool.DescriptorPool | None = None,
    ) -> None:
        self._pool = pool or _pool()
        self._metadata = metadata
        self._observe = observe
        self._unary: dict[str, Callable[..., Awaitable[Message]]] = {}
        self._streams: dict[str, Callable[..., Any]] = {}
        self.requests: dict[str, Callable[..., Message]] = {}
        for method in self._pool.FindServiceByName(name).methods:
            self._add(channel, method)

    def _add(self, channel: grpc.aio.Channel, method: Any) -> None:
        path = f"/{method.containing_service.full_name}/{method.name}"
        request = message_of(self._pool, method.input_type.full_name)
        response = message_of(self._pool, method.output_type.full_name)
        codec: dict[str, Any] = {
            "request_serializer": lambda value: value.SerializeToString(),
            "response_deserializer": response.FromString,  # type: ignore[attr-defined]
        }
        self.requests[method.name] = request
        if method.client_streaming:
            self._streams[method.name] = channel.stream_stream(path, **codec)
        elif method.server_streaming:
            self._streams[method.name] = channel.unary_stream(path, **codec)
        else:
            self._unary[method.name] = channel.unary_unary(path, **codec)

    async def call(
        self, method: str, *, timeout_seconds: float | None = REQUEST_TIMEOUT_SECONDS, **fields: Any
    ) -> Message:
        """One request of these fields, one answer. Raises the errors of interface.py. A timeout of None waits for ever."""
        request = self.requests[method](**fields)
        began, failed = time.monotonic(), True
        try:
            answer = await self._unary[method](request, timeout=timeout_seconds, metadata=self._metadata)
            failed = False
            return answer
        except grpc.aio.AioRpcError as error:
            raise failure(error) from None
        finally:
            if self._observe is not None:
                self._observe(operation(method), time.monotonic() - began, failed)

    async def stream(self, method: str, **fields: Any) -> AsyncIterator[Message]:
        """One request, many answers."""
        call = self._streams[method](self.requests[method](**fields), metadata=self._metadata)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise failure(error) from None
        finally:
            call.cancel()

    def duplex(self, method: str) -> Any:
        """An open call to write to and read from; raises AioRpcError itself."""
        return self._streams[method](metadata=self._metadata)
