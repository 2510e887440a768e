"""The transport over the network, against a server of our own on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from tiphys.client.client import Client
from tiphys.client.https import HTTPSTransport, lines
from tiphys.client.kubeconfig import Access
from tiphys.client.resources import PODS
from tiphys.machinery.errors import StatusError, not_found
from tiphys.machinery.metrics import Registry
from tiphys.net.http import Request, Response
from tiphys.net.server import Server
from tiphys.testing.clock import FakeClock


class Recorded:
    """Answers from a list, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answers: list[Response] = []

    def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        return self.answers.pop(0)

    def will(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.answers.append(Response(status, fields, data))


@pytest.fixture
def server() -> Recorded:
    return Recorded()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def transport(server: Recorded, clock: FakeClock, registry: Registry) -> AsyncIterator[HTTPSTransport]:
    listening = Server(server, body_limit_bytes=1 << 20)
    address = await listening.listen(host="127.0.0.1", port=0)
    transport = HTTPSTransport(Access(f"http://{address}", token="secret"), clock=clock, metrics=registry)
    yield transport
    await transport.close()
    await listening.shutdown(grace_seconds=0)


async def test_a_request_is_json_with_a_token(server: Recorded, transport: HTTPSTransport) -> None:
    server.will(201, {"kind": "Pod", "metadata": {"name": "a"}})
    made = await Client(transport).create(PODS, {"metadata": {"namespace": "default", "name": "a"}})
    (asked,) = server.asked
    assert made["metadata"]["name"] == "a"
    assert (asked.method, asked.path) == ("POST", "/api/v1/namespaces/default/pods")
    assert asked.headers["authorization"] == "Bearer secret"
    assert asked.headers["content-type"] == "application/json"
    assert orjson.loads(asked.body)["metadata"]["name"] == "a"


async def test_a_status_becomes_its_error(server: Recorded, transport: HTTPSTransport) -> None:
    server.will(404, not_found(PODS.group_resource, "a").status())
    with pytest.raises(StatusError, match='pods "a" not found') as raised:
        await Client(transport).get(PODS, "a", "default")
    assert (raised.value.code, raised.value.reason) == (404, "NotFound")


async def test_an_answer_that_is_no_status_is_an_error_too(
    server: Recorded, transport: HTTPSTransport
) -> None:
    server.will(502, b"bad gateway")
    with pytest.raises(StatusError, match="bad gateway"):
        await Client(transport).get(PODS, "a", "default")


async def test_lists_come_in_pages_and_items_say_what_they_are(
    server: Recorded, transport: HTTPSTransport
) -> None:
    server.will(
        200, {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "t", "resourceVersion": "9"}}
    )
    server.will(200, {"items": [{"metadata": {"name": "b"}}], "metadata": {"resourceVersion": "9"}})
    listing = await Client(transport).list(PODS, label_selector="app=web")
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert listing.items[0]["kind"] == "Pod"
    assert listing.resource_version == "9"
    assert server.asked[0].query["labelSelector"] == ["app=web"]
    assert server.asked[1].query["continue"] == ["t"]


async def test_a_watch_gives_events_until_the_server_ends_it(
    server: Recorded, transport: HTTPSTransport
) -> None:
    added = orjson.dumps({"type": "ADDED", "object": {"metadata": {"name": "a"}}})
    mark = orjson.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}})
    server.will(200, added + b"\n" + mark + b"\n")
    events = [event async for event in transport.watch(PODS, "default", resource_version="7")]
    assert [event.type for event in events] == ["ADDED", "BOOKMARK"]
    query = server.asked[0].query
    assert (query["watch"], query["resourceVersion"]) == (["1"], ["7"])
    assert 300 <= int(query["timeoutSeconds"][0]) <= 600


async def test_a_watch_that_is_too_late_says_so(server: Recorded, transport: HTTPSTransport) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    server.will(200, orjson.dumps({"type": "ERROR", "object": status}) + b"\n")
    server.will(410, status)
    for _ in range(2):
        with pytest.raises(StatusError) as raised:
            async for _event in transport.watch(PODS, resource_version="1"):
                pass
        assert raised.value.code == 410


async def test_a_busy_server_is_asked_again_when_it_says(
    server: Recorded, transport: HTTPSTransport, clock: FakeClock, registry: Registry
) -> None:
    server.will(429, b"", Retry_After="3")
    server.will(200, {"kind": "Pod"})
    waiting = asyncio.create_task(Client(transport).get(PODS, "a", "default"))
    while clock.next_due is None:
        await asyncio.sleep(0.001)
    assert clock.next_due == 3
    await clock.advance(3)
    assert (await waiting)["kind"] == "Pod"
    counted = registry.render().decode()
    host = urlsplit(transport.http.base_url).netloc
    for name, code in (("requests_total", 200), ("requests_total", 429), ("request_retries_total", 429)):
        label = "method" if name == "requests_total" else "verb"
        assert f'rest_client_{name}{{code="{code}",host="{host}",{label}="GET"}} 1' in counted


async def test_no_server_is_an_os_error() -> None:
    transport = HTTPSTransport(Access("http://127.0.0.1:1"))
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1"):
        await Client(transport).get(PODS, "a", "default")
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1"):
        async for _event in transport.watch(PODS, resource_version="1"):
            pass
    await transport.close()


def test_a_token_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    transport = HTTPSTransport(Access("http://127.0.0.1:1", token_file=str(file)))
    assert transport.headers()["Authorization"] == "Bearer one"
    file.write_text("two\n")
    assert transport.headers()["Authorization"] == "Bearer two"


async def test_lines_are_whole_whatever_the_pieces() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"a", b"b\nc", b"\n", b"\nd\ne"):
            yield piece

    assert [line async for line in lines(pieces())] == [b"ab", b"c", b"d"]
