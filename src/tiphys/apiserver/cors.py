"""Cross-origin requests of browsers (--cors-allowed-origins): off unless origins are given."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tiphys.apiserver.call import Call
from tiphys.net.http import Request, Response

_METHODS = "POST, GET, OPTIONS, PUT, DELETE, PATCH"
_HEADERS = (
    "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, "
    "If-Modified-Since"
)


class CrossOrigin:
    """Origins are regular expressions that match anywhere in the header, case-insensitively (`//example\\.com$`)."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = [re.compile(origin, re.IGNORECASE) for origin in origins]

    def headers(self, request: Request) -> list[tuple[str, str]]:
        """What an answer to this request says to the browser; nothing for an origin that is not allowed."""
        origin = request.headers.get("origin", "")
        if not origin or not any(pattern.search(origin) for pattern in self._origins):
            return []
        return [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", _HEADERS),
            ("access-control-expose-headers", "Date"),
            ("access-control-allow-credentials", "true"),
        ]


def answer_preflight(call: Call) -> Response | None:
    """A browser asks by OPTIONS, without credentials, whether it may; that is answered before anything else is asked."""
    if call.request.method != "OPTIONS":
        return None
    policy = call.server.cross_origin
    return Response(204) if policy is not None and policy.headers(call.request) else None
