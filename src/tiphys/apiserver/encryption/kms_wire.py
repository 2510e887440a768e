"""A KMS plugin behind a unix socket: gRPC, with messages that are made from messages.binpb (`net/grpc_messages.py`).

Calls block, for the store's reads are synchronous: what one decrypts is a seed that serves for all values written with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool

from tiphys.apiserver.encryption.transformers import TransformError
from tiphys.net.grpc import GRPCError
from tiphys.net.grpc_blocking import BlockingChannel
from tiphys.net.grpc_messages import FILE, Message, message_of, pool_of

SERVICE = "v2.KeyManagementService"


def _pool() -> descriptor_pool.DescriptorPool:
    return pool_of(Path(__file__).with_name(FILE))


@cache
def message(name: str) -> Callable[..., Message]:
    """The class of a message: message("StatusRequest")."""
    return message_of(_pool(), f"v2.{name}")


class Plugin:
    """The three methods. Raise TransformError."""

    def __init__(self, socket_path: str, timeout_seconds: float) -> None:
        self._channel = BlockingChannel(socket_path)
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
        try:
            data = self._channel.unary(
                f"/{SERVICE}/{method}", request.SerializeToString(), timeout_seconds=self._timeout_seconds
            )
        except GRPCError as error:
            raise TransformError(str(error)) from None
        return answer.FromString(data)

    def close(self) -> None:
        self._channel.close()
