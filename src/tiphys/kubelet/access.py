"""Who asks the kubelet's API, and whether they may: a client certificate or a bearer token, and the API server's word for both.

As upstream's kubelet with `authentication.webhook` and `authorization.mode: Webhook`: tokens are shown to the API server (TokenReview),
and each question is put to it (SubjectAccessReview on the node's subresources, the finest first). Answers are kept for a while, and a
question that is being asked is not asked a second time beside it.
https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from tiphys.client.client import Client
from tiphys.client.resources import SUBJECTACCESSREVIEWS, TOKENREVIEWS
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen
from tiphys.net.http import Connection, Request
from tiphys.net.tls import subject_of

log = logging.getLogger(__name__)

AUTHENTICATED, UNAUTHENTICATED, ANONYMOUS = (
    "system:authenticated",
    "system:unauthenticated",
    "system:anonymous",
)
KEPT = 4096
_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_FINE = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}
"""The first word of a path → a subresource that suffices for it, beside `proxy`, which suffices for (nearly) all."""
_OWN = {
    "stats": "stats",
    "metrics": "metrics",
    "logs": "log",
    "checkpoint": "checkpoint",
    "statusz": "statusz",
    "flagz": "configz",
}
"""… → the only subresource that does."""


Value = TypeVar("Value")


class Refusal(Exception):
    """An answer other than success: its code and text."""

    def __init__(self, code: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(text)
        self.code = code
        self.headers = headers


@frozen
class AccessSettings:
    """The names are a KubeletConfiguration's; the values are upstream's defaults."""

    anonymous: bool = False
    token_seconds: float = 120.0
    authorized_seconds: float = 300.0
    unauthorized_seconds: float = 30.0


@frozen
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@frozen
class Question:
    """May the user do this with a subresource of the node? An empty node: of every node."""

    user: User
    verb: str
    subresource: str
    node: str


class Reviews(Protocol):
    """Who knows. Both raise StatusError, OSError or TimeoutError when there is no answer."""

    async def user_of(self, token: str) -> User | None: ...

    async def is_allowed(self, question: Question) -> bool: ...


class ServerReviews:
    """The API server is asked."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def user_of(self, token: str) -> User | None:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        status = (await self._client.create(TOKENREVIEWS, review)).get("status") or {}
        user = status.get("user") or {}
        if not status.get("authenticated") or not user.get("username"):
            return None
        extra = tuple((key, tuple(values)) for key, values in sorted((user.get("extra") or {}).items()))
        return User(user["username"], tuple(user.get("groups") or ()), user.get("uid") or "", extra)

    async def is_allowed(self, question: Question) -> bool:
        user = question.user
        attributes = {
            "verb": question.verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": question.subresource,
            "name": question.node,
        }
        spec: dict[str, Any] = {
            "user": user.name,
            "groups": list(user.groups),
            "uid": user.uid,
            "extra": {key: list(values) for key, values in user.extra},
            "resourceAttributes": attributes,
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await self._client.create(SUBJECTACCESSREVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))


@dataclass(slots=True)
class _Kept(Generic[Value]):
    """Answers, each until its time; and the questions that are on their way."""

    monotonic: Callable[[], float]
    answers: OrderedDict[Hashable, tuple[float, Value]] = field(default_factory=OrderedDict)
    asked: dict[Hashable, asyncio.Task[Value]] = field(default_factory=dict)

    async def get(
        self, key: Hashable, ask: Callable[[], Awaitable[Value]], seconds_for: Callable[[Value], float]
    ) -> Value:
        known = self.answers.get(key)
        if known is not None and known[0] > self.monotonic():
            return known[1]
        task = self.asked.get(key)
        if task is None:
            task = self.asked[key] = asyncio.ensure_future(self._ask(key, ask, seconds_for))
            task.add_done_callback(lambda done: self._answered(key, done))
        # Others wait for the same answer: one client that leaves must not take it from them.
        return await asyncio.shield(task)

    def _answered(self, key: Hashable, done: asyncio.Task[Value]) -> None:
        del self.asked[key]
        if not done.cancelled():
            done.exception()  # perhaps nobody waits any more

    async def _ask(
        self, key: Hashable, ask: Callable[[], Awaitable[Value]], seconds_for: Callable[[Value], float]
    ) -> Value:
        value = await ask()
        self.answers[key] = (self.monotonic() + seconds_for(value), value)
        self.answers.move_to_end(key)
        while len(self.answers) > KEPT:
            self.answers.popitem(last=False)
        return value


class KubeletAccess:
    """`check` lets a request through, or raises Refusal."""

    def __init__(self, reviews: Reviews, clock: Clock, settings: AccessSettings | None = None) -> None:
        self._reviews = reviews
        self._settings = settings or AccessSettings()
        self._tokens: _Kept[User | None] = _Kept(clock.monotonic)
        self._decisions: _Kept[bool] = _Kept(clock.monotonic)

    async def check(self, request: Request, node: str) -> None:
        user = await self._user(request)
        verb, subresources = _VERBS.get(request.method, ""), subresources_of(request.path)
        for subresource in subresources:
            try:
                if await self._is_allowed(Question(user, verb, subresource, node)):
                    return
            except (StatusError, OSError, TimeoutError) as error:
                log.warning("cannot ask whether %s may %s: %s", user.name, request.path, error)
                text = (
                    f"Authorization error (user={user.name}, verb={verb}, resource=nodes, "
                    f"subresource={subresource})"
                )
                raise Refusal(500, text) from None
        named = " ".join(subresources)
        raise Refusal(
            403, f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{named}])"
        )

    async def _is_allowed(self, question: Question) -> bool:
        seconds = {True: self._settings.authorized_seconds, False: self._settings.unauthorized_seconds}
        return await self._decisions.get(
            question, lambda: self._reviews.is_allowed(question), lambda allowed: seconds[allowed]
        )

    async def _user(self, request: Request) -> User:
        """A certificate first, then a token, then nobody in particular."""
        certified = _certified(request.connection)
        if certified is not None:
            return certified
        scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            try:
                user = await self._tokens.get(
                    hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest(),
                    lambda: self._reviews.user_of(token.strip()),
                    lambda _: self._settings.token_seconds,
                )
            except (StatusError, OSError, TimeoutError) as error:
                log.warning("cannot ask whose token it is: %s", error)
                raise Refusal(401, "Unauthorized") from None
            if user is None:
                raise Refusal(401, "Unauthorized")
            return user
        if self._settings.anonymous:
            return User(ANONYMOUS, (UNAUTHENTICATED,))
        raise Refusal(401, "Unauthorized")


def _certified(connection: Connection) -> User | None:
    if connection.peer_certificate is None:
        return None
    if connection.context is None:
        subject = subject_of(connection.peer_certificate)
        connection.context = User(subject.common_name, (*subject.organizations, AUTHENTICATED))
    known: User = connection.context
    return known


def subresources_of(path: str) -> tuple[str, ...]:
    """Of the node: any of them suffices. (KEP-2862)"""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    if first in _OWN:
        return (_OWN[first],)
    return (_FINE[first], "proxy") if first in _FINE else ("proxy",)
