"""OpenAPI: what kubectl explains, validates and patches by. Documents are made when somebody first asks for them.

Every fact comes from the rows of the scheme (`operations.py`) and from the types files (`machinery/schema/openapi.py`); there is
nothing to keep in step. Only JSON is served: client-go asks for v3 in JSON, and kubectl since 1.27 needs no more than v3.
"""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from typing import Any

from tiphys.apiserver.call import Call
from tiphys.apiserver.nonresource import cached, with_etag
from tiphys.apiserver.openapi import v2, v3
from tiphys.apiserver.openapi.fingerprints import fingerprint
from tiphys.apiserver.openapi.operations import all_documents
from tiphys.apiserver.version import GIT_VERSION
from tiphys.machinery import errors
from tiphys.net.http import Response

JSON = "application/json"
_YEAR = timedelta(days=365)


def serve_v2(call: Call) -> Response:
    """GET /openapi/v2."""
    _negotiate(call)
    body, etag = cached(call, ("openapi", "v2"), lambda: v2.document(call.server.scheme, version=GIT_VERSION))
    return with_etag(call, JSON, body, etag)


def serve_v3(call: Call, name: str) -> Response:
    """GET /openapi/v3 (`name` is "") and /openapi/v3/apis/apps/v1."""
    _negotiate(call)
    if not name:
        return _index(call)
    etag = fingerprint(call.server.scheme, name)
    body, _ = cached(
        call,
        ("openapi", "v3", name),
        lambda: v3.document(call.server.scheme, name, version=GIT_VERSION),
        etag=etag,
    )
    given = call.request.query.get("hash", ("",))[0]
    if given and given != etag:
        return Response(301, [("location", _url(name, etag)), ("vary", "Accept")])
    response = with_etag(call, JSON, body, etag)
    if given:
        # The URL names the contents: they can be kept for ever.
        expires = format_datetime(call.server.clock.now() + _YEAR, usegmt=True)
        response.headers += [("cache-control", "public, immutable"), ("expires", expires)]
    return response


def _index(call: Call) -> Response:
    """Where each document is. Its hash is that of what it would be made from, so that none must be made for the index."""
    scheme = call.server.scheme

    def make() -> dict[str, Any]:
        return {
            "paths": {
                name: {"serverRelativeURL": _url(name, fingerprint(scheme, name))}
                for name in all_documents(scheme)
            }
        }

    body, etag = cached(call, ("openapi", "v3"), make)
    return with_etag(call, JSON, body, etag)


def _url(name: str, etag: str) -> str:
    return f"/openapi/v3/{name}?hash={etag}"


def _negotiate(call: Call) -> None:
    """Raises 406 for a client that takes no JSON: the protobuf form of these documents is not served."""
    accept = call.request.headers.get("accept", "")
    if not accept:
        return
    for clause in accept.split(","):
        media = clause.partition(";")[0].strip().lower()
        if media in (JSON, "application/*", "*/*"):
            return
    raise errors.not_acceptable((JSON,))
