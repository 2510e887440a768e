"""An API server inside the test, and a client for it that speaks in methods, targets and dictionaries."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any

import orjson

from tiphys.apiserver.aggregation.identity import FrontProxy
from tiphys.apiserver.bootstrap import bootstrap
from tiphys.apiserver.server import APIServer, Settings
from tiphys.apiserver.service_dialer import Connect
from tiphys.client.inprocess import LocalIdentity
from tiphys.machinery.clock import Clock
from tiphys.net.client import HTTPClient
from tiphys.net.dial import dial
from tiphys.net.http import Frame, Request, Response, Sink, ignore
from tiphys.store.interface import Store
from tiphys.store.memory import MemoryStore

Object = dict[str, Any]
ADMIN = LocalIdentity("admin", ("system:masters", "system:authenticated"))
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
PROTOBUF = "application/vnd.kubernetes.protobuf"


@dataclass(frozen=True)
class Answer:
    """What came back. `body` is decoded JSON, or the raw bytes of anything else."""

    status: int
    body: Any
    headers: dict[str, str]
    raw: bytes = b""
    warnings: tuple[str, ...] = ()

    def __iter__(self) -> Any:
        return iter((self.status, self.body, self.headers))


class Wire(Sink):
    """The client's end of a watch: what was written to it, and how much of that the client has not taken yet."""

    __slots__ = ("aborted", "data", "untaken_bytes")

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.aborted = False
        self.untaken_bytes = 0

    def write(self, data: bytes | Frame) -> None:
        if not self.closed:
            self.data += data.data if isinstance(data, Frame) else data

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            told, self.on_close = self.on_close, ignore
            told()

    def abort(self) -> None:
        self.aborted = True
        self.close()

    @property
    def pending_bytes(self) -> int:
        return self.untaken_bytes


@dataclass
class Watch:
    """An open watch. `events` takes what has arrived since it was last asked for."""

    wire: Wire
    headers: dict[str, str]
    _taken: int = field(default=0)

    def bytes(self) -> bytes:
        found = bytes(self.wire.data[self._taken :])
        self._taken = len(self.wire.data)
        return found

    def events(self) -> list[tuple[str, Object]]:
        found = [orjson.loads(line) for line in self.bytes().splitlines()]
        return [(event["type"], event["object"]) for event in found]

    def summary(self) -> list[tuple[str, str]]:
        return [(kind, obj["metadata"].get("name", "")) for kind, obj in self.events()]

    @property
    def open(self) -> bool:
        return not self.wire.closed

    def leave(self) -> None:
        self.wire.close()


class Client:
    """One user of the server. Header names are written with underscores."""

    def __init__(self, server: APIServer, identity: LocalIdentity | None = ADMIN) -> None:
        self.server = server
        self.identity = identity

    def as_user(self, name: str, *groups: str) -> Client:
        return Client(self.server, LocalIdentity(name, groups))

    def anonymous(self) -> Client:
        return Client(self.server, None)

    def request(self, method: str, target: str, body: Any = None, **headers: str) -> Request:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = orjson.dumps(body)
            sent.setdefault("content-type", "application/json")
        request = Request(method, target, sent, body or b"")
        request.context = self.identity
        return request

    async def respond(self, request: Request) -> Response:
        answer = self.server.handle(request)
        return await answer if isawaitable(answer) else answer

    async def call(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        response = await self.respond(self.request(method, target, body, **headers))
        assert response.start is None, "a watch is opened by Client.watch"
        raw = await _whole(response)
        named = dict(response.headers)
        decoded = orjson.loads(raw) if _is_plain_json(named) and raw else raw
        warnings = tuple(value for name, value in response.headers if name == "warning")
        return Answer(response.status, decoded, named, raw, warnings)

    async def get(self, target: str, **headers: str) -> Object:
        return await self._good("GET", target, None, headers)

    async def create(self, target: str, body: Any, **headers: str) -> Object:
        return await self._good("POST", target, body, headers)

    async def put(self, target: str, body: Any, **headers: str) -> Object:
        return await self._good("PUT", target, body, headers)

    async def patch(self, target: str, body: Any, kind: str = MERGE_PATCH, **headers: str) -> Object:
        return await self._good("PATCH", target, body, {"content_type": kind, **headers})

    async def delete(self, target: str, body: Any = None, **headers: str) -> Object:
        return await self._good("DELETE", target, body, headers)

    async def _good(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Object:
        answer = await self.call(method, target, body, **headers)
        assert 200 <= answer.status < 300, (method, target, answer.status, answer.body)
        found: Object = answer.body
        return found

    async def watch(self, target: str, **headers: str) -> Watch:
        """Opens a watch and lets the server send what it begins with."""
        response = await self.respond(self.request("GET", target, **headers))
        assert response.start is not None, (response.status, response.body)
        wire = Wire()
        response.start(wire)
        await settle()
        return Watch(wire, dict(response.headers))


async def settle() -> None:
    """Lets every task that can run do so."""
    import asyncio

    for _ in range(20):
        await asyncio.sleep(0)


async def _whole(response: Response) -> bytes:
    body = response.body
    if isinstance(body, bytes):
        return body
    if isinstance(body, Sequence):
        return b"".join(body)
    return b"".join([piece async for piece in body])


def _is_plain_json(headers: dict[str, str]) -> bool:
    return (
        headers.get("content-type", "").startswith("application/json") and "content-encoding" not in headers
    )


def no_kubelet(node: str, host: str, port: int) -> HTTPClient:
    raise AssertionError(f"nothing here talks to kubelets: {node} {host}:{port}")


@asynccontextmanager
async def running(
    clock: Clock,
    signing_key: bytes,
    *,
    store: Store | None = None,
    front_proxy: FrontProxy | None = None,
    connect: Connect = dial,
    **settings: Any,
) -> AsyncIterator[APIServer]:
    """A server with what it makes for itself already in place, closed at the end."""
    store = store or MemoryStore()
    server = APIServer(
        store,
        Settings(
            signing_key,
            front_proxy=front_proxy,
            client_ca=front_proxy.authority if front_proxy else b"",
            **settings,
        ),
        kubelet_client=no_kubelet,
        connect=connect,
        clock=clock,
        names=random.Random(1),
    )
    server.start()
    await bootstrap(server, endpoint_host="10.0.0.1", endpoint_port=6443)
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    # A controller's work; a store that was kept has it already.
    made = await Client(server).call("POST", accounts, {"metadata": {"name": "default"}})
    assert made.status in (201, 409), made.body
    try:
        yield server
    finally:
        await server.close()
        await store.close()
