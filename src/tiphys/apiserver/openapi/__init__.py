"""OpenAPI: what kubectl explains, validates and patches by.

Every fact comes from the rows of the scheme (`operations.py`) and from the types files (`machinery/schema/openapi.py`), or from
the schema of a custom resource (`custom.py`); there is nothing to keep in step. `library.py` keeps the documents.
"""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

from tiphys.apiserver.call import Call
from tiphys.apiserver.documents import respond_once
from tiphys.apiserver.negotiation import JSON, clauses_by_weight
from tiphys.machinery import errors
from tiphys.net.http import Response

_YEAR = timedelta(days=365)


def serve_v2(call: Call) -> Response:
    """GET /openapi/v2."""
    _negotiate(call)
    return respond_once(call, call.server.library.v2(), JSON)


def serve_v3(call: Call, name: str) -> Response:
    """GET /openapi/v3 (`name` is "") and /openapi/v3/apis/apps/v1."""
    _negotiate(call)
    library = call.server.library
    if not name:
        return respond_once(call, library.index(), JSON)
    document = library.v3(name)
    if document is None:
        raise errors.StatusError(404, "NotFound", "the server could not find the requested resource", {})
    given = call.request.query.get("hash", ("",))[0]
    if given and given != document.etag:
        return Response(301, [("location", f"/openapi/v3/{name}?hash={document.etag}"), ("vary", "Accept")])
    response = respond_once(call, document, JSON)
    if given:
        # The URL names the contents: they can be kept for ever.
        expires = format_datetime(call.server.clock.now() + _YEAR, usegmt=True)
        response.headers += [("cache-control", "public, immutable"), ("expires", expires)]
    return response


def _negotiate(call: Call) -> None:
    """Raises 406 for a client that takes no JSON: the protobuf form of these documents is not served."""
    accept = call.request.headers.get("accept", "")
    if accept and not any(media in (JSON, "application/*", "*/*") for media, _ in clauses_by_weight(accept)):
        raise errors.not_acceptable((JSON,))
