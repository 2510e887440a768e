"""OpenAPI: what kubectl explains, validates and patches by.

Every fact comes from the rows of the scheme (`operations.py`) and from the types files (`machinery/schema/openapi.py`), or from
the schema of a custom resource (`custom.py`); there is nothing to keep in step. `library.py` keeps the documents. v2 is also
served in protobuf: kubectl before 1.27 and whoever asks by client-go's typed OpenAPI client (Argo CD) take nothing else.
"""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

from tiphys.apiserver.call import Call
from tiphys.apiserver.documents import respond_once
from tiphys.apiserver.negotiation import JSON, clauses_by_weight
from tiphys.apiserver.openapi.protobuf import MEDIA_TYPE, OLD_MEDIA_TYPE
from tiphys.machinery import errors
from tiphys.net.http import Response

_YEAR = timedelta(days=365)


async def serve_v2(call: Call) -> Response:
    """GET /openapi/v2."""
    wanted = _wanted(call, (JSON, MEDIA_TYPE, OLD_MEDIA_TYPE))
    library = call.server.library
    await library.prepare_v2()
    if wanted == JSON:
        return respond_once(call, library.v2(), JSON)
    return respond_once(call, library.v2_protobuf(), MEDIA_TYPE)


def serve_v3(call: Call, name: str) -> Response:
    """GET /openapi/v3 (`name` is "") and /openapi/v3/apis/apps/v1."""
    _wanted(call, (JSON,))
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


def _wanted(call: Call, served: tuple[str, ...]) -> str:
    """The form that the client likes best of those that are served. Raises 406 when it takes none."""
    accept = call.request.headers.get("accept", "")
    for media, _ in clauses_by_weight(accept or "*/*"):
        if media in served:
            return media
        if media in ("application/*", "*/*"):
            return served[0]
    raise errors.not_acceptable(served)
