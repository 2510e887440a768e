"""The keys of an identity provider, found by its discovery document and kept.

A token that no known key has signed may be of a new one: then the keys are fetched again, by one request for all that wait,
and at most every ten seconds, so that worthless tokens cannot make us ask a provider as often as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from tiphys.apiserver.authentication.jose import Token, VerificationKey, keys_of_set
from tiphys.apiserver.authentication.tokens import TokenError

Fetch = Callable[[str], Awaitable[bytes]]
"""URL → the body of its 200. Raises TokenError."""
REFETCH_SECONDS = 10.0


class ProviderKeys:
    def __init__(self, issuer: str, discovery_url: str, fetch: Fetch, monotonic: Callable[[], float]) -> None:
        self._issuer = issuer
        self._discovery_url = discovery_url or f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        self._fetch = fetch
        self._monotonic = monotonic
        self._keys: list[VerificationKey] = []
        self._fetched_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    def verifies(self, token: Token) -> bool:
        """Whether one of the keys that we have signed it."""
        return any(key.verify(token) for key in self._keys if not token.key_id or key.key_id == token.key_id)

    async def verifies_after_all(self, token: Token) -> bool:
        """Fetches the keys again first, when it is time. Raises TokenError when that fails."""
        if self._fetching is None:
            if self._fetched_at is not None and self._monotonic() - self._fetched_at < REFETCH_SECONDS:
                return False
            self._fetched_at = self._monotonic()
            self._fetching = asyncio.get_running_loop().create_task(self._refresh())
        try:
            await asyncio.shield(self._fetching)
        finally:
            if self._fetching is not None and self._fetching.done():
                self._fetching = None
        return self.verifies(token)

    async def _refresh(self) -> None:
        document = _object(await self._fetch(self._discovery_url), "discovery document")
        if document.get("issuer") != self._issuer:
            raise TokenError(
                f'oidc: issuer did not match the issuer returned by provider, expected "{self._issuer}" got "{document.get("issuer")}"'
            )
        uri = document.get("jwks_uri")
        if not isinstance(uri, str) or not uri.startswith("https://"):
            raise TokenError("oidc: the provider's jwks_uri must be an https URL")
        self._keys = keys_of_set(_object(await self._fetch(uri), "key set"))

    def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise TokenError(f"oidc: the provider's {what} is not an object")
    return found
