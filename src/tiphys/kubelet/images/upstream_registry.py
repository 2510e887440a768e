"""Asks real registries, for whoever asks the node's mirror: with his credentials if he shows some, and else as anybody.

The pulling half of the OCI distribution specification; tokens for anonymous pulls as in Docker's token specification; redirects are
followed, credentials are not sent along to another host. Made and ended with the mirror.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlencode, urljoin, urlsplit

from tiphys.kubelet.images.names import DEFAULT_REGISTRY, HUB_HOST
from tiphys.kubelet.images.oci import INDEXES, MANIFESTS
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen
from tiphys.net.client import HTTPClient, HTTPClientError, StreamedResponse

ACCEPT = ", ".join((*INDEXES, *MANIFESTS, "*/*"))
HEAD_TIMEOUT_SECONDS = 30.0
REDIRECTS = (301, 302, 303, 307, 308)
REDIRECT_LIMIT = 5
SILENCE_SECONDS = 5.0
"""A registry that did not answer is not asked again for so long: many pulls shall not all wait for it."""
TOKEN_SECONDS = 60.0
"""So long a token is good for, unless the answer says otherwise."""
_LOCAL = re.compile(r"(localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')

MakeClient = Callable[[str], HTTPClient]


class Unreachable(Exception):
    """The registry does not answer at all."""


@frozen
class Answer:
    """`is_public`: it was given to somebody who showed no credentials. `challenge` goes with a refusal."""

    response: StreamedResponse
    is_public: bool

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.response.headers


def origin(registry: str) -> str:
    """The URL of a registry by its name in images; as containerd, plain HTTP for this very machine."""
    host = HUB_HOST if registry == DEFAULT_REGISTRY else registry
    return f"{'http' if _LOCAL.fullmatch(registry) else 'https'}://{host}"


def make_client(url: str) -> HTTPClient:
    context = ssl.create_default_context() if url.startswith("https:") else None
    return HTTPClient(url, ssl_context=context)


class UpstreamRegistry:
    """All of them."""

    def __init__(self, clock: Clock, make: MakeClient = make_client) -> None:
        self._clock = clock
        self._make = make
        self._clients: dict[str, HTTPClient] = {}
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}
        self._silent: dict[str, tuple[float, str]] = {}

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        repository: str,
        target: str,
        *,
        authorization: str = "",
        headers: Mapping[str, str] | None = None,
        follow: bool = True,
    ) -> AsyncIterator[Answer]:
        """The head of an answer, whose body can be read inside the block. `target`: "manifests/latest". Raises Unreachable.

        `follow` False: a redirect is an answer, too: the registry grants what it sends one for.
        """
        registry, _, path = repository.partition("/")
        until, why = self._silent.get(registry, (0.0, ""))
        if until > self._clock.monotonic():
            raise Unreachable(why)
        url = f"{origin(registry)}/v2/{path}/{target}"
        fields = {"Accept": ACCEPT, **(headers or {})}
        async with AsyncExitStack() as stack:
            shown = authorization or self._token(registry, path)
            try:
                answer = await self._request(stack, method, url, fields, shown, follow=follow)
            except Unreachable as error:
                self._silent[registry] = (self._clock.monotonic() + SILENCE_SECONDS, str(error))
                raise
            if answer.status == 401 and not authorization:
                token = await self._anonymous_token(
                    registry, path, answer.headers.get("www-authenticate", "")
                )
                if token:
                    again = await self._request(stack, method, url, fields, token, follow=follow)
                    # A refusal is told by the challenge that came first: who has credentials shall show them.
                    answer = again if again.status < 400 else answer
            yield Answer(answer, is_public=not authorization)

    async def _request(
        self,
        stack: AsyncExitStack,
        method: str,
        url: str,
        headers: Mapping[str, str],
        authorization: str,
        *,
        follow: bool,
    ) -> StreamedResponse:
        first = urlsplit(url).netloc
        try:
            for _ in range(REDIRECT_LIMIT):
                parts = urlsplit(url)
                client = self._client(f"{parts.scheme}://{parts.netloc}")
                target = parts.path + (f"?{parts.query}" if parts.query else "")
                shown = {"Authorization": authorization} if authorization and parts.netloc == first else {}
                response = await stack.enter_async_context(
                    client.stream(method, target, {**headers, **shown}, timeout_seconds=HEAD_TIMEOUT_SECONDS)
                )
                location = response.headers.get("location", "")
                if response.status not in REDIRECTS or not location or not follow:
                    return response
                url = urljoin(url, location)
        except (HTTPClientError, ValueError) as error:
            raise Unreachable(str(error)) from None
        raise Unreachable(f"{url}: too many redirects")

    def _client(self, url: str) -> HTTPClient:
        if url not in self._clients:
            self._clients[url] = self._make(url)
        return self._clients[url]

    # Tokens for anybody

    def _token(self, registry: str, path: str) -> str:
        token, until = self._tokens.get((registry, path), ("", 0.0))
        return token if until > self._clock.monotonic() else ""

    async def _anonymous_token(self, registry: str, path: str, challenge: str) -> str:
        """What anybody gets who asks for one; empty when nobody gets any."""
        parameters = dict(_PARAMETER.findall(challenge))
        realm = parameters.get("realm", "")
        if not challenge.lower().startswith("bearer ") or not realm.startswith(("http://", "https://")):
            return ""
        scope = parameters.get("scope") or f"repository:{path}:pull"
        query = urlencode({"service": parameters.get("service", ""), "scope": scope})
        parts = urlsplit(realm)
        try:
            answer = await self._client(f"{parts.scheme}://{parts.netloc}").request(
                "GET", f"{parts.path or '/'}?{query}", timeout_seconds=HEAD_TIMEOUT_SECONDS
            )
            document = json.loads(answer.body) if answer.status == 200 else {}
        except (HTTPClientError, ValueError):
            return ""
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else ""
        if not token:
            return ""
        seconds = float(document.get("expires_in") or TOKEN_SECONDS) * 0.9
        self._tokens[registry, path] = (f"Bearer {token}", self._clock.monotonic() + seconds)
        return f"Bearer {token}"
