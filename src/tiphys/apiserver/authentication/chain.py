"""Who asks: the ways are tried in upstream's order; the first that knows the credentials decides.

Credentials that nobody knows are 401; no credentials at all are `system:anonymous`, where that is allowed.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence

from tiphys.apiserver.authentication.request_header import proxied_user
from tiphys.apiserver.call import ANONYMOUS, Call, User
from tiphys.machinery import errors
from tiphys.net.http import Connection
from tiphys.net.tls import subject_of

AUTHENTICATED = "system:authenticated"
TokenReader = Callable[[str], "User | Awaitable[User | None] | None"]
"""A bearer token → its user; None: somebody else's token. What must ask elsewhere returns an awaitable."""
_WEBSOCKET_PREFIX = "base64url.bearer.authorization.k8s.io."


def authenticate(call: Call) -> Awaitable[None] | None:
    """Sets `call.user`. Raises 401 for credentials that are not valid."""
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
    readers = call.server.token_readers
    for position, reader in enumerate(readers):
        found = reader(token)
        if isinstance(found, User):
            call.user = found
            return None
        if found is not None:
            return _later(call, found, token, readers[position + 1 :])
    raise errors.unauthorized()


async def _later(
    call: Call, waiting: Awaitable[User | None], token: str, readers: Sequence[TokenReader]
) -> None:
    user = await waiting
    for reader in readers:
        if user is not None:
            break
        found = reader(token)
        user = found if isinstance(found, User) or found is None else await found
    if user is None:
        raise errors.unauthorized()
    call.user = user


def _nobody(call: Call) -> User:
    allowed = call.server.anonymous_paths
    if allowed is not None and call.request.path not in allowed:
        raise errors.unauthorized()
    return ANONYMOUS


def certificate_user(connection: Connection) -> User | None:
    """The common name is the user, the organizations are the groups; remembered for the connection."""
    if connection.peer_certificate is None:
        return None
    if connection.context is None:
        name, organizations = subject_of(connection.peer_certificate)
        connection.context = User(name, (*organizations, AUTHENTICATED)) if name else ANONYMOUS
    user: User = connection.context
    return None if user is ANONYMOUS else user


def _token(call: Call) -> str:
    """The bearer token of a request, "" for none."""
    scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return _websocket_token(call.request.headers.get("sec-websocket-protocol", ""))


def _websocket_token(protocols: str) -> str:
    """Browsers cannot set headers on a WebSocket: they send the token as a subprotocol, base64url without padding."""
    for protocol in protocols.split(","):
        if protocol.strip().startswith(_WEBSOCKET_PREFIX):
            encoded = protocol.strip()[len(_WEBSOCKET_PREFIX) :]
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (ValueError, UnicodeDecodeError):
                raise errors.unauthorized() from None
    return ""
