"""From a reference to a Service to a connection with one of those who stand behind it."""

import asyncio
import socket

import pytest
from served import Client, Object

from tiphys.apiserver.server import APIServer
from tiphys.apiserver.service_dialer import Endpoint, ServiceDialer, ServiceError
from tiphys.net.client import ConnectError
from tiphys.net.dial import dial
from tiphys.net.http import Request, Response
from tiphys.net.server import Server

SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
PORTS = [{"name": "https", "port": 443, "targetPort": 8443}, {"name": "metrics", "port": 9090}]


def endpoint(address: str, ready: bool | None = True) -> Object:
    return {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}}


async def add_slice(client: Client, name: str, *endpoints: Object, ports: list[Object] | None = None) -> None:
    body = {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": ports or [{"name": "https", "port": 8443}, {"name": "metrics", "port": 9091}],
    }
    await client.create(SLICES, body)


async def nowhere(host: str, port: int) -> socket.socket:
    raise ConnectionRefusedError(111, "Connection refused")


@pytest.fixture
def dialer(server: APIServer) -> ServiceDialer:
    return ServiceDialer(server.writes.cache, nowhere)


async def test_the_ready_ones_take_turns(client: Client, dialer: ServiceDialer) -> None:
    await client.create(SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": PORTS}})
    await add_slice(client, "web-1", endpoint("10.91.0.5"), endpoint("10.91.0.6", ready=False))
    await add_slice(
        client, "web-2", endpoint("10.91.1.7", ready=None), ports=[{"name": "https", "port": 8444}]
    )
    found = {dialer.resolve("default", "web", 443) for _ in range(4)}
    assert found == {Endpoint("10.91.0.5", 8443), Endpoint("10.91.1.7", 8444)}
    assert dialer.resolve("default", "web", "metrics") == Endpoint("10.91.0.5", 9091)


async def test_endpoints_without_slices_are_enough(client: Client, dialer: ServiceDialer) -> None:
    await client.create(SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 443}]}})
    subsets = [
        {
            "addresses": [{"ip": "192.0.2.9"}],
            "notReadyAddresses": [{"ip": "192.0.2.8"}],
            "ports": [{"port": 6443}],
        }
    ]
    await client.create(
        "/api/v1/namespaces/default/endpoints", {"metadata": {"name": "web"}, "subsets": subsets}
    )
    assert {dialer.resolve("default", "web", 443) for _ in range(3)} == {Endpoint("192.0.2.9", 6443)}


async def test_a_name_outside_is_reached_by_its_name(client: Client, dialer: ServiceDialer) -> None:
    spec = {"type": "ExternalName", "externalName": "api.example.org"}
    await client.create(SERVICES, {"metadata": {"name": "web"}, "spec": spec})
    assert str(dialer.resolve("default", "web", 8443)) == "api.example.org:8443"


async def test_what_cannot_be_reached_is_said_in_upstreams_words(
    client: Client, dialer: ServiceDialer
) -> None:
    def problem(port: int | str) -> str:
        with pytest.raises(ServiceError) as caught:
            dialer.resolve("default", "web", port)
        return caught.value.message

    assert problem(443) == 'service "web" not found'
    await client.create(SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": PORTS}})
    assert problem(444) == 'no service port 444 found for service "web"'
    assert problem(443) == 'no endpoints available for service "web"'
    await add_slice(client, "web-1", endpoint("10.91.0.5", ready=False))
    assert problem("https") == 'no endpoints available for service "web"'


async def test_a_client_goes_to_an_endpoint_of_the_moment(client: Client, server: APIServer) -> None:
    async def answer(request: Request) -> Response:
        return Response(200, [], request.headers["host"].encode())

    backend = Server(answer)
    address = await backend.listen(host="127.0.0.1", port=0)
    asked: list[tuple[str, int]] = []

    async def connect(host: str, port: int) -> socket.socket:
        asked.append((host, port))
        return await dial("127.0.0.1", address.port)

    dialer = ServiceDialer(server.writes.cache, connect)
    reached = dialer.client("default", "web", 443)
    with pytest.raises(ConnectError, match='service "web" not found'):
        await reached.request("GET", "/")
    await client.create(SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": PORTS}})
    await add_slice(client, "web-1", endpoint("10.91.0.5"))
    response = await reached.request("GET", "/")
    assert (response.status, response.body) == (200, b"web.default.svc:443")
    assert asked == [("10.91.0.5", 8443)]
    await reached.close()
    await backend.shutdown(grace_seconds=0)


async def test_a_name_that_resolves_to_nobody_who_listens() -> None:
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.wait_for(dial("localhost", free.getsockname()[1]), 60)
    free.close()
