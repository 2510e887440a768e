"""A webhook for tests: an HTTPS server on loopback that notes what it is asked and answers as it is told."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tiphys.cluster.pki import Authority, Leaf
from tiphys.net.http import Request, Response
from tiphys.net.server import Server
from tiphys.net.tls import server_context

Object = dict[str, Any]
Answer = Callable[[Object], Awaitable[Object] | Object]


@dataclass
class Webhook:
    """`answer` makes the answer of a review, or what `answers` has for the path; a `gate` that is clear holds answers back."""

    url: str
    ca_bundle: str
    answer: Answer
    reviews: list[Object] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The paths, in the order of the reviews."""
    status: int = 200
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def client_config(self) -> Object:
        return {"url": self.url, "caBundle": self.ca_bundle}

    def at(self, path: str) -> Object:
        """The client configuration of another path."""
        return {"url": f"{self.url.rpartition('/')[0]}{path}", "caBundle": self.ca_bundle}


def certificate(home: Path, *names: str) -> tuple[ssl.SSLContext, str]:
    """A server's TLS context for the names, and the bundle that proves it."""
    authority = Authority(home, datetime.now(UTC))
    authority.ensure([Leaf("apiserver", "webhook", names=names)])
    context = server_context(
        str(authority.certificate("apiserver")),
        str(authority.key("apiserver")),
        str(authority.certificate_file),
    )
    return context, base64.b64encode(authority.certificate_file.read_bytes()).decode()


@asynccontextmanager
async def webhook(
    context: ssl.SSLContext, ca_bundle: str, answer: Answer, *, port: int = 0
) -> AsyncIterator[Webhook]:
    async def handle(request: Request) -> Response:
        review = orjson.loads(request.body)
        found.reviews.append(review)
        found.asked.append(request.path)
        await found.gate.wait()
        made = found.answers.get(request.path, found.answer)(review)
        body = made if isinstance(made, dict) else await made
        return Response(found.status, [("content-type", "application/json")], orjson.dumps(body))

    server = Server(handle, ssl_context=context)
    port = (await server.listen(host="127.0.0.1", port=port)).port
    found = Webhook(f"https://127.0.0.1:{port}/convert", ca_bundle, answer)
    found.gate.set()
    try:
        yield found
    finally:
        found.gate.set()
        await server.shutdown(grace_seconds=0)
