"""What tests of encryption have in common: configurations, servers with them over a given store, and a KMS plugin."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
from served import Client, running

from tiphys.apiserver.encryption.kms_wire import SERVICE, message
from tiphys.machinery.clock import Clock
from tiphys.store.interface import Store

KEY_ONE = {"name": "key1", "secret": base64.b64encode(b"1" * 32).decode()}
KEY_TWO = {"name": "key2", "secret": base64.b64encode(b"2" * 32).decode()}
IDENTITY: dict[str, Any] = {"identity": {}}
VALUE = "a-very-secret-word"
SECRET = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "stringData": {"word": VALUE}}
SECRETS = "/api/v1/namespaces/default/secrets"
STORED = "/registry/core/secrets/default/s"


def local(kind: str, *keys: dict[str, str]) -> dict[str, Any]:
    return {kind: {"keys": list(keys)}}


def entry(providers: list[dict[str, Any]], *resources: str) -> dict[str, Any]:
    return {"resources": list(resources) or ["secrets"], "providers": providers}


def text(*entries: dict[str, Any]) -> str:
    """A configuration; JSON is YAML."""
    kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration"}
    return json.dumps({**kind, "resources": list(entries)})


@asynccontextmanager
async def encrypted(
    configuration: Path | None, store: Store, clock: Clock, key: bytes, *, reload: bool = False
) -> AsyncIterator[Client]:
    settings: dict[str, Any] = {
        "encryption_provider_config": str(configuration or ""),
        "encryption_reload": reload,
    }
    async with running(clock, key, store=store, **settings) as server:
        yield Client(server)


class FakeKMS:
    """A plugin that turns bytes round. `key_id`, `healthz` and `ill` are what a test makes of it."""

    def __init__(self) -> None:
        self.key_id, self.healthz, self.ill = "kek-1", "ok", False
        self.calls: list[str] = []

    def answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.calls.append(method)
        if self.ill:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the HSM is on fire")
        if method == "Status":
            return message("StatusResponse")(version="v2", healthz=self.healthz, key_id=self.key_id)
        if method == "Encrypt":
            notes = {"local-kek.example.com": b"note"}
            return message("EncryptResponse")(
                ciphertext=request.plaintext[::-1], key_id=self.key_id, annotations=notes
            )
        assert dict(request.annotations) == {"local-kek.example.com": b"note"}
        return message("DecryptResponse")(plaintext=request.ciphertext[::-1])


@contextmanager
def served_kms(plugin: FakeKMS, socket_path: Path) -> Iterator[None]:
    def handler(method: str) -> grpc.RpcMethodHandler:
        request: Any = message(f"{method}Request")
        return grpc.unary_unary_rpc_method_handler(
            lambda sent, context: plugin.answer(method, sent, context),
            request_deserializer=request.FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    server = grpc.server(ThreadPoolExecutor(2))
    methods = {method: handler(method) for method in ("Status", "Encrypt", "Decrypt")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    server.add_insecure_port(f"unix:{socket_path}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()
