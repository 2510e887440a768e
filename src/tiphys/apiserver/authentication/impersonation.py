"""Acting as somebody else: `Impersonate-User` and its sisters, for those who may `impersonate` each of what they ask for.

https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from operator import methodcaller
from urllib.parse import unquote

from tiphys.apiserver.authorization.chain import refusal
from tiphys.apiserver.authorization.interface import Decision
from tiphys.apiserver.call import ANONYMOUS, Call, User
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery import errors
from tiphys.net.http import values_of

_USER, _GROUP, _UID, _EXTRA = (
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-extra-",
)
_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATED, _UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
_AUTHENTICATION = "authentication.k8s.io"
_IS_OURS = methodcaller("startswith", "impersonate-")


def impersonate(call: Call) -> Awaitable[None] | None:
    """The step of the pipeline: nothing to do for nearly every request."""
    headers = call.request.headers
    if not any(map(_IS_OURS, headers)):
        return None
    name, groups = headers.get(_USER, ""), _values(headers, _GROUP)
    uid = headers.get(_UID, "")
    extra = {
        unquote(header[len(_EXTRA) :]).lower(): _values(headers, header)
        for header in headers
        if header.startswith(_EXTRA)
    }
    if not name:
        if groups or uid or extra:
            raise errors.internal_error(
                f"requested {sorted(headers.keys() & _NAMES)} without impersonating a user"
            )
        return None
    wanted = User(name, _completed(name, groups), uid, extra)
    return _ask(call, _requests(name, groups, uid, extra), wanted)


def _ask(call: Call, asked: Iterator[RequestInfo], wanted: User) -> Awaitable[None] | None:
    """At once, as long as nobody must ask elsewhere."""
    for info in asked:
        decision = call.server.authorizer.authorize(call.user, info)
        if not isinstance(decision, Decision):
            return _ask_later(call, info, decision, asked, wanted)
        if not decision.allowed:
            raise refusal(call.user, info, decision.reason)
    _become(call, wanted)
    return None


async def _ask_later(
    call: Call, info: RequestInfo, waiting: Awaitable[Decision], asked: Iterator[RequestInfo], wanted: User
) -> None:
    decision = await waiting
    if not decision.allowed:
        raise refusal(call.user, info, decision.reason)
    rest = _ask(call, asked, wanted)
    if rest is not None:
        await rest


def _become(call: Call, wanted: User) -> None:
    headers = call.request.headers
    for header in [header for header in headers if header.startswith("impersonate-")]:
        del headers[header]  # whoever the request is passed on to must not act on them again
    call.impersonator = call.user
    call.user = wanted


_NAMES = frozenset({_GROUP, _UID})


def _values(headers: dict[str, str], name: str) -> list[str]:
    return [value for value in values_of(headers.get(name, "")) if value]


def _requests(name: str, groups: list[str], uid: str, extra: dict[str, list[str]]) -> Iterator[RequestInfo]:
    """What must be allowed: the verb `impersonate` on every part of the identity."""
    account = _account(name)
    if account is not None:
        yield RequestInfo("", "impersonate", True, "", "", account[0], "serviceaccounts", "", account[1])
    else:
        yield RequestInfo("", "impersonate", True, "", "", "", "users", "", name)
    for group in groups:
        yield RequestInfo("", "impersonate", True, "", "", "", "groups", "", group)
    for key, values in extra.items():
        for value in values:
            yield RequestInfo("", "impersonate", True, _AUTHENTICATION, "v1", "", "userextras", key, value)
    if uid:
        yield RequestInfo("", "impersonate", True, _AUTHENTICATION, "v1", "", "uids", "", uid)


def _account(name: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account, None for any other user."""
    if not name.startswith(_ACCOUNT):
        return None
    namespace, colon, account = name.removeprefix(_ACCOUNT).partition(":")
    return (namespace, account) if colon and namespace and account and ":" not in account else None


def _completed(name: str, groups: list[str]) -> tuple[str, ...]:
    """The groups that come with a name."""
    account = _account(name)
    if account is not None and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    if name == ANONYMOUS.name:
        return (*groups, *(() if groups else (_UNAUTHENTICATED,)))
    if _AUTHENTICATED in groups or _UNAUTHENTICATED in groups:
        return tuple(groups)
    return (*groups, _AUTHENTICATED)
