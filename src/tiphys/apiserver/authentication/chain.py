"""Who asks: the ways are tried in upstream's order; the first that knows the credentials decides.

Credentials that nobody knows are 401; no credentials at all are `system:anonymous`, where that is allowed.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from hashlib import sha256
from inspect import isawaitable

from tiphys.apiserver.authentication.request_header import proxied_user
from tiphys.apiserver.authentication.tokens import Audiences, Authenticated, Found, TokenError, TokenReader
from tiphys.apiserver.call import ANONYMOUS, Call, User
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.net.http import Connection
from tiphys.net.tls import subject_of

AUTHENTICATED = "system:authenticated"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
"""Of which credential a user has shown, in `extra`."""
_WEBSOCKET_PREFIX = "base64url.bearer.authorization.k8s.io."
_INVALID = "invalid bearer token"


def authenticate(call: Call) -> Awaitable[None] | None:
    """Sets `call.user`. Raises 401 for credentials that are not valid."""
    try:
        waiting = _find(call)
    except StatusError:
        _count(call, found=False)
        raise
    if waiting is not None:
        return _later(call, waiting)
    server = call.server  # as in _count, which this saves a call
    server.authentication_metrics.succeeded(call.user.name, server.clock.monotonic() - call.received_at)
    return None


def _count(call: Call, *, found: bool) -> None:
    """Adds to the metrics; what went before this step in the pipeline takes no time to speak of."""
    server = call.server
    seconds = server.clock.monotonic() - call.received_at
    if found:
        server.authentication_metrics.succeeded(call.user.name, seconds)
    else:
        server.authentication_metrics.failed(seconds)


def _find(call: Call) -> Awaitable[Authenticated] | None:
    local = call.request.context
    if local is not None:
        # A client in this process: its identity was given when it was made, and no wire can set it.
        call.user = User(local.user, tuple(local.groups))
        return None
    user = proxied_user(call) or certificate_user(call.request.connection)
    if user is not None:
        call.user = user
        return None
    token = _token(call)
    if not token:
        call.user = _nobody(call)
        return None
    try:
        found = call.server.token_readers.identify(token, call.server.signer.audiences)
    except TokenError:
        raise errors.unauthorized() from None
    if isinstance(found, Authenticated):
        _accept(call, found)
        return None
    return found


async def _later(call: Call, waiting: Awaitable[Authenticated]) -> None:
    try:
        _accept(call, await waiting)
    except TokenError:
        _count(call, found=False)
        raise errors.unauthorized() from None
    _count(call, found=True)


def _accept(call: Call, found: Authenticated) -> None:
    call.user = found.user
    call.notes += found.annotations
    if found.warning:
        call.warn(found.warning)


class TokenReaders:
    """All readers of bearer tokens, as one. `audiences` are this server's own (--api-audiences)."""

    def __init__(self, readers: Sequence[TokenReader], audiences: Audiences) -> None:
        self._readers = list(readers)
        self._audiences = audiences

    def append(self, reader: TokenReader) -> None:
        self._readers.append(reader)

    def identify(self, token: str, audiences: Audiences) -> Authenticated | Awaitable[Authenticated]:
        """Whose token it is, and for which of the audiences. Raises TokenError."""
        return self._go_on(0, token, audiences, "")

    def _go_on(
        self, position: int, token: str, audiences: Audiences, problem: str
    ) -> Authenticated | Awaitable[Authenticated]:
        while position < len(self._readers):
            try:
                found = self._readers[position](token, audiences)
            except TokenError as error:
                found, problem = None, problem or str(error)
            position += 1
            if isawaitable(found):
                return self._wait(found, position, token, audiences, problem)
            if found is not None and (accepted := self._meant(found, audiences)) is not None:
                return accepted
        raise TokenError(problem or _INVALID)

    async def _wait(
        self, waiting: Awaitable[Found], position: int, token: str, audiences: Audiences, problem: str
    ) -> Authenticated:
        try:
            found = await waiting
        except TokenError as error:
            found, problem = None, problem or str(error)
        accepted = None if found is None else self._meant(found, audiences)
        if accepted is not None:
            return accepted
        rest = self._go_on(position, token, audiences, problem)
        return rest if isinstance(rest, Authenticated) else await rest

    def _meant(self, found: Authenticated, audiences: Audiences) -> Authenticated | None:
        """A token that says nothing of audiences is for this server, and for nobody else."""
        if found.audiences is not None:
            return found
        common = tuple(audience for audience in audiences if audience in self._audiences)
        return replace(found, audiences=common) if common or not audiences else None


def _nobody(call: Call) -> User:
    allowed = call.server.anonymous_paths
    if allowed is not None and call.request.path not in allowed:
        raise errors.unauthorized()
    return ANONYMOUS


def certificate_user(connection: Connection) -> User | None:
    """The common name is the user, the organizations are the groups, and the certificate's fingerprint is the credential;
    remembered for the connection. Raises 401 for a subject that says two things."""
    certificate = connection.peer_certificate
    if certificate is None:
        return None
    if connection.context is None:
        try:
            name, organizations, uid = subject_of(certificate)
        except ValueError:
            raise errors.unauthorized() from None
        extra = {CREDENTIAL_ID: [f"X509SHA256={sha256(certificate).hexdigest()}"]}
        connection.context = User(name, (*organizations, AUTHENTICATED), uid, extra) if name else ANONYMOUS
    user: User = connection.context
    return None if user is ANONYMOUS else user


def _token(call: Call) -> str:
    """The bearer token of a request, "" for none. More than one word is not looked at: it is nobody's token."""
    headers = call.request.headers
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if (
        "upgrade" not in headers.get("connection", "").lower()
        or headers.get("upgrade", "").lower() != "websocket"
    ):
        return ""
    return _websocket_token(headers)


def _websocket_token(headers: dict[str, str]) -> str:
    """Browsers cannot set headers on a WebSocket: they send the token as a subprotocol, base64url without padding. Nobody
    behind us shall see it."""
    protocols = [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",")]
    tokens = [each for each in protocols if each.startswith(_WEBSOCKET_PREFIX)]
    if not tokens:
        return ""
    others = [each for each in protocols if not each.startswith(_WEBSOCKET_PREFIX)]
    if len(tokens) > 1 or not others:
        raise errors.unauthorized()
    headers["sec-websocket-protocol"] = ", ".join(others)
    encoded = tokens[0][len(_WEBSOCKET_PREFIX) :]
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:
        raise errors.unauthorized() from None
