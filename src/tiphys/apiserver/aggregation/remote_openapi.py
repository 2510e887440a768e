"""The OpenAPI documents of another server, as far as they are of one group version.

Its v3 document stays there: our index names it, and requests for it are passed on. A server that has only v2 gets one made
from that. Its part of v2 is kept here, to be merged.
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.resource import Object
from tiphys.apiserver.aggregation.identity import AGGREGATOR, identity_headers
from tiphys.apiserver.documents import Document
from tiphys.apiserver.openapi.conversion import document_v3
from tiphys.apiserver.openapi.merging import select
from tiphys.apiserver.openapi.v2 import Piece
from tiphys.machinery.gvk import GroupVersion
from tiphys.net.client import HTTPClient, HTTPClientError

FETCH_TIMEOUT_SECONDS = 60.0


class RemoteOpenAPI:
    """What was last heard; a fetch that fails leaves it."""

    def __init__(self, version: GroupVersion) -> None:
        self.name = f"apis/{version}" if version.group else f"api/{version.version}"
        self._prefix = f"/{self.name}/"
        self.url = ""
        """Where its v3 document is, relative to either server; "" when nothing is known of it."""
        self.document: Document | None = None
        """That document, when it had to be made here."""
        self.piece: Piece | None = None
        self._etag = ""

    async def fetch(self, client: HTTPClient) -> bool:
        """Asks again; whether anything has changed."""
        before = (self.url, self._etag)
        index, _ = await _get(client, "/openapi/v3")
        spec, etag = await _get(client, "/openapi/v2", known=self._etag)
        if spec is not None:
            self.piece = select(spec, self._prefix)
            self._etag = etag
        entry: dict[str, Any] = ((index or {}).get("paths") or {}).get(self.name) or {}
        if entry.get("serverRelativeURL"):
            self.url, self.document = entry["serverRelativeURL"], None
        elif spec is not None and self.piece is not None and self.piece.paths:
            info = spec.get("info") or {}
            made = document_v3(self.piece, title=info.get("title", ""), version=info.get("version", ""))
            self.document = Document(orjson.dumps(made))
            self.url = f"/openapi/v3/{self.name}?hash={self.document.etag}"
        return before != (self.url, self._etag)


async def _get(client: HTTPClient, path: str, *, known: str = "") -> tuple[Object | None, str]:
    """A document and its ETag; None when there is none, or none that we do not know."""
    headers = [("Accept", "application/json"), *identity_headers(AGGREGATOR)]
    if known:
        headers.append(("If-None-Match", known))
    try:
        answer = await client.request("GET", path, headers, timeout_seconds=FETCH_TIMEOUT_SECONDS)
        if answer.status != 200:
            return None, ""
        document = orjson.loads(answer.body)
    except (HTTPClientError, orjson.JSONDecodeError):
        return None, ""
    if not isinstance(document, dict):
        return None, ""
    # Without an ETag of the server's, the contents are their own.
    return document, answer.headers.get("etag") or Document(answer.body).etag
