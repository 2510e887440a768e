"""A proxy that says in headers on whose behalf it asks, and shows a certificate of an authority that is trusted for that.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#authenticating-proxy
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tiphys.apiserver.call import User
from tiphys.machinery import errors
from tiphys.machinery.frozen import frozen
from tiphys.net.http import values_of
from tiphys.net.tls import subject_of

if TYPE_CHECKING:
    from tiphys.apiserver.call import Call

_AUTHENTICATED = "system:authenticated"


@frozen
class RequestHeaders:
    """The names are kube-apiserver's flags. `is_signed(DER)`: whether the proxy's own authority signed a certificate."""

    is_signed: Callable[[bytes], bool]
    allowed_names: tuple[str, ...] = ()
    """Common names of the proxy's certificate; empty: any."""
    username_headers: tuple[str, ...] = ("X-Remote-User",)
    uid_headers: tuple[str, ...] = ("X-Remote-Uid",)
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_headers_prefix: tuple[str, ...] = ("X-Remote-Extra-",)


def proxied_user(call: Call) -> User | None:
    """The user that a trusted proxy names; None when no such proxy asks. Raises 401 for a certificate of its authority
    that is not the proxy's: it says who the proxy is, never who a user is."""
    trusted = call.server.request_headers
    certificate = call.request.connection.peer_certificate
    if trusted is None or certificate is None or not trusted.is_signed(certificate):
        return None
    if trusted.allowed_names and subject_of(certificate).common_name not in trusted.allowed_names:
        raise errors.unauthorized()
    headers = call.request.headers
    name = _first(headers, trusted.username_headers)
    if not name:
        raise errors.unauthorized()
    groups = [group for header in trusted.group_headers for group in _all(headers, header)]
    if _AUTHENTICATED not in groups:
        groups.append(_AUTHENTICATED)
    extra: dict[str, list[str]] = {}
    for prefix in trusted.extra_headers_prefix:
        start = prefix.lower()
        for header in headers:
            if header.startswith(start):
                extra.setdefault(unquote(header[len(start) :]), []).extend(_all(headers, header))
    return User(name, tuple(groups), _first(headers, trusted.uid_headers), extra)


def _first(headers: dict[str, str], names: tuple[str, ...]) -> str:
    """Of the first header that says something; of one that was sent several times, the first."""
    return next((found for name in names if (found := values_of(headers.get(name.lower(), ""))[0])), "")


def _all(headers: dict[str, str], name: str) -> list[str]:
    """The values of a header that may be sent several times; a comma is part of one."""
    return [value for value in values_of(headers.get(name.lower(), "")) if value]
