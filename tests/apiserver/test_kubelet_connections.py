"""What of a pod the kubelet answers: its log, and the streams of its containers; and the words when it does not."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from served import ADMIN, Client, running

from tiphys.client.inprocess import LocalIdentity
from tiphys.net.client import HTTPClient
from tiphys.net.http import ByteStream, Request, Response
from tiphys.net.server import Server
from tiphys.net.websocket import ClientHandshake, Opcode, WebSocket
from tiphys.testing.clock import FakeClock

PODS = "/api/v1/namespaces/default/pods"
PATIENCE_SECONDS = 60.0


@dataclass
class Kubelet:
    """Notes what it is asked, and answers what it was told to."""

    asked: list[Request] = field(default_factory=list)
    answer: Response = field(
        default_factory=lambda: Response(200, [("content-type", "text/plain")], b"hello\n")
    )
    port: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: Request) -> Response:
        self.asked.append(request)
        return self.answer

    async def endless(self) -> AsyncIterator[bytes]:
        try:
            yield b"one\n"
            await asyncio.Event().wait()
        finally:
            self.gone.set()


@dataclass
class World:
    client: Client
    kubelet: Kubelet
    http: HTTPClient
    """Over a real connection, as the administrator, for what is upgraded."""

    async def upgrade(self, target: str, *protocols: str) -> tuple[int, str, WebSocket | None]:
        handshake = ClientHandshake(protocols)
        answer, stream = await self.http.upgrade("GET", target, list(handshake.headers.items()))
        if stream is None:
            return answer.status, answer.body.decode(), None
        return 101, handshake.verify(101, answer.headers), WebSocket(stream, "client")


@pytest.fixture
async def world(clock: FakeClock, signing_key: bytes) -> AsyncIterator[World]:
    kubelet = Kubelet()
    backend = Server(kubelet.handle)
    kubelet.port = (await backend.listen(host="127.0.0.1", port=0)).port
    async with running(clock, signing_key) as server:
        client = Client(server)
        server.kubelet_client = lambda node, host, number: HTTPClient(f"http://{host}:{number}")
        await client.create("/api/v1/nodes", {"metadata": {"name": "n"}})
        await tell_address(client, kubelet.port)
        containers = [{"name": name, "image": "web"} for name in ("web", "side")]
        await client.create(
            PODS, {"metadata": {"name": "web"}, "spec": {"nodeName": "n", "containers": containers}}
        )

        def handle(request: Request) -> Any:
            request.context = ADMIN
            return server.handle(request)

        front = Server(handle)
        port = (await front.listen(host="127.0.0.1", port=0)).port
        http = HTTPClient(f"http://127.0.0.1:{port}")
        yield World(client, kubelet, http)
        await http.close()
        await front.shutdown(grace_seconds=0)
    await backend.shutdown(grace_seconds=0)


async def tell_address(client: Client, port: int) -> None:
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    await client.patch("/api/v1/nodes/n/status", {"status": status})


# Logs


async def test_the_options_of_a_log_as_the_kubelet_is_asked_with_them(world: World) -> None:
    answer = await world.client.call(
        "GET",
        f"{PODS}/web/log?container=side&follow=false&previous=true&timestamps&tailLines=%2B3&limitBytes=9"
        "&sinceTime=2026-01-01T01:00:00.5%2B01:00&pretty=true",
    )
    assert (answer.status, answer.raw) == (200, b"hello\n")
    [asked] = world.kubelet.asked
    assert asked.target == (
        "/containerLogs/default/web/side?previous=true&timestamps=true&tailLines=3&limitBytes=9"
        "&sinceTime=2026-01-01T00%3A00%3A00Z"
    )


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        (
            "container=web&tailLines=-1&limitBytes=0",
            422,
            'PodLogOptions "web" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, '
            "limitBytes: Invalid value: 0: must be greater than 0]",
        ),
        (
            "container=web&sinceSeconds=0",
            422,
            'PodLogOptions "web" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0',
        ),
        (
            "container=web&sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            422,
            'PodLogOptions "web" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified',
        ),
        (
            "container=web&stream=Stdout",
            422,
            'PodLogOptions "web" is invalid: stream: Forbidden: may not be specified',
        ),
        ("container=web&tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (
            "container=web&sinceTime=now",
            400,
            'parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006"',
        ),
        ("", 400, "a container name must be specified for pod web, choose one of: [web side]"),
        ("container=none", 400, "container none is not valid for pod web"),
    ],
)
async def test_what_is_asked_wrongly(world: World, query: str, code: int, message: str) -> None:
    answer = await world.client.call("GET", f"{PODS}/web/log?{query}")
    assert (answer.status, answer.body["message"]) == (code, message)
    assert world.kubelet.asked == []


@pytest.mark.parametrize(
    ("status", "text", "code", "reason", "message"),
    [
        (400, "container is waiting", 400, "BadRequest", "container is waiting"),
        (500, "it burns", 500, "InternalError", "Internal error occurred: it burns"),
        (
            404,
            "pod does not exist",
            404,
            "NotFound",
            "the server could not find the requested resource ( pods/log web)",
        ),
        (403, "Forbidden (user=x)", 403, "Forbidden", "Forbidden (user=x) ( pods/log web)"),
        (
            401,
            "Unauthorized",
            401,
            "Unauthorized",
            "the server has asked for the client to provide credentials ( pods/log web)",
        ),
    ],
)
async def test_what_the_kubelet_refuses(
    world: World, status: int, text: str, code: int, reason: str, message: str
) -> None:
    world.kubelet.answer = Response(status, [("content-type", "text/plain")], text.encode())
    answer = await world.client.call("GET", f"{PODS}/web/log?container=web")
    assert (answer.status, answer.body["reason"], answer.body["message"]) == (code, reason, message)


async def test_nobody_is_where_the_kubelet_should_be(world: World) -> None:
    await tell_address(world.client, 1)
    answer = await world.client.call("GET", f"{PODS}/web/log?container=web")
    url = "https://127.0.0.1:1/containerLogs/default/web/web"
    assert (answer.status, answer.body["message"]) == (
        500,
        f'Get "{url}": dial tcp 127.0.0.1:1: connect: connection refused',
    )
    answer = await world.client.call(
        "GET", f"{PODS}/web/exec?container=web&command=ls", connection="Upgrade", upgrade="SPDY/3.1"
    )
    assert (answer.status, answer.body["message"]) == (
        500,
        "error dialing backend: dial tcp 127.0.0.1:1: connect: connection refused",
    )


@pytest.mark.parametrize("protocol", ["binary.k8s.io", "base64.binary.k8s.io", ""])
async def test_a_log_over_websocket(world: World, protocol: str) -> None:
    world.kubelet.answer = Response(200, [("content-type", "text/plain")], b"a log\n")
    status, chosen, socket = await world.upgrade(f"{PODS}/web/log?container=web", *filter(None, [protocol]))
    assert (status, chosen) == (101, protocol)
    assert socket is not None
    opcode = Opcode.TEXT if "base64" in protocol else Opcode.BINARY
    text = base64.b64encode(b"a log\n") if "base64" in protocol else b"a log\n"
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await socket.receive() == (opcode, b"")
        assert await socket.receive() == (opcode, text)
        assert await socket.receive() is None
    assert socket.close_code == 1000
    await socket.close()


async def test_a_websocket_client_that_leaves_ends_the_exchange_with_the_kubelet(world: World) -> None:
    world.kubelet.answer = Response(200, [("content-type", "text/plain")], world.kubelet.endless())
    _, _, socket = await world.upgrade(f"{PODS}/web/log?container=web&follow=true", "binary.k8s.io")
    assert socket is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await socket.receive() == (Opcode.BINARY, b"")
        assert await socket.receive() == (Opcode.BINARY, b"one\n")
        await socket.send(b"noise that nobody reads")
        socket.abort()
        await world.kubelet.gone.wait()


async def test_a_websocket_client_that_wants_another_protocol(world: World) -> None:
    status, text, _ = await world.upgrade(f"{PODS}/web/log?container=web", "tea.k8s.io")
    assert (status, text[:38]) == (403, "requested protocol(s) are not supported"[:38])


# Streams


async def test_streams_are_carried_as_they_are(world: World) -> None:
    async def echo(stream: ByteStream) -> None:
        while data := await stream.read():
            await stream.write(data.upper())

    world.kubelet.answer = Response(101, [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")], upgrade=echo)
    target = f"{PODS}/web/exec?container=side&command=sh&command=-c&stdin=true&stdout&stderr=false&tty=0"
    answer, stream = await world.http.upgrade(
        "POST", target, [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]
    )
    assert answer.status == 101
    assert stream is not None
    await stream.write(b"hello")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await stream.read() == b"HELLO"
    stream.close()
    [asked] = world.kubelet.asked
    assert (asked.method, asked.target) == (
        "POST",
        "/exec/default/web/side?input=1&output=1&command=sh&command=-c",
    )
    assert "authorization" not in asked.headers


async def test_a_refusal_reaches_the_client_as_the_kubelet_said_it(world: World) -> None:
    world.kubelet.answer = Response(404, [("content-type", "text/plain")], b'container not found ("web")')
    for verb in ("exec", "attach"):
        status, text, _ = await world.upgrade(
            f"{PODS}/web/{verb}?container=web&command=x", "v4.channel.k8s.io"
        )
        assert (status, text) == (404, 'container not found ("web")')
    status, text, _ = await world.upgrade(f"{PODS}/web/portforward", "SPDY/3.1+portforward.k8s.io")
    assert (status, text) == (404, 'container not found ("web")')


async def test_who_speaks_the_newest_protocol_is_told_inside(world: World) -> None:
    world.kubelet.answer = Response(404, [("content-type", "text/plain")], b'container not found ("web")')
    for port, cause in (
        (world.kubelet.port, 'unable to upgrade connection: container not found ("web")'),
        (
            1,
            'error sending request: Post "https://127.0.0.1:1/exec/default/web/web?output=1&command=x": '
            "dial tcp 127.0.0.1:1: connect: connection refused",
        ),
    ):
        await tell_address(world.client, port)
        status, chosen, socket = await world.upgrade(
            f"{PODS}/web/exec?container=web&command=x&stdout=1", "v5.channel.k8s.io"
        )
        assert (status, chosen) == (101, "v5.channel.k8s.io")
        assert socket is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = await socket.receive()
            assert message is not None
            assert await socket.receive() is None
        assert message[1][0] == 3
        told = json.loads(message[1][1:])
        assert told["message"] == f"Internal error occurred: {cause}"
        assert (told["status"], told["code"]) == ("Failure", 500)
        await socket.close()


async def test_what_is_no_upgrade(world: World) -> None:
    answer = await world.client.call("GET", f"{PODS}/web/exec?container=web&command=x")
    assert (answer.status, answer.body["message"]) == (400, "Upgrade request required")


async def test_reading_a_pod_is_not_enough_to_run_commands_in_it(world: World) -> None:
    """Whatever the method: a WebSocket begins with GET. (1.35: AuthorizePodWebsocketUpgradeCreatePermission)"""
    rules = [
        {
            "apiGroups": [""],
            "resources": [f"pods/{verb}" for verb in ("exec", "attach", "portforward", "log")],
            "verbs": ["get"],
        }
    ]
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    await world.client.create(f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    subjects = [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]
    binding = {"metadata": {"name": "jane"}, "roleRef": reference, "subjects": subjects}
    await world.client.create(f"{rbac}/rolebindings", binding)
    jane = Client(world.client.server, LocalIdentity("jane", ("system:authenticated",)))
    upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
    for verb in ("exec", "attach", "portforward"):
        refused = await jane.call("GET", f"{PODS}/web/{verb}?container=web&command=x", **upgrade)
        assert refused.status == 403, verb
        assert f'cannot create resource "pods/{verb}"' in refused.body["message"]
    assert (await jane.call("GET", f"{PODS}/web/log?container=web")).status == 200
