"""A group version of another server: found, believed, asked, watched, and missed when it goes. What the conformance test of the
Aggregator does with the sample API server, and what its proxy promises beyond."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from extension import (
    FLUNDER_DEFINITION,
    FLUNDERS,
    GROUP,
    OBJECT_META,
    ROOT,
    VERSION,
    Extension,
    extension_server,
)
from served import Client, Object, running

from tiphys.api.scheme import built_in
from tiphys.apiserver.aggregation.identity import authentication_config
from tiphys.apiserver.server import APIServer
from tiphys.machinery.meta import conditions, find_condition
from tiphys.net.client import HTTPClient, HTTPClientError
from tiphys.net.dial import dial
from tiphys.net.server import Server
from tiphys.testing.clock import FakeClock

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
NAME = f"{VERSION}.{GROUP}"
HOST = "wardle.default.svc"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
PATIENCE_SECONDS = 60.0


class World:
    """The API server under test, the other one, and a client of the first."""

    def __init__(self, server: APIServer, extension: Extension, client: Client, clock: FakeClock) -> None:
        self.server = server
        self.extension = extension
        self.client = client
        self.clock = clock

    async def add_service(self) -> None:
        ports = [{"name": "api", "port": 7443}]
        spec = {"clusterIP": "10.96.7.7", "ports": ports}
        await self.client.create(
            "/api/v1/namespaces/default/services", {"metadata": {"name": "wardle"}, "spec": spec}
        )

    async def add_endpoints(self, *, ready: bool = True, ports: list[Object] | None = None) -> None:
        labels = {"kubernetes.io/service-name": "wardle"}
        body = {
            "metadata": {"name": "wardle-1", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.91.0.9"], "conditions": {"ready": ready}}],
            "ports": ports or [{"name": "api", "port": 8443}],
        }
        await self.client.create(SLICES, body)

    async def register(self, **changed: Any) -> None:
        reference = {"namespace": "default", "name": "wardle", "port": 7443}
        spec = {
            "group": GROUP, "version": VERSION, "service": reference, "groupPriorityMinimum": 2000, "versionPriority": 200,
            "caBundle": base64.b64encode(self.extension.authority).decode(), **changed,
        }  # fmt: skip
        await self.client.create(SERVICES, {"metadata": {"name": NAME}, "spec": spec})

    async def is_so(self, condition: Callable[[], Any]) -> Any:
        """Real connections take their time."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := condition()):
                await asyncio.sleep(0.002)
        return found

    def available(self) -> tuple[str, str, str]:
        record = self.server.writes.cache("apiregistration.k8s.io", "apiservices").get("", NAME)
        condition = find_condition(conditions(record.object), "Available") if record else None
        return (condition["status"], condition["reason"], condition["message"]) if condition else ("", "", "")

    async def settled(self, reason: str) -> str:
        """Waits for a reason; the message that came with it."""
        await self.is_so(lambda: self.available()[1] == reason)
        return self.available()[2]

    async def ready(self) -> None:
        """With everything in place, and the documents fetched."""
        await self.add_service()
        await self.add_endpoints()
        await self.register()
        await self.settled("Passed")
        await self.is_so(lambda: f"openapi/v3{ROOT}".encode() in self.server.library.index().body)


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock, signing_key: bytes) -> AsyncIterator[World]:
    async with extension_server(tmp_path, (HOST,)) as extension:

        async def connect(host: str, port: int) -> socket.socket:
            if (host, port) != ("10.91.0.9", 8443):
                raise ConnectionRefusedError(111, "Connection refused")
            return await dial("127.0.0.1", extension.port)

        async with running(clock, signing_key, front_proxy=extension.front_proxy, connect=connect) as server:
            yield World(server, extension, Client(server), clock)


# Availability


async def test_what_is_missing_is_said_in_upstreams_words(world: World) -> None:
    await world.register()
    assert await world.settled("ServiceNotFound") == 'service/wardle in "default" is not present'
    refused = await world.client.call("GET", FLUNDERS)
    assert (refused.status, refused.raw) == (503, b"service unavailable\n")
    await world.add_service()
    assert (
        await world.settled("EndpointsNotFound")
        == 'cannot find endpointslices for service/wardle in "default"'
    )
    await world.add_endpoints(ready=False)
    assert await world.settled("MissingEndpoints") == (
        'endpointslices for service/wardle in "default" have no addresses with port name "api"'
    )
    told = world.server.metrics.render().decode()
    assert f'aggregator_unavailable_apiservice{{name="{NAME}"}} 1' in told
    assert 'aggregator_unavailable_apiservice{name="v1.apps"} 0' in told
    assert f'aggregator_unavailable_apiservice_total{{name="{NAME}",reason="ServiceNotFound"}} 1' in told
    slice_ready = {"endpoints": [{"addresses": ["10.91.0.9"], "conditions": {"ready": True}}]}
    await world.client.patch(f"{SLICES}/wardle-1", slice_ready)
    assert await world.settled("Passed") == "all checks passed"
    table = await world.client.get(
        f"{SERVICES}/{NAME}", accept="application/json;as=Table;g=meta.k8s.io;v=v1"
    )
    assert table["rows"][0]["cells"][:3] == [NAME, "default/wardle", "True"]


async def test_a_port_that_the_service_has_not(world: World) -> None:
    await world.add_service()
    await world.register(service={"namespace": "default", "name": "wardle", "port": 9})
    assert await world.settled("ServicePortError") == 'service/wardle in "default" is not listening on port 9'
    table = await world.client.get(
        f"{SERVICES}/{NAME}", accept="application/json;as=Table;g=meta.k8s.io;v=v1"
    )
    assert table["rows"][0]["cells"][2] == "False (ServicePortError)"


async def test_a_server_that_does_not_answer_is_asked_again(world: World) -> None:
    world.extension.status = 500
    await world.add_service()
    await world.add_endpoints()
    await world.register()
    url = f"https://10.96.7.7:7443{ROOT}"
    assert await world.settled("FailedDiscoveryCheck") == (
        f"failing or missing response from {url}: bad status from {url}: 500"
    )
    transition = conditions(await world.client.get(f"{SERVICES}/{NAME}"))[0]["lastTransitionTime"]
    world.extension.status = 200
    await world.clock.advance(0.01)
    await world.settled("Passed")
    assert transition is not None


async def test_one_that_has_gone_is_noticed_within_half_a_minute(world: World) -> None:
    await world.ready()
    world.extension.status = 503
    await world.clock.advance(29)
    assert world.available()[0] == "True"
    await world.clock.advance(2)
    await world.settled("FailedDiscoveryCheck")
    named = await world.client.get("/apis", accept=AGGREGATED)
    version = named["items"][-1]["versions"][0]
    assert (version["version"], version["freshness"]) == (VERSION, "Stale")
    assert version["resources"][0]["resource"] == "flunders", "what was known is still shown"


async def test_a_service_that_becomes_local_is_available(world: World) -> None:
    await world.register()
    await world.settled("ServiceNotFound")
    current = await world.client.get(f"{SERVICES}/{NAME}")
    del current["spec"]["service"], current["spec"]["caBundle"]
    await world.client.put(f"{SERVICES}/{NAME}", current)
    assert await world.settled("Local") == "Local APIServices are always available"
    assert (await world.client.call("GET", FLUNDERS)).status == 404


# Requests


@pytest.mark.conformance(
    "Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator [LinuxOnly]"
)
async def test_objects_are_made_listed_and_deleted_there(world: World) -> None:
    await world.ready()
    flunder = {"kind": "Flunder", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {"name": "sample"}}
    created = await world.client.call("POST", FLUNDERS, flunder)
    assert (created.status, created.body["metadata"]["name"]) == (201, "sample")
    assert [item["metadata"]["name"] for item in (await world.client.get(FLUNDERS))["items"]] == ["sample"]
    assert (await world.client.get(f"{FLUNDERS}/sample?pretty=1&x=%2F"))["kind"] == "Flunder"
    assert world.extension.asked[-1].target == f"{FLUNDERS}/sample?pretty=1&x=%2F"
    await world.client.delete(f"{FLUNDERS}/sample")
    missing = await world.client.call("GET", f"{FLUNDERS}/sample")
    assert (missing.status, missing.body["kind"]) == (404, "Status")
    assert (await world.client.get(ROOT))["groupVersion"] == f"{GROUP}/{VERSION}"


async def test_it_is_told_who_asks_and_nothing_that_somebody_claims(world: World) -> None:
    await world.ready()
    await world.client.call(
        "GET", FLUNDERS, authorization="Bearer mine", x_remote_user="root", x_remote_extra_scopes="all",
        x_remote_group="system:masters", connection="close, x-private", x_private="1", keep_alive="5", accept="text/x",
    )  # fmt: skip
    headers = world.extension.asked[-1].headers
    assert (headers["x-remote-user"], headers["x-remote-group"]) == (
        "admin",
        "system:masters, system:authenticated",
    )
    assert headers["accept"] == "text/x"
    for gone in ("authorization", "x-remote-extra-scopes", "x-private", "keep-alive"):
        assert gone not in headers


async def test_the_path_that_was_authorized_is_the_one_that_is_asked_for(world: World) -> None:
    await world.ready()
    await world.client.call("GET", f"{ROOT}/namespaces/default%2Fflunders/a%20b%3Fc?x=%2F")
    assert world.extension.asked[-1].target == f"{FLUNDERS}/a%20b%3Fc?x=%2F"


async def test_extra_and_uid_of_a_user_travel_as_headers(world: World) -> None:
    from tiphys.apiserver.aggregation.identity import identity_headers
    from tiphys.apiserver.call import User

    user = User("jane", ("dev",), "42", {"Example.org/Scopes": ["a", "b"], "x%y": ["c"]})
    assert identity_headers(user) == [
        ("X-Remote-User", "jane"),
        ("X-Remote-Uid", "42"),
        ("X-Remote-Group", "dev"),
        ("X-Remote-Extra-example.org%2Fscopes", "a"),
        ("X-Remote-Extra-example.org%2Fscopes", "b"),
        ("X-Remote-Extra-x%25y", "c"),
    ]
    del world


async def test_a_watch_is_carried_event_by_event_and_ends_with_its_client(world: World) -> None:
    await world.ready()
    listener = Server(world.server.handle)
    address = await listener.listen(host="127.0.0.1", port=0)
    world.server.token_readers.append(lambda token, audiences: admin() if token == "t" else None)
    outside = HTTPClient(f"http://127.0.0.1:{address.port}")
    async with outside.stream("GET", f"{FLUNDERS}?watch=1", {"Authorization": "Bearer t"}) as watch:
        assert watch.status == 200
        await world.client.create(FLUNDERS, {"metadata": {"name": "one"}})
        assert b'"ADDED"' in await watch.read()
        (sink,) = world.extension.watchers
    await world.is_so(lambda: sink.closed)
    await outside.close()
    await listener.shutdown(grace_seconds=0)


async def test_an_answer_that_nobody_begins_to_read_ends_there_too(world: World) -> None:
    await world.ready()
    response = await world.client.respond(world.client.request("GET", f"{FLUNDERS}?watch=1"))
    assert response.status == 200
    (sink,) = world.extension.watchers
    del response
    await world.is_so(lambda: sink.closed)


async def test_an_answer_that_is_cut_off_there_is_cut_off_here(world: World) -> None:
    await world.ready()
    listener = Server(world.server.handle)
    address = await listener.listen(host="127.0.0.1", port=0)
    world.server.token_readers.append(lambda token, audiences: admin() if token == "t" else None)
    outside = HTTPClient(f"http://127.0.0.1:{address.port}")
    async with outside.stream("GET", f"{FLUNDERS}/cut", {"Authorization": "Bearer t"}) as answer:
        assert answer.status == 200
        with pytest.raises(HTTPClientError):
            await answer.read_all()
    await outside.close()
    await listener.shutdown(grace_seconds=0)


async def test_an_upgrade_goes_through(world: World) -> None:
    await world.ready()
    listener = Server(world.server.handle)
    address = await listener.listen(host="127.0.0.1", port=0)
    world.server.token_readers.append(lambda token, audiences: admin() if token == "t" else None)
    outside = HTTPClient(f"http://127.0.0.1:{address.port}")
    wanted = {"Authorization": "Bearer t", "Connection": "Upgrade", "Upgrade": "echo"}
    answer, stream = await outside.upgrade("GET", f"{FLUNDERS}/exec", wanted)
    assert (answer.status, answer.headers["upgrade"]) == (101, "echo")
    assert stream is not None
    await stream.write(b"hello")
    assert await stream.read() == b"HELLO"
    assert world.extension.asked[-1].headers["x-remote-user"] == "admin"
    stream.close()
    refused, none = await outside.upgrade("GET", f"{FLUNDERS}/nobody", wanted)
    assert (refused.status, none) == (404, None)
    plain, none = await outside.upgrade("GET", FLUNDERS, wanted)
    assert (plain.status, plain.body, none) == (503, b"invalid upgrade response: status code 200\n", None)
    await outside.close()
    await listener.shutdown(grace_seconds=0)


async def test_a_certificate_of_somebody_else_is_refused(world: World) -> None:
    """The availability check does not look at it; requests do."""
    await world.add_service()
    await world.add_endpoints()
    other = base64.b64encode(world.extension.front_proxy.authority).decode()
    await world.register(caBundle=other)
    await world.settled("Passed")
    refused = await world.client.call("GET", FLUNDERS)
    assert (refused.status, refused.raw) == (
        503,
        b"error trying to reach service: tls: failed to verify certificate: x509: certificate signed by unknown authority\n",
    )
    current = await world.client.get(f"{SERVICES}/{NAME}")
    del current["spec"]["caBundle"]
    current["spec"]["insecureSkipTLSVerify"] = True
    await world.client.put(f"{SERVICES}/{NAME}", current)
    assert (await world.client.call("GET", FLUNDERS)).status == 200


async def test_a_server_that_speaks_no_tls_is_recognized(world: World) -> None:
    plain = Server(world.extension.handle)
    world.extension.port = (await plain.listen(host="127.0.0.1", port=0)).port
    await world.add_service()
    await world.add_endpoints()
    await world.register()
    told = await world.settled("FailedDiscoveryCheck")
    assert told.endswith("http: server gave HTTP response to HTTPS client")
    await plain.shutdown(grace_seconds=0)


async def test_who_may_not_is_refused_here_already(world: World) -> None:
    await world.ready()
    asked = len(world.extension.asked)
    refused = await world.client.as_user("eve", "system:authenticated").call("GET", FLUNDERS)
    assert (refused.status, refused.body["reason"]) == (403, "Forbidden")
    assert len(world.extension.asked) == asked


async def test_a_server_that_goes_away_is_an_error_of_the_proxy(world: World) -> None:
    await world.ready()
    await world.client.delete(f"{SLICES}/wardle-1")
    gone = await world.client.call("GET", f"{FLUNDERS}/x")
    assert gone.status in (404, 503), "a kept connection may still be answered"
    await world.settled("EndpointsNotFound")
    gone = await world.client.call("GET", FLUNDERS)
    assert (gone.status, gone.raw) == (503, b"service unavailable\n")


async def test_it_may_take_a_group_version_of_ours(world: World) -> None:
    """Whose APIService it is, decides; when that goes, we serve it again."""
    await world.add_service()
    await world.add_endpoints()
    row = next(row for row in built_in() if row.plural == "deployments")
    assert (await world.client.get("/apis/apps/v1"))["kind"] == "APIResourceList"
    current = await world.client.get(f"{SERVICES}/v1.apps")
    current["spec"]["service"] = {"namespace": "default", "name": "wardle", "port": 7443}
    current["spec"]["insecureSkipTLSVerify"] = True
    await world.client.put(f"{SERVICES}/v1.apps", current)
    taken = await world.client.call("GET", f"/apis/apps/v1/namespaces/default/{row.plural}")
    assert taken.status in (404, 503)
    await world.client.delete(f"{SERVICES}/v1.apps")
    assert (await world.client.call("GET", f"/apis/apps/v1/namespaces/default/{row.plural}")).status == 200


# Documents


@pytest.mark.parametrize("aggregated", [True, False])
async def test_discovery_has_what_it_says_of_itself(world: World, aggregated: bool) -> None:
    world.extension.aggregated = aggregated
    await world.ready()
    named = await world.client.get("/apis", accept=AGGREGATED)
    group = named["items"][-1]
    assert group["metadata"]["name"] == GROUP
    (version,) = group["versions"]
    assert (version["version"], version["freshness"]) == (VERSION, "Current")
    (resource,) = version["resources"]
    assert (resource["resource"], resource["scope"], resource["responseKind"]["kind"]) == (
        "flunders", "Namespaced", "Flunder",
    )  # fmt: skip
    if not aggregated:
        assert resource["shortNames"] == ["fl"]
        (status,) = resource["subresources"]
        assert (status["subresource"], status["responseKind"]["group"]) == ("status", GROUP)
    assert (await world.client.get(f"/apis/{GROUP}"))["preferredVersion"]["version"] == VERSION
    assert [item["name"] for item in (await world.client.get("/apis"))["groups"]][-1] == GROUP


async def test_documents_are_asked_for_again_every_minute(world: World) -> None:
    world.extension.aggregated = False
    await world.ready()
    etag = (await world.client.call("GET", "/apis", accept=AGGREGATED)).headers["etag"]
    world.extension.aggregated = True
    await world.clock.advance(31)
    await world.is_so(lambda: sum(request.path == ROOT for request in world.extension.asked) >= 2)
    await world.clock.advance(31)

    async def changed() -> bool:
        return (await world.client.call("GET", "/apis", accept=AGGREGATED)).headers["etag"] != etag

    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await changed():
            await asyncio.sleep(0.002)


async def test_its_openapi_is_merged_under_names_of_its_own(world: World) -> None:
    await world.ready()
    document = await world.client.get("/openapi/v2")
    assert f"{ROOT}/namespaces/{{namespace}}/flunders" in document["paths"]
    assert "/apis/other.example.com/v1/things" not in document["paths"]
    flunder = document["definitions"][FLUNDER_DEFINITION]
    assert flunder["properties"]["metadata"] == {"$ref": f"#/definitions/{OBJECT_META}_v2"}
    assert document["definitions"][f"{OBJECT_META}_v2"]["description"] == "As it was in 1.17."
    assert "ownerReferences" in document["definitions"][OBJECT_META]["properties"]
    assert "Unused" not in document["definitions"]
    await world.client.delete(f"{SERVICES}/{NAME}")
    assert FLUNDER_DEFINITION not in (await world.client.get("/openapi/v2"))["definitions"]


async def test_a_server_without_v3_has_one_made_of_its_v2(world: World) -> None:
    await world.ready()
    url = (await world.client.get("/openapi/v3"))["paths"][ROOT[1:]]["serverRelativeURL"]
    document = await world.client.get(url)
    post = document["paths"][f"{ROOT}/namespaces/{{namespace}}/flunders"]["post"]
    schema = {"$ref": f"#/components/schemas/{FLUNDER_DEFINITION}"}
    assert post["requestBody"] == {"content": {"application/json": {"schema": schema}}, "required": True}
    assert post["responses"]["200"]["content"]["application/json"]["schema"] == schema
    assert post["parameters"] == [
        {"name": "namespace", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    assert set(document["components"]["schemas"]) == {FLUNDER_DEFINITION, OBJECT_META}


async def test_a_server_with_v3_is_asked_for_it(world: World) -> None:
    world.extension.has_v3 = True
    await world.ready()
    url = (await world.client.get("/openapi/v3"))["paths"][ROOT[1:]]["serverRelativeURL"]
    assert url == f"/openapi/v3{ROOT}?hash=ABC"
    assert (await world.client.get(url))["info"]["title"] == "its own"


async def test_others_find_in_a_config_map_whom_to_believe(world: World) -> None:
    found = await world.client.get(
        "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    )
    authority = world.extension.front_proxy.authority.decode()
    assert found["data"] == {
        "client-ca-file": authority,
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-client-ca-file": authority,
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]',
        "requestheader-username-headers": '["X-Remote-User"]',
    }


def test_proxies_of_others_are_believed_beside_our_own(world: World, tmp_path: Path) -> None:
    others = tmp_path / "others.crt"
    others.write_text("OTHERS")
    settings = replace(
        world.server.settings,
        requestheader_client_ca_file=str(others),
        requestheader_allowed_names=("gate",),
        requestheader_group_headers=("X-Groups",),
    )
    data = authentication_config(settings)
    assert data["requestheader-allowed-names"] == '["front-proxy-client", "gate"]'
    assert data["requestheader-client-ca-file"] == f"{world.extension.front_proxy.authority.decode()}OTHERS"
    assert data["requestheader-group-headers"] == '["X-Remote-Group", "X-Groups"]'
    anybody = replace(settings, requestheader_allowed_names=())
    assert authentication_config(anybody)["requestheader-allowed-names"] == "[]"


def admin() -> Any:
    from tiphys.apiserver.authentication.chain import Authenticated
    from tiphys.apiserver.call import User

    return Authenticated(User("admin", ("system:masters",)))
