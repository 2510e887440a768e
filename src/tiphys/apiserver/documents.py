"""A document that many clients ask for: its bytes, its fingerprint and its compressed form, each made once.

Discovery and OpenAPI are such. A client that shows the fingerprint is told that nothing has changed (304).
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cached_property

from tiphys.apiserver.call import Call
from tiphys.apiserver.packing import GZIP_FROM_BYTES
from tiphys.net.http import Response

_PIECE = 64 << 10


class Document:
    """`etag` is of the contents (upper-case SHA-512, as upstream's) unless it is given."""

    def __init__(self, body: bytes, *, etag: str = "") -> None:
        self.body = body
        if etag:
            self.etag = etag

    @cached_property
    def etag(self) -> str:
        return hashlib.sha512(self.body).hexdigest().upper()

    @cached_property
    def compressed(self) -> list[bytes]:
        packed = gzip.compress(self.body, compresslevel=1, mtime=0)
        return [packed[at : at + _PIECE] for at in range(0, len(packed), _PIECE)]


def respond(call: Call, document: Document, content_type: str) -> Response:
    """The document itself, for a client that keeps nothing."""
    headers = [("content-type", content_type)]
    if (
        len(document.body) >= GZIP_FROM_BYTES
        and "gzip" in call.request.headers.get("accept-encoding", "").lower()
    ):
        return Response(200, [*headers, ("content-encoding", "gzip")], document.compressed)
    return Response(200, headers, document.body)


def respond_once(call: Call, document: Document, content_type: str) -> Response:
    """The document, or 304 when the client shows that it has it."""
    about = [("etag", f'"{document.etag}"'), ("vary", "Accept")]
    known = {
        tag.strip().removeprefix("W/") for tag in call.request.headers.get("if-none-match", "").split(",")
    }
    if f'"{document.etag}"' in known:
        return Response(304, [("content-type", content_type), *about])
    response = respond(call, document, content_type)
    response.headers += about
    return response
