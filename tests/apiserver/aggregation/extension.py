"""Another API server: it serves flunders of wardle.example.com/v1alpha1 over HTTPS, and notes who asked for what.

It has what an extension server must have: discovery old or new, OpenAPI v2 and perhaps v3, objects, a watch, and one path that
upgrades. It believes the identity headers of whoever shows a certificate of the front proxy's authority.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from tiphys.api.resource import Object
from tiphys.apiserver.aggregation.identity import FrontProxy
from tiphys.cluster.pki import Authority, Leaf
from tiphys.net.http import ByteStream, Request, Response, Sink
from tiphys.net.server import Server
from tiphys.net.tls import server_context, subject_of

GROUP, VERSION = "wardle.example.com", "v1alpha1"
ROOT = f"/apis/{GROUP}/{VERSION}"
FLUNDERS = f"{ROOT}/namespaces/default/flunders"
VERBS = ["create", "delete", "get", "list", "watch"]
AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
RESOURCES = [
    {
        "name": "flunders",
        "singularName": "flunder",
        "namespaced": True,
        "kind": "Flunder",
        "verbs": VERBS,
        "shortNames": ["fl"],
    },
    {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
]
FLUNDER_DEFINITION = "com.example.wardle.v1alpha1.Flunder"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
OPENAPI_V2: Object = {
    "swagger": "2.0",
    "info": {"title": "wardle", "version": "v0"},
    "paths": {
        f"{ROOT}/namespaces/{{namespace}}/flunders": {
            "post": {
                "operationId": "createWardleV1alpha1NamespacedFlunder",
                "consumes": ["application/json"],
                "produces": ["application/json"],
                "parameters": [
                    {"name": "body", "in": "body", "required": True, "schema": {"$ref": f"#/definitions/{FLUNDER_DEFINITION}"}},
                    {"$ref": "#/parameters/namespace"},
                ],
                "responses": {"200": {"description": "OK", "schema": {"$ref": f"#/definitions/{FLUNDER_DEFINITION}"}}},
                "x-kubernetes-action": "post",
                "x-kubernetes-group-version-kind": {"group": GROUP, "version": VERSION, "kind": "Flunder"},
            }
        },
        "/apis/other.example.com/v1/things": {"get": {"operationId": "listThings", "responses": {}}},
    },
    "definitions": {
        FLUNDER_DEFINITION: {
            "type": "object",
            "description": "A flunder.",
            "properties": {
                "metadata": {"$ref": f"#/definitions/{OBJECT_META}"},
                "spec": {"type": "object", "properties": {"reference": {"type": "string", "description": "Whom it means."}}},
            },
            "x-kubernetes-group-version-kind": [{"group": GROUP, "version": VERSION, "kind": "Flunder"}],
        },
        OBJECT_META: {"type": "object", "description": "As it was in 1.17.", "properties": {"name": {"type": "string"}}},
        "Unused": {"type": "object"},
    },
    "parameters": {"namespace": {"name": "namespace", "in": "path", "required": True, "type": "string"}},
}  # fmt: skip


@dataclass
class Extension:
    """`port` is where it listens; what it shall do can be changed at any time."""

    front_proxy: FrontProxy
    authority: bytes
    port: int = 0
    aggregated: bool = True
    has_v3: bool = False
    status: int = 200
    """Of every answer to discovery."""
    asked: list[Request] = field(default_factory=list)
    objects: dict[str, Object] = field(default_factory=dict)
    watchers: list[Sink] = field(default_factory=list)
    fetched: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: Request) -> Response:
        self.asked.append(request)
        certificate = request.connection.peer_certificate
        if certificate is None or subject_of(certificate).common_name != "front-proxy-client":
            return _json({"kind": "Status", "code": 401, "message": "nobody I know"}, 401)
        if request.path.startswith("/openapi"):
            return self._openapi(request)
        if request.path in ("/apis", ROOT):
            return self._discovery(request)
        if request.path.startswith(FLUNDERS):
            return self._flunders(request)
        return _json({"kind": "Status", "code": 404}, 404)

    def _discovery(self, request: Request) -> Response:
        if self.status != 200:
            return _json({"kind": "Status", "code": self.status}, self.status)
        if request.path == ROOT:
            return _json(
                {"kind": "APIResourceList", "groupVersion": f"{GROUP}/{VERSION}", "resources": RESOURCES}
            )
        if not self.aggregated or "as=APIGroupDiscoveryList" not in request.headers.get("accept", ""):
            return _json({"kind": "APIGroupList", "groups": []})
        kind = {"group": "", "version": "", "kind": "Flunder"}
        resource = {
            "resource": "flunders",
            "scope": "Namespaced",
            "singularResource": "flunder",
            "verbs": VERBS,
        }
        version = {
            "version": VERSION,
            "resources": [{**resource, "responseKind": kind}],
            "freshness": "Current",
        }
        body = {
            "kind": "APIGroupDiscoveryList",
            "items": [{"metadata": {"name": GROUP}, "versions": [version]}],
        }
        return _json(body, content_type=AGGREGATED_TYPE)

    def _openapi(self, request: Request) -> Response:
        if request.path == "/openapi/v2":
            if request.headers.get("if-none-match") == '"one"':
                return Response(304, [("etag", '"one"')])
            self.fetched.set()
            answer = _json(OPENAPI_V2)
            answer.headers.append(("etag", '"one"'))
            return answer
        if not self.has_v3:
            return _json({"kind": "Status", "code": 404}, 404)
        if request.path == "/openapi/v3":
            return _json({"paths": {ROOT[1:]: {"serverRelativeURL": f"/openapi/v3{ROOT}?hash=ABC"}}})
        return _json({"openapi": "3.0.0", "info": {"title": "its own"}})

    def _flunders(self, request: Request) -> Response:
        name = request.path.removeprefix(FLUNDERS).strip("/")
        if name == "exec":
            return Response(101, [("connection", "Upgrade"), ("upgrade", "echo")], upgrade=_echo)
        if name == "cut":
            return Response(200, [("content-type", "application/json")], _cut_off())
        if request.method == "POST":
            made = orjson.loads(request.body)
            self.objects[made["metadata"]["name"]] = made
            for sink in self.watchers:
                sink.write(orjson.dumps({"type": "ADDED", "object": made}) + b"\n")
            return _json(made, 201)
        if request.method == "DELETE":
            return _json(self.objects.pop(name))
        if "watch" in request.query:
            return Response(200, [("content-type", "application/json")], start=self.watchers.append)
        if name:
            return (
                _json(self.objects[name])
                if name in self.objects
                else _json({"kind": "Status", "code": 404}, 404)
            )
        return _json({"kind": "FlunderList", "items": list(self.objects.values())})


async def _cut_off() -> AsyncIterator[bytes]:
    yield b'{"half":'
    raise ConnectionResetError


async def _echo(stream: ByteStream) -> None:
    while data := await stream.read():
        await stream.write(data.upper())
    await stream.write_eof()


def _json(value: Object, status: int = 200, *, content_type: str = "application/json") -> Response:
    return Response(status, [("content-type", content_type)], orjson.dumps(value))


@asynccontextmanager
async def extension_server(home: Path, names: tuple[str, ...]) -> AsyncIterator[Extension]:
    """A running one whose certificate is for `names`."""
    now = datetime.now(UTC)
    own, proxy = Authority(home / "extension", now), Authority(home / "front-proxy", now)
    own.ensure([Leaf("server", "wardle", names=names)])
    proxy.ensure([Leaf("client", "front-proxy-client")])
    front_proxy = FrontProxy(
        proxy.certificate("client").read_bytes(),
        proxy.key("client").read_bytes(),
        proxy.certificate_file.read_bytes(),
    )
    extension = Extension(front_proxy, own.certificate_file.read_bytes())
    context = server_context(
        str(own.certificate("server")),
        str(own.key("server")),
        str(proxy.certificate_file),
        alpn=("http/1.1",),
    )
    server = Server(extension.handle, ssl_context=context)
    extension.port = (await server.listen(host="127.0.0.1", port=0)).port
    try:
        yield extension
    finally:
        await server.shutdown(grace_seconds=0)
