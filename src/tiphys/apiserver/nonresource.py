"""Paths that are no resources: health, version, discovery, OpenAPI, and the public keys of service accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson

from tiphys.api.types import TYPES
from tiphys.apiserver import debugging, discovery, health
from tiphys.apiserver.call import Call
from tiphys.apiserver.documents import Document, respond, respond_once
from tiphys.apiserver.health import serve_check, serve_health
from tiphys.apiserver.negotiation import JSON, PROTOBUF, SERVED, accepted, clauses_by_weight
from tiphys.apiserver.responses import json_response, plain_error
from tiphys.apiserver.version import VERSION
from tiphys.machinery import errors, yaml
from tiphys.machinery.protobuf import encode_envelope
from tiphys.net.http import Response

_NOT_FOUND = "the server could not find the requested resource"


def serve_path(call: Call) -> Response | Awaitable[Response] | None:
    """Answers everything that is not a resource; None for resources."""
    if call.info.is_resource:
        return None
    path = call.request.path.rstrip("/") or "/"
    answer = _FIXED.get(path)
    if answer is not None:
        return answer(call)
    for prefix, handler in _PREFIXES:
        if path.startswith(prefix):
            return handler(call, path.removeprefix(prefix))
    return plain_error("404 page not found", 404)


def _version(call: Call) -> Response:
    del call
    return json_response(VERSION)


# Discovery


def _wants_aggregated(accept: str) -> str:
    """The version of the aggregated document that the client takes before the old one, or ""."""
    for media, options in clauses_by_weight(accept):
        if media == JSON and options.get("as") == "APIGroupDiscoveryList":
            if options.get("g") == "apidiscovery.k8s.io" and options.get("v") in discovery.AGGREGATED:
                return options["v"]
        elif media in (*SERVED, "*/*", "application/*") and "as" not in options:
            return ""
    return ""


def _aggregated_document(call: Call, version: str, *, core: bool) -> Response:
    document = call.server.catalog.aggregated(version, core=core)
    response = respond_once(
        call, document, f"{JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    )
    response.headers.append(("cache-control", "public"))
    return response


def _document(call: Call, document: Document | None, kind: str) -> Response:
    """One of the old documents, in the form that the client wants."""
    if document is None:
        raise errors.StatusError(404, "NotFound", _NOT_FOUND, {})
    media = accepted(call.request.headers.get("accept", "")).media_type
    if media == JSON:
        return respond(call, document, JSON)
    value = {"apiVersion": "v1", **orjson.loads(document.body)}
    if media == PROTOBUF:
        return Response(
            200, [("content-type", media)], encode_envelope(TYPES.struct(f"meta/v1.{kind}"), value)
        )
    return Response(200, [("content-type", media)], yaml.dump(value))


def _core_versions(call: Call) -> Response:
    wanted = _wants_aggregated(call.request.headers.get("accept", ""))
    if wanted:
        return _aggregated_document(call, wanted, core=True)
    versions = Document(orjson.dumps(discovery.api_versions(call.server.advertised)))
    return _document(call, versions, "APIVersions")


def _groups(call: Call) -> Response:
    wanted = _wants_aggregated(call.request.headers.get("accept", ""))
    if wanted:
        return _aggregated_document(call, wanted, core=False)
    return _document(call, call.server.catalog.groups(), "APIGroupList")


def _core(call: Call, rest: str) -> Response:
    return _document(call, call.server.catalog.resources("", rest), "APIResourceList")


def _named(call: Call, rest: str) -> Response:
    name, slash, version = rest.partition("/")
    if not slash:
        return _document(call, call.server.catalog.group(name), "APIGroup")
    return _document(call, call.server.catalog.resources(name, version), "APIResourceList")


def _index(call: Call) -> Response:
    """/: every path that is not below another one's objects."""
    paths = {*_FIXED, "/apis/", "/api/v1", "/openapi/v3", "/openapi/v3/", *health.paths(call.server)} - {"/"}
    for version in call.server.catalog.group_versions():
        if version.group:
            paths |= {f"/apis/{version.group}", f"/apis/{version}"}
    return json_response({"paths": sorted(paths)})


# Service account keys

_KEYS_AGE = ("cache-control", "public, max-age=3600")
"""So that a new key is known everywhere within the hour."""


def _openid_configuration(call: Call) -> Response:
    signer = call.server.signer
    uri = call.server.settings.service_account_jwks_uri
    document = {
        "issuer": signer.issuer,
        "jwks_uri": uri or f"https://{call.server.advertised}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": signer.algorithms(),
    }
    return Response(200, [("content-type", "application/json"), _KEYS_AGE], orjson.dumps(document))


def _jwks(call: Call) -> Response:
    body = orjson.dumps(call.server.signer.jwks())
    return Response(200, [("content-type", "application/jwk-set+json"), _KEYS_AGE], body)


def _openapi_v2(call: Call) -> Awaitable[Response]:
    from tiphys.apiserver import openapi

    return openapi.serve_v2(call)


def _openapi_v3(call: Call, rest: str) -> Response:
    from tiphys.apiserver import openapi

    return openapi.serve_v3(call, rest.lstrip("/"))


_FIXED: dict[str, Callable[[Call], Response | Awaitable[Response]]] = {
    "/": _index,
    "/healthz": serve_health,
    "/livez": serve_health,
    "/readyz": serve_health,
    "/metrics": debugging.serve_metrics,
    "/metrics/slis": debugging.serve_slis,
    "/statusz": debugging.serve_status,
    "/flagz": debugging.serve_flags,
    "/version": _version,
    "/api": _core_versions,
    "/apis": _groups,
    "/openapi/v2": _openapi_v2,
    "/.well-known/openid-configuration": _openid_configuration,
    "/openid/v1/jwks": _jwks,
}
_PREFIXES: tuple[tuple[str, Callable[[Call, str], Response]], ...] = (
    ("/healthz/", serve_check),
    ("/livez/", serve_check),
    ("/readyz/", serve_check),
    ("/debug/api_priority_and_fairness/", debugging.serve_fairness),
    ("/openapi/v3", _openapi_v3),
    ("/apis/", _named),
    ("/api/", _core),
)
