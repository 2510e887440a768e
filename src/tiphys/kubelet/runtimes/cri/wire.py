"""gRPC to containerd: messages from a descriptor set loaded at run time, and calls that fail in our words."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool

from tiphys.kubelet.runtimes.interface import DeadlineExceeded, NotFound, RuntimeFailure, Unavailable
from tiphys.machinery.frozen import frozen
from tiphys.net.grpc import Code, GRPCError, Metadata, Terms
from tiphys.net.grpc_channel import Channel, Stream
from tiphys.net.grpc_messages import FILE, Message, message_of, pool_of

Observe = Callable[[str, float, bool], None]
"""(operation, seconds, whether it failed): told of each call, for metrics."""

CRI = "runtime.v1"
REQUEST_TIMEOUT_SECONDS = 120.0
"""The kubelet's runtimeRequestTimeout by default."""
MESSAGE_LIMIT_BYTES = 16 << 20


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


def failure(error: GRPCError) -> RuntimeFailure:
    """What went wrong, in the words of interface.py."""
    text, code = error.details or error.code.name, error.code.label
    if error.code == Code.NOT_FOUND:
        return NotFound(text, code)
    if error.code == Code.DEADLINE_EXCEEDED:
        return DeadlineExceeded(text, code)
    # CRI's socket answers before its plugin is ready; only the text tells.
    if error.code == Code.UNAVAILABLE or "server is not initialized yet" in text:
        return Unavailable(text, code)
    return RuntimeFailure(text, code)


def open_channel(socket_path: str) -> Channel:
    """A channel to containerd's socket. Connects at the first call, and again after each loss."""
    return Channel(socket_path, Terms(receive_limit_bytes=MESSAGE_LIMIT_BYTES))


@frozen
class _Method:
    path: str
    request: Callable[..., Message]
    answer: Callable[[bytes], Message]


class Service:
    """The methods of one gRPC service by their names: `await service.call("Version")`."""

    def __init__(
        self,
        channel: Channel,
        name: str,
        metadata: Metadata = (),
        *,
        observe: Observe | None = None,
        pool: descriptor_pool.DescriptorPool | None = None,
    ) -> None:
        self._channel = channel
        self._name = name
        self._pool = pool or _pool()
        self._metadata = metadata
        self._observe = observe
        self._methods: dict[str, _Method] = {}

    def _method(self, name: str) -> _Method:
        """Made when first used: a node needs a third of them."""
        found = self._methods.get(name)
        if found is None:
            described = self._pool.FindServiceByName(self._name).methods_by_name[name]
            answer: Any = message_of(self._pool, described.output_type.full_name)
            found = self._methods[name] = _Method(
                f"/{self._name}/{name}",
                message_of(self._pool, described.input_type.full_name),
                answer.FromString,
            )
        return found

    def request(self, method: str, **fields: Any) -> Message:
        return self._method(method).request(**fields)

    async def call(
        self, method: str, *, timeout_seconds: float | None = REQUEST_TIMEOUT_SECONDS, **fields: Any
    ) -> Message:
        """One request of these fields, one answer. Raises the errors of interface.py. A timeout of None waits for ever."""
        made = self._method(method)
        request = made.request(**fields).SerializeToString()
        began, failed = time.monotonic(), True
        try:
            data = await self._channel.unary(
                made.path, request, metadata=self._metadata, timeout_seconds=timeout_seconds
            )
            answer = made.answer(data)
            failed = False
            return answer
        except GRPCError as error:
            raise failure(error) from None
        finally:
            if self._observe is not None:
                self._observe(operation(method), time.monotonic() - began, failed)

    async def stream(self, method: str, **fields: Any) -> AsyncIterator[Message]:
        """One request, many answers."""
        made = self._method(method)
        request = made.request(**fields).SerializeToString()
        try:
            async for data in self._channel.stream(made.path, request, metadata=self._metadata):
                yield made.answer(data)
        except GRPCError as error:
            raise failure(error) from None

    def duplex(self, method: str) -> AbstractAsyncContextManager[Stream]:
        """An open call to write to and read from, in bytes; raises GRPCError itself."""
        return self._channel.open(self._method(method).path, metadata=self._metadata)

    def answer(self, method: str, data: bytes) -> Message:
        return self._method(method).answer(data)
