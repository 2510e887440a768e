"""The reader of ID tokens: one issuer each, found by what the token says of itself before anything is proven."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from tiphys.apiserver.authentication.jose import BadToken, Token, parse
from tiphys.apiserver.authentication.oidc.configuration import Issuer
from tiphys.apiserver.authentication.oidc.keys import ProviderKeys
from tiphys.apiserver.authentication.tokens import Audiences, Authenticated, Found, TokenError
from tiphys.apiserver.service_dialer import ServiceDialer
from tiphys.net.client import HTTPClient, HTTPClientError
from tiphys.net.tls import client_context

NOT_BEFORE_LEEWAY_SECONDS = 300
_TIMEOUT_SECONDS = 30.0


class IDTokens:
    """A TokenReader. `replace` takes other issuers; those that are as they were keep their keys."""

    def __init__(
        self, dialer: ServiceDialer, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._dialer = dialer
        self._now = now
        self._monotonic = monotonic
        self._issuers: dict[str, tuple[Issuer, ProviderKeys]] = {}

    def replace(self, issuers: tuple[Issuer, ...]) -> None:
        before = self._issuers
        self._issuers = {}
        for issuer in issuers:
            known = before.pop(issuer.url, None)
            where = (issuer.url, issuer.discovery_url, issuer.certificate_authority)
            if known is not None and where == (
                known[0].url,
                known[0].discovery_url,
                known[0].certificate_authority,
            ):
                keys = known[1]
            else:
                keys = ProviderKeys(issuer.url, issuer.discovery_url, self._fetcher(issuer), self._monotonic)
            self._issuers[issuer.url] = (issuer, keys)

    def __call__(self, text: str, audiences: Audiences) -> Found | Awaitable[Found]:
        del audiences  # the provider's audiences are this server's name there, not those of its API
        if not self._issuers:
            return None
        try:
            token = parse(text)
        except BadToken:
            return None
        url = token.claims.get("iss")
        known = self._issuers.get(url) if isinstance(url, str) else None
        if known is None:
            return None
        issuer, keys = known
        if token.algorithm not in issuer.algorithms:
            raise TokenError("oidc: verify token: oidc: malformed jwt: unexpected signature algorithm")
        self._check(issuer, token)
        if keys.verifies(token):
            return Authenticated(issuer.mapping.user(token.claims))
        return _later(issuer, keys, token)

    def _check(self, issuer: Issuer, token: Token) -> None:
        """What needs no key comes first: a worthless token shall cost nobody a request."""
        given = token.claims.get("aud")
        audiences = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        if not any(audience in issuer.audiences for audience in audiences):
            wanted = issuer.audiences[0] if len(issuer.audiences) == 1 else list(issuer.audiences)
            raise TokenError(f'oidc: verify token: oidc: expected audience "{wanted}" got {audiences}')
        now = self._now().timestamp()
        ends, begins = token.claims.get("exp"), token.claims.get("nbf", 0)
        if ends is None or not _is_number(ends) or now > ends:
            raise TokenError(f"oidc: verify token: oidc: token is expired (Token Expiry: {ends})")
        if not _is_number(begins) or now + NOT_BEFORE_LEEWAY_SECONDS < begins:
            raise TokenError(
                f"oidc: verify token: oidc: current time before the nbf (not before) time: {begins}"
            )

    def _fetcher(self, issuer: Issuer) -> Callable[[str], Awaitable[bytes]]:
        async def fetch(url: str) -> bytes:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 443
            authority = issuer.certificate_authority
            context = client_context(ca_data=authority.encode()) if authority else client_context()
            client = HTTPClient(
                f"https://{parts.netloc}", ssl_context=context, dial=lambda: self._dialer.connect(host, port)
            )
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            try:
                answer = await client.request(
                    "GET", target, {"accept": "application/json"}, timeout_seconds=_TIMEOUT_SECONDS
                )
            except (HTTPClientError, OSError) as error:
                raise TokenError(f"oidc: fetching keys {url}: {error}") from None
            finally:
                await client.close()
            if answer.status != 200:
                raise TokenError(f"oidc: fetching keys {url}: {answer.status}")
            return answer.body

        return fetch

    def close(self) -> None:
        for _, keys in self._issuers.values():
            keys.close()


async def _later(issuer: Issuer, keys: ProviderKeys, token: Token) -> Authenticated:
    if not await keys.verifies_after_all(token):
        raise TokenError(
            "oidc: verify token: failed to verify signature: failed to verify id token signature"
        )
    return Authenticated(issuer.mapping.user(token.claims))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
