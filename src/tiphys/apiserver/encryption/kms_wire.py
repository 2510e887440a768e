"""A KMS plugin behind a unix socket: gRPC, with messages that are made from messages.binpb (`net/grpc_messages.py`).

Calls block, for the store's reads are synchronous: what one decrypts is a seed that serves for all values written with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool

from tiphys.apiserver.encryption.transformers import TransformError
from tiphys.net.grpc_messages import FILE, Message, message_of, pool_of

SERVICE = "v2.KeyManagementService"
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
]


def _pool() -> descriptor_pool.DescriptorPool:
    return pool_of(Path(__file__).with_name(FILE))


@cache
def message(name: str) -> Callable[..., Message]:
    """The class of a message: message("StatusRequest")."""
    return message_of(_pool(), f"v2.{name}")


class Plugin:
    """The three methods. Raise TransformError."""

    def __init__(self, socket_path: str, timeout_seconds: float) -> None:
        # The authority of a unix socket's path is no host name, and servers in Go refuse it.
        options = [*_OPTIONS, ("grpc.default_authority", "localhost")]
        self._channel = grpc.insecure_channel(f"unix:{socket_path}", options=options)
        self._timeout_seconds = timeout_seconds

    def status(self) -> Message:
        return self._call("Status", message("StatusRequest")())

    def encrypt(self, plaintext: bytes, uid: str) -> Message:
        return self._call("Encrypt", message("EncryptRequest")(plaintext=plaintext, uid=uid))

    def decrypt(self, uid: str, ciphertext: bytes, key_id: str, annotations: dict[str, bytes]) -> bytes:
        request = message("DecryptRequest")(
            ciphertext=ciphertext, uid=uid, key_id=key_id, annotations=annotations
        )
        return bytes(self._call("Decrypt", request).plaintext)

    def _call(self, method: str, request: Message) -> Message:
        answer: Any = message(f"{method}Response")
        call = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda value: value.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            return call(request, timeout=self._timeout_seconds)
        except grpc.RpcError as error:
            code: Any = error
            name = "".join(word.capitalize() for word in code.code().name.split("_"))
            raise TransformError(f"rpc error: code = {name} desc = {code.details()}") from None

    def close(self) -> None:
        self._channel.close()
