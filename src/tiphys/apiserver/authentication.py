"""Who asks: a client certificate, a service account's token, a static token, or nobody.

The ways are tried in upstream's order; the first that knows the credentials decides. Credentials that nobody knows are 401;
no credentials at all are `system:anonymous`.
"""

from __future__ import annotations

from collections.abc import Callable

from tiphys.apiserver.call import ANONYMOUS, Call, User
from tiphys.machinery import errors
from tiphys.net.http import Connection
from tiphys.net.tls import subject_of

AUTHENTICATED = "system:authenticated"
TokenReader = Callable[[str], User | None]


def authenticate(call: Call) -> None:
    """Sets `call.user`. Raises 401 for a bearer token that is not valid."""
    local = call.request.context
    if (
        local is not None
    ):  # A client in this process: its identity was given when it was made, and no wire can set it.
        call.user = User(local.user, tuple(local.groups))
        return
    user = certificate_user(call.request.connection)
    if user is None:
        user = _token_user(call)
    call.user = user or ANONYMOUS


def certificate_user(connection: Connection) -> User | None:
    """The common name is the user, the organizations are the groups; remembered for the connection."""
    if connection.peer_certificate is None:
        return None
    if connection.context is None:
        name, organizations = subject_of(connection.peer_certificate)
        connection.context = User(name, (*organizations, AUTHENTICATED)) if name else ANONYMOUS
    user: User = connection.context
    return None if user is ANONYMOUS else user


def _token_user(call: Call) -> User | None:
    header = call.request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        token = _websocket_token(call.request.headers.get("sec-websocket-protocol", ""))
        if not token:
            return None
    for reader in call.server.token_readers:
        user = reader(token.strip())
        if user is not None:
            return user
    raise errors.unauthorized()


def _websocket_token(protocols: str) -> str:
    """Browsers cannot set headers on a WebSocket: they send the token as a subprotocol, base64url without padding."""
    import base64

    prefix = "base64url.bearer.authorization.k8s.io."
    for protocol in protocols.split(","):
        if protocol.strip().startswith(prefix):
            encoded = protocol.strip()[len(prefix) :]
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (ValueError, UnicodeDecodeError):
                raise errors.unauthorized() from None
    return ""
