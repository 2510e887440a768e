"""Discovery follows the scheme and the APIServices, and makes again only what has changed."""

from custom_rows import PLAIN, custom_row
from served import Client

from tiphys.apiserver.server import APIServer

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
PROTOBUF = "application/vnd.kubernetes.protobuf"


async def group_names(client: Client) -> list[str]:
    return [group["name"] for group in (await client.get("/apis"))["groups"]]


async def test_a_row_that_is_added_is_discovered_and_one_that_is_removed_is_not(
    client: Client, server: APIServer
) -> None:
    row = custom_row("shop.example")
    server.scheme.add(row)
    assert (await group_names(client))[-1] == "shop.example"
    listed = await client.get("/apis/shop.example/v1")
    assert [entry["name"] for entry in listed["resources"]] == ["widgets", "widgets/status"]
    assert (await client.get("/apis/shop.example"))["preferredVersion"]["version"] == "v1"
    named = await client.get("/apis", accept=AGGREGATED)
    assert named["items"][-1]["versions"][0]["resources"][0]["resource"] == "widgets"
    server.scheme.remove(row.gvr)
    assert "shop.example" not in await group_names(client)
    assert (await client.call("GET", "/apis/shop.example/v1")).status == 404


async def test_a_new_group_leaves_what_was_made_of_the_others(server: APIServer) -> None:
    for number in range(50):
        server.scheme.add(custom_row(f"g{number}.example"))
    before = {version: server.catalog.resources(*version) for version in server.catalog.group_versions()}
    schemas = {name: server.library.v3(name) for name in ("apis/apps/v1", "apis/g7.example/v1")}
    etag = server.catalog.aggregated("v2", core=False).etag
    server.scheme.add(custom_row("new.example"))
    assert server.catalog.aggregated("v2", core=False).etag != etag
    for version, document in before.items():
        assert server.catalog.resources(*version) is document, version
    for name, made in schemas.items():
        assert server.library.v3(name) is made, name
    server.scheme.add(custom_row("g7.example", schema={**PLAIN, "description": "Another."}))
    assert server.library.v3("apis/g7.example/v1") is not schemas["apis/g7.example/v1"]


async def test_an_edited_priority_moves_a_group(client: Client, server: APIServer) -> None:
    server.scheme.add(custom_row("a.example"))
    server.scheme.add(custom_row("b.example"))
    assert (await group_names(client))[-2:] == ["a.example", "b.example"]
    spec = {"group": "b.example", "version": "v1", "groupPriorityMinimum": 19000, "versionPriority": 1}
    await client.create(SERVICES, {"metadata": {"name": "v1.b.example"}, "spec": spec})
    assert (await group_names(client))[:2] == ["b.example", "apiregistration.k8s.io"][::-1]
    aggregated = await client.get("/apis", accept=AGGREGATED)
    assert aggregated["items"][1]["metadata"]["name"] == "b.example"


async def test_the_client_that_has_the_document_is_told_so(client: Client, server: APIServer) -> None:
    for path in ("/api", "/apis"):
        first = await client.call("GET", path, accept=AGGREGATED)
        assert first.headers["cache-control"] == "public"
        assert first.headers["vary"] == "Accept"
        again = await client.call("GET", path, accept=AGGREGATED, if_none_match=first.headers["etag"])
        assert (again.status, again.raw) == (304, b"")
    server.scheme.add(custom_row("shop.example"))
    changed = await client.call("GET", "/apis", accept=AGGREGATED, if_none_match=first.headers["etag"])
    assert changed.status == 200


async def test_the_first_form_that_is_served_decides(client: Client) -> None:
    old = f"{AGGREGATED.replace('v=v2', 'v=v9')}, application/json"
    assert (await client.get("/apis", accept=old))["kind"] == "APIGroupList"
    assert (await client.get("/apis", accept=f"application/json,{AGGREGATED}"))["kind"] == "APIGroupList"
    assert (await client.get("/apis", accept=f"{AGGREGATED},application/json"))[
        "kind"
    ] == "APIGroupDiscoveryList"
    beta = await client.get("/apis", accept=AGGREGATED.replace("v2", "v2beta1"))
    assert beta["apiVersion"] == "apidiscovery.k8s.io/v2beta1"
    assert (await client.call("GET", "/apis", accept=AGGREGATED.replace("v2", "v3"))).status == 406


async def test_the_old_documents_come_in_every_form(client: Client) -> None:
    for path in ("/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1"):
        binary = await client.call("GET", path, accept=PROTOBUF)
        assert (binary.headers["content-type"], binary.raw[:4]) == (PROTOBUF, b"k8s\0")
        text = await client.call("GET", path, accept="application/yaml")
        assert b"kind: API" in text.raw
