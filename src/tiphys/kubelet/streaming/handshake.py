"""How a client and we agree on a streaming protocol: the upgrade headers of SPDY, and refusals of either kind."""

from collections.abc import Mapping, Sequence

from tiphys.net.http import Response
from tiphys.net.websocket import HandshakeError

__all__ = ["is_spdy_upgrade", "negotiate_spdy", "refusal", "spdy_headers"]

PROTOCOL_HEADER = "X-Stream-Protocol-Version"
ACCEPTED_HEADER = "X-Accepted-Stream-Protocol-Versions"


def is_spdy_upgrade(headers: Mapping[str, str]) -> bool:
    return (
        "upgrade" in headers.get("connection", "").lower()
        and "spdy/3.1" in headers.get("upgrade", "").lower()
    )


def negotiate_spdy(headers: Mapping[str, str], supported: Sequence[str]) -> str:
    """The first protocol that the client names and we support. Raises HandshakeError."""
    if not is_spdy_upgrade(headers):
        raise HandshakeError(400, "unable to upgrade: missing upgrade headers in request")
    offered = [name for part in headers.get(PROTOCOL_HEADER.lower(), "").split(",") if (name := part.strip())]
    if not offered:
        raise HandshakeError(400, f"unable to upgrade: {PROTOCOL_HEADER} is required")
    for protocol in offered:
        if protocol in supported:
            return protocol
    raise HandshakeError(
        403,
        "unable to upgrade: unable to negotiate protocol: "
        f"client supports [{' '.join(offered)}], server accepts [{' '.join(supported)}]",
        [(ACCEPTED_HEADER, protocol) for protocol in supported],
    )


def spdy_headers(protocol: str) -> list[tuple[str, str]]:
    """Of the 101 response."""
    return [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), (PROTOCOL_HEADER, protocol)]


def refusal(error: HandshakeError) -> Response:
    return Response(
        error.status, [("Content-Type", "text/plain; charset=utf-8"), *error.headers], str(error).encode()
    )
