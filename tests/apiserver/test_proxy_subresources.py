"""pods/proxy, services/proxy and nodes/proxy: what passes, what is changed on the way, and what is said when nobody is there."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from served import Client, Object, running

from tiphys.apiserver.server import APIServer
from tiphys.apiserver.subresources.links import Links
from tiphys.apiserver.subresources.proxying import Asked, split
from tiphys.net.client import HTTPClient
from tiphys.net.dial import dial
from tiphys.net.http import ByteStream, Request, Response
from tiphys.net.server import Server
from tiphys.testing.clock import FakeClock

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
PAGE = b"""<html><a href="/rewriteme">one</a><a href='near'>two</a><img SRC=/x.png><a href="https://elsewhere/x">three</a></html>"""


class World:
    """A server behind the API server that notes what it is asked, at a pod's address."""

    def __init__(self, client: Client, asked: list[Request]) -> None:
        self.client = client
        self.asked = asked


async def answer(request: Request) -> Response:
    if request.path == "/page":
        return Response(200, [("content-type", "text/html; charset=utf-8")], PAGE)
    if request.path == "/moved":
        return Response(302, [("location", "/page?a=1")])
    if request.path == "/echo":
        return Response(101, [("connection", "Upgrade"), ("upgrade", "echo")], upgrade=_echo)
    headers = [("content-type", "text/plain"), ("access-control-allow-origin", "*")]
    return Response(418, headers, f"{request.method} {request.target} ".encode() + request.body)


async def _echo(stream: ByteStream) -> None:
    await stream.write(await stream.read())


@pytest.fixture
async def world(clock: FakeClock, signing_key: bytes) -> AsyncIterator[World]:
    asked: list[Request] = []

    async def handle(request: Request) -> Response:
        asked.append(request)
        return await answer(request)

    backend = Server(handle)
    port = (await backend.listen(host="127.0.0.1", port=0)).port

    async def connect(host: str, number: int) -> socket.socket:
        if (host, number) not in {("10.91.0.9", 8080), ("10.91.0.9", 80), ("10.90.0.11", 9100)}:
            raise ConnectionRefusedError(111, "Connection refused")
        return await dial("127.0.0.1", port)

    async with running(clock, signing_key, connect=connect) as server:
        client = Client(server)
        await add_pod(client)
        server.kubelet_client = lambda node, host, number: HTTPClient(f"http://127.0.0.1:{port}")
        yield World(client, asked)
    await backend.shutdown(grace_seconds=0)


async def add_pod(client: Client, **status: Any) -> None:
    container: Object = {"name": "web", "image": "web", "ports": [{"containerPort": 8080}]}
    await client.create(PODS, {"metadata": {"name": "web"}, "spec": {"containers": [container]}})
    shown = status or {"podIP": "10.91.0.9", "podIPs": [{"ip": "10.91.0.9"}]}
    await client.patch(f"{PODS}/web/status", {"status": shown})


async def test_a_pod_is_asked_for_the_path_behind_proxy(world: World) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        got = await world.client.call(method, f"{PODS}/web/proxy/a/b%20c?x=1", b"body", accept="text/html")
        assert (got.status, got.raw) == (418, f"{method} /a/b%20c?x=1 body".encode())
        assert "access-control-allow-origin" not in got.headers
    assert (await world.client.call("GET", f"{PODS}/http:web:8080/proxy/")).raw == b"GET / "
    head = await world.client.call("HEAD", f"{PODS}/web/proxy/x")
    assert (head.status, head.raw) == (418, b"")
    assert world.asked[-1].headers["x-forwarded-uri"] == f"{PODS}/web/proxy/x"


async def test_without_a_path_the_client_is_sent_to_one_with_a_slash(world: World) -> None:
    sent = await world.client.call("GET", f"{PODS}/web/proxy?a=b")
    assert (sent.status, sent.headers["location"]) == (301, f"{PODS}/web/proxy/?a=b")
    assert (await world.client.call("POST", f"{PODS}/web/proxy")).raw == b"POST / "


async def test_links_lead_through_us_again(world: World) -> None:
    page = await world.client.call("GET", f"{PODS}/web:8080/proxy/page")
    prefix = f"{PODS}/web:8080/proxy".encode()
    assert page.raw == PAGE.replace(b"/rewriteme", prefix + b"/rewriteme").replace(
        b"/x.png", prefix + b"/x.png"
    )
    moved = await world.client.call("GET", f"{PODS}/web:8080/proxy/moved")
    assert (moved.status, moved.headers["location"]) == (302, f"{PODS}/web:8080/proxy/page?a=1")


def test_which_urls_are_ours() -> None:
    links = Links("10.0.0.1:80", "api:6443", "/p/proxy")
    assert links.turned("http://10.0.0.1:80/x#y") == "/p/proxy/x#y"
    assert links.turned("https://api:6443/x") == "/p/proxy/x"
    for same in ("http://other/x", "x/y", "?q", "#top", "/p/proxy/x", "http://[bad"):
        assert links.turned(same) == same


@pytest.mark.conformance(
    "Proxy version v1 A set of valid responses are returned for both pod and service Proxy"
)
@pytest.mark.conformance(
    "Proxy version v1 A set of valid responses are returned for both pod and service ProxyWithPath"
)
async def test_every_method_reaches_pods_and_services(world: World) -> None:
    endpoint = {"addresses": ["10.91.0.9"], "conditions": {"ready": True}}
    await world.client.create(
        SERVICES, {"metadata": {"name": "all"}, "spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    )
    await world.client.create(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        {
            "metadata": {"name": "all", "labels": {"kubernetes.io/service-name": "all"}},
            "addressType": "IPv4",
            "endpoints": [endpoint],
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        },
    )
    for one in (f"{PODS}/web/proxy", f"{SERVICES}/all/proxy"):
        for path in ("", "/some/path/with/GET"):
            for method in ("DELETE", "OPTIONS", "PATCH", "POST", "PUT", "GET", "HEAD"):
                got = await world.client.call(method, f"{one}{path}")
                if not path and method in ("GET", "HEAD"):
                    assert (got.status, got.headers["location"]) == (301, f"{one}/")
                else:
                    shown = b"" if method == "HEAD" else f"{method} {path or '/'} ".encode()
                    assert (got.status, got.raw) == (418, shown), (one, path, method)


async def test_a_service_is_asked_at_one_of_its_endpoints(world: World) -> None:
    missing = await world.client.call("GET", f"{SERVICES}/web/proxy/")
    assert (missing.status, missing.body["message"]) == (404, 'services "web" not found')
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    await world.client.create(SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": ports}})
    for name, message in (
        ("web:http", 'no endpoints available for service "web:http"'),
        ("web:81", 'no service port 81 found for service "web"'),
    ):
        refused = await world.client.call("GET", f"{SERVICES}/{name}/proxy/")
        assert (refused.status, refused.body["reason"], refused.body["message"]) == (
            503,
            "ServiceUnavailable",
            message,
        )
    body = {
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.91.0.9"]}],
        "ports": [{"name": "http", "port": 8080}],
    }
    await world.client.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", body)
    for name in ("web:http", "web:80", "http:web:http"):
        assert (await world.client.call("GET", f"{SERVICES}/{name}/proxy/x")).raw == b"GET /x "


async def test_a_node_is_asked_at_its_kubelet_or_at_a_port(world: World) -> None:
    status = {
        "addresses": [{"type": "InternalIP", "address": "10.90.0.11"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    }
    await world.client.create("/api/v1/nodes", {"metadata": {"name": "node-1"}, "status": status})
    assert (await world.client.call("GET", "/api/v1/nodes/node-1/proxy/metrics")).raw == b"GET /metrics "
    assert (await world.client.call("GET", "/api/v1/nodes/node-1:10250/proxy/pods")).raw == b"GET /pods "
    assert (await world.client.call("GET", "/api/v1/nodes/node-1:9100/proxy/x")).raw == b"GET /x "


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "::1"])
async def test_a_node_that_says_it_is_this_machine_is_asked_nothing_but_its_kubelet(
    world: World, address: str
) -> None:
    """Its status is its own to write: it must not lead us to what only listens to ourselves."""
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    await world.client.create("/api/v1/nodes", {"metadata": {"name": "node-1"}, "status": status})
    answer = await world.client.call("GET", "/api/v1/nodes/node-1:2379/proxy/x")
    assert (answer.status, answer.body["message"]) == (400, "address not allowed")


async def test_who_is_not_there_is_a_503_and_what_must_not_be_asked_a_400(world: World) -> None:
    gone = await world.client.call("GET", f"{PODS}/web:9/proxy/")
    assert (gone.status, gone.body["reason"], gone.body["message"]) == (
        503, "ServiceUnavailable", "error trying to reach service: dial tcp 10.91.0.9:9: connect: connection refused",
    )  # fmt: skip
    for name in ("a:b:c:d", "ftp:web:80", ":80", "web:No_Port"):
        bad = await world.client.call("GET", f"{PODS}/{name}/proxy/")
        assert (bad.status, bad.body["message"]) == (400, f'invalid pod request "{name}"')
    await world.client.patch(
        f"{PODS}/web/status", {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    )
    refused = await world.client.call("GET", f"{PODS}/web/proxy/")
    assert (refused.status, refused.body["message"]) == (400, "address not allowed")


async def test_upgrades_go_through(world: World) -> None:
    server: APIServer = world.client.server
    response = await world.client.respond(
        world.client.request("GET", f"{PODS}/web/proxy/echo", connection="Upgrade", upgrade="echo")
    )
    assert response.status == 101
    assert response.upgrade is not None
    left, right = socket.socketpair()
    from asyncio import ensure_future, get_running_loop

    from tiphys.net.stream import TransportStream

    left.setblocking(False)
    right.setblocking(False)
    _, ours = await get_running_loop().create_connection(TransportStream, sock=left)
    _, theirs = await get_running_loop().create_connection(TransportStream, sock=right)
    joined = ensure_future(response.upgrade(theirs))
    await ours.write(b"hello")
    assert await ours.read() == b"hello"
    await joined
    ours.close()
    del server


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("web", Asked("", "web", "")),
        ("web:http", Asked("", "web", "http")),
        ("https:web:", Asked("https", "web", "")),
        (":web:80", Asked("", "web", "80")),
        ("a:b:c", None),
        ("web:-x", None),
    ],
)
def test_scheme_name_and_port(text: str, asked: Asked | None) -> None:
    assert split(text) == asked
