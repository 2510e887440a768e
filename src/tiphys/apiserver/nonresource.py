"""Paths that are no resources: health, version, discovery, OpenAPI, and the public keys of service accounts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import orjson

from tiphys.apiserver import discovery
from tiphys.apiserver.call import Call
from tiphys.apiserver.negotiation import accepted
from tiphys.apiserver.responses import json_response, text_response
from tiphys.apiserver.version import VERSION
from tiphys.machinery import errors
from tiphys.net.http import Response

_NOT_FOUND = "the server could not find the requested resource"
_AGGREGATED = re.compile(r"application/json;[^,]*\bg=apidiscovery\.k8s\.io[^,]*")


def serve_path(call: Call) -> Response | None:
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
    raise errors.StatusError(404, "NotFound", _NOT_FOUND, {})


# Health


def _health(call: Call, only: str = "") -> Response:
    query = call.request.query
    excluded = {name for text in query.get("exclude", ()) for name in text.split(",")}
    endpoint = call.request.path.strip("/").split("/")[0]
    checks = call.server.health_checks(endpoint)
    if only:
        if only not in checks:
            raise errors.StatusError(404, "NotFound", _NOT_FOUND, {})
        checks = {only: checks[only]}
    lines, failed = [], False
    for name, check in checks.items():
        problem = None if name in excluded else check()
        failed = failed or problem is not None
        state = "excluded: ok" if name in excluded else "ok" if problem is None else "failed: reason withheld"
        lines.append(f"[{'-' if problem is not None else '+'}]{name} {state}")
    if failed:
        return text_response("\n".join([*lines, f"{endpoint} check failed", ""]), 500)
    if "verbose" in query:
        return text_response("\n".join([*lines, f"{endpoint} check passed", ""]))
    return text_response("ok")


def _one_check(call: Call, name: str) -> Response:
    return _health(call, name)


def _version(call: Call) -> Response:
    del call
    return json_response(VERSION)


# Discovery


def _wants_aggregated(call: Call) -> str:
    """The version of the aggregated document that the client takes before the old one, or ""."""
    for clause in _AGGREGATED.findall(call.request.headers.get("accept", "")):
        parts = dict(part.strip().partition("=")[::2] for part in clause.split(";")[1:])
        if parts.get("as") == "APIGroupDiscoveryList" and parts.get("v") in discovery.AGGREGATED:
            return str(parts["v"])
    return ""


def cached(
    call: Call, key: tuple[str, ...], make: Callable[[], dict[str, Any] | None], *, etag: str = ""
) -> tuple[bytes, str]:
    """A document and its ETag (of its contents unless given), made once for each state of the scheme."""
    documents = call.server.documents
    known = documents.get(key)
    if known is None or known[0] != call.server.scheme.revision:
        value = make()
        if value is None:
            raise errors.StatusError(404, "NotFound", _NOT_FOUND, {})
        body = orjson.dumps(value)
        etag = etag or hashlib.sha512(body).hexdigest().upper()
        known = documents[key] = (call.server.scheme.revision, body, etag)
    return known[1], known[2]


def _aggregated_document(call: Call, version: str, *, core: bool) -> Response:
    def make() -> dict[str, Any]:
        return discovery.aggregated(call.server.scheme, version, core=core)

    body, etag = cached(call, ("aggregated", version, str(core)), make)
    kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    return with_etag(call, kind, body, etag)


def with_etag(call: Call, content_type: str, body: bytes, etag: str) -> Response:
    """A document that a client may keep: 304 when it shows that it has it."""
    headers = [("content-type", content_type), ("etag", f'"{etag}"'), ("vary", "Accept")]
    if call.request.headers.get("if-none-match", "").strip('"') == etag:
        return Response(304, headers)
    return Response(200, headers, body)


def _document(call: Call, key: tuple[str, ...], make: Callable[[], dict[str, Any] | None]) -> Response:
    accepted(call.request.headers.get("accept", ""))
    body, _ = cached(call, key, make)
    return Response(200, [("content-type", "application/json")], body)


def _core_versions(call: Call) -> Response:
    wanted = _wants_aggregated(call)
    if wanted:
        return _aggregated_document(call, wanted, core=True)
    return _document(call, ("api",), lambda: discovery.api_versions(call.server.advertised))


def _groups(call: Call) -> Response:
    wanted = _wants_aggregated(call)
    if wanted:
        return _aggregated_document(call, wanted, core=False)
    return _document(call, ("apis",), lambda: discovery.group_list(call.server.scheme))


def _core(call: Call, rest: str) -> Response:
    return _document(call, ("api", rest), lambda: discovery.resource_list(call.server.scheme, "", rest))


def _named(call: Call, rest: str) -> Response:
    scheme = call.server.scheme
    name, slash, version = rest.partition("/")
    if not slash:
        return _document(call, ("apis", name), lambda: discovery.group(scheme, name))
    return _document(call, ("apis", name, version), lambda: discovery.resource_list(scheme, name, version))


def _index(call: Call) -> Response:
    paths = ["/api", "/api/v1", "/apis"]
    for version in call.server.scheme.group_versions():
        if version.group:
            paths += [f"/apis/{version.group}", f"/apis/{version}"]
    paths += ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
    return json_response({"paths": sorted(set(paths))})


# Service account keys


def _openid_configuration(call: Call) -> Response:
    issuer = call.server.signer.issuer
    return json_response(
        {
            "issuer": issuer,
            "jwks_uri": f"https://{call.server.advertised}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
    )


def _jwks(call: Call) -> Response:
    body = orjson.dumps(call.server.signer.jwks())
    return Response(200, [("content-type", "application/jwk-set+json")], body)


def _openapi_v2(call: Call) -> Response:
    from tiphys.apiserver import openapi

    return openapi.serve_v2(call)


def _openapi_v3(call: Call, rest: str) -> Response:
    from tiphys.apiserver import openapi

    return openapi.serve_v3(call, rest.lstrip("/"))


_FIXED: dict[str, Callable[[Call], Response]] = {
    "/": _index,
    "/healthz": _health,
    "/livez": _health,
    "/readyz": _health,
    "/version": _version,
    "/api": _core_versions,
    "/apis": _groups,
    "/openapi/v2": _openapi_v2,
    "/.well-known/openid-configuration": _openid_configuration,
    "/openid/v1/jwks": _jwks,
}
_PREFIXES: tuple[tuple[str, Callable[[Call, str], Response]], ...] = (
    ("/healthz/", _one_check),
    ("/livez/", _one_check),
    ("/readyz/", _one_check),
    ("/openapi/v3", _openapi_v3),
    ("/apis/", _named),
    ("/api/", _core),
)
