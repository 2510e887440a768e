"""OpenAPI of custom resources: what kubectl explains and validates them by."""

import orjson
from custom_rows import PLAIN, custom_row
from served import Client, Object
from test_openapi_documents import references

from tiphys.apiserver.server import APIServer

NAME = "example.shop.v1.Widget"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."


async def test_a_custom_resource_has_a_document_of_its_own(client: Client, server: APIServer) -> None:
    server.scheme.add(custom_row("shop.example"))
    url = (await client.get("/openapi/v3"))["paths"]["apis/shop.example/v1"]["serverRelativeURL"]
    document = await client.get(url)
    schemas = document["components"]["schemas"]
    for reference in set(references(document)):
        assert reference.removeprefix("#/components/schemas/") in schemas
    widget = schemas[NAME]
    assert widget["x-kubernetes-group-version-kind"] == [
        {"group": "shop.example", "version": "v1", "kind": "Widget"}
    ]
    assert set(widget["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
    assert widget["properties"]["metadata"]["allOf"] == [{"$ref": f"#/components/schemas/{META}ObjectMeta"}]
    assert widget["properties"]["spec"]["properties"]["size"] == {
        "type": "integer",
        "minimum": 1,
        "default": 1,
    }
    template = widget["properties"]["spec"]["properties"]["template"]
    assert set(template["properties"]) == {"apiVersion", "kind", "metadata"}
    assert set(template["required"]) == {"apiVersion", "kind"}
    assert schemas[f"{NAME}List"]["properties"]["items"]["items"] == {"$ref": f"#/components/schemas/{NAME}"}
    paths = document["paths"]
    assert set(paths) == {
        "/apis/shop.example/v1/", "/apis/shop.example/v1/widgets",
        "/apis/shop.example/v1/namespaces/{namespace}/widgets",
        "/apis/shop.example/v1/namespaces/{namespace}/widgets/{name}",
        "/apis/shop.example/v1/namespaces/{namespace}/widgets/{name}/status",
    }  # fmt: skip
    one = paths["/apis/shop.example/v1/namespaces/{namespace}/widgets/{name}"]
    assert one["patch"]["operationId"] == "patchShopExampleV1NamespacedWidget"
    assert "application/strategic-merge-patch+json" not in one["patch"]["requestBody"]["content"]
    assert set(one["get"]["responses"]["200"]["content"]) == {"application/json", "application/yaml"}


async def test_in_v2_a_field_of_several_types_has_none(client: Client, server: APIServer) -> None:
    server.scheme.add(custom_row("shop.example"))
    document = await client.get("/openapi/v2")
    spec = document["definitions"][NAME]["properties"]["spec"]["properties"]
    assert spec["port"] == {"x-kubernetes-int-or-string": True}
    assert spec["note"] == {}
    assert spec["raw"] == {"x-kubernetes-preserve-unknown-fields": True}
    assert (
        document["definitions"][NAME]["properties"]["metadata"]["$ref"] == f"#/definitions/{META}ObjectMeta"
    )
    for reference in set(references(document)):
        _, section, found = reference.split("/", 2)
        assert found in document[section], reference


async def test_unknown_fields_at_the_root_show_nothing_in_v2(client: Client, server: APIServer) -> None:
    """kubectl would refuse every field that is not named."""
    server.scheme.add(
        custom_row("open.example", schema={**PLAIN, "x-kubernetes-preserve-unknown-fields": True})
    )
    server.scheme.add(custom_row("none.example", schema=None))
    document = await client.get("/openapi/v2")
    for name in ("example.open.v1.Widget", "example.none.v1.Widget"):
        assert set(document["definitions"][name]) == {"type", "x-kubernetes-group-version-kind"}
    shown = await client.get("/openapi/v3/apis/open.example/v1")
    assert "spec" in shown["components"]["schemas"]["example.open.v1.Widget"]["properties"]


async def test_the_pieces_of_v2_are_one_document(client: Client, server: APIServer) -> None:
    before = (await client.call("GET", "/openapi/v2")).headers["etag"]
    plain: Object = orjson.loads(server.library.v2().body)
    for number in range(5):
        server.scheme.add(custom_row(f"g{number}.example", namespaced=number % 2 == 0))
    answer = await client.call("GET", "/openapi/v2")
    assert answer.headers["etag"] != before
    assert set(plain["paths"]) < set(answer.body["paths"])
    assert list(plain) == list(answer.body)
    identifiers = [
        operation["operationId"]
        for item in answer.body["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(identifiers) == len(set(identifiers))
    for number in range(5):
        server.scheme.remove(custom_row(f"g{number}.example").gvr)
    assert (await client.call("GET", "/openapi/v2")).headers["etag"] == before
