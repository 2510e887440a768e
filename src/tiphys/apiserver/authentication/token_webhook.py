"""Somebody elsewhere knows the token: a TokenReview is sent to a URL, and the answer is kept for a while.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#webhook-token-authentication
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from tiphys.apiserver.authentication.tokens import Audiences, Authenticated, Found, TokenError
from tiphys.apiserver.call import User
from tiphys.apiserver.webhooks.client import WebhookError

Object = dict[str, Any]
Ask = Callable[[Object, float], Awaitable[Object]]
"""(review, timeout in seconds) → the answered review. Raises WebhookError."""
_AUTHENTICATED = "system:authenticated"
_TIMEOUT_SECONDS = 30.0
_KEPT = 4096


class TokenWebhook:
    """A TokenReader. Answers are kept by the token's hash, good and bad ones; failures are not."""

    def __init__(
        self, ask: Ask, *, version: str, kept_seconds: float, monotonic: Callable[[], float]
    ) -> None:
        self._ask = ask
        self._version = version
        self._kept_seconds = kept_seconds
        self._monotonic = monotonic
        self._answers: OrderedDict[tuple[bytes, Audiences], tuple[float, Found]] = OrderedDict()

    def __call__(self, token: str, audiences: Audiences) -> Found | Awaitable[Found]:
        key = (hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(), audiences)
        known = self._answers.get(key)
        if known is not None and known[0] > self._monotonic():
            return known[1]
        return self._review(key, token, audiences)

    async def _review(self, key: tuple[bytes, Audiences], token: str, audiences: Audiences) -> Found:
        spec: Object = {"token": token}
        if audiences:
            spec["audiences"] = list(audiences)
        review = {
            "kind": "TokenReview",
            "apiVersion": f"authentication.k8s.io/{self._version}",
            "metadata": {},
            "spec": spec,
        }
        try:
            answer = await self._ask(review, _TIMEOUT_SECONDS)
        except WebhookError as error:
            raise TokenError(str(error)) from None
        status = answer.get("status")
        status = status if isinstance(status, dict) else {}
        if status.get("authenticated") is not True:
            if status.get("error"):
                raise TokenError(str(status["error"]))
            return self._keep(key, None)
        return self._keep(key, _found(status, audiences))

    def _keep(self, key: tuple[bytes, Audiences], found: Found) -> Found:
        if self._kept_seconds > 0:
            self._answers[key] = (self._monotonic() + self._kept_seconds, found)
            self._answers.move_to_end(key)
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return found


def _found(status: Object, audiences: Audiences) -> Found:
    """None: for a token that is for others, or of nobody."""
    user = status.get("user")
    user = user if isinstance(user, dict) else {}
    name = user.get("username")
    if not isinstance(name, str) or not name:
        return None
    groups = _texts(user.get("groups"))
    if _AUTHENTICATED not in groups:
        groups.append(_AUTHENTICATED)
    extra = user.get("extra")
    values = {str(key): _texts(value) for key, value in extra.items()} if isinstance(extra, dict) else {}
    uid = user.get("uid")
    made = User(name, tuple(groups), uid if isinstance(uid, str) else "", values)
    given = _texts(status.get("audiences"))
    if not given:
        return Authenticated(made)
    common = tuple(audience for audience in audiences if audience in given)
    return Authenticated(made, common) if common else None


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
