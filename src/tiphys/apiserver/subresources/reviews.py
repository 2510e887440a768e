"""Reviews: questions about identities and permissions; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.api.resource import Object
from tiphys.api.types import schema_of
from tiphys.apiserver.admission.attributes import CREATE
from tiphys.apiserver.authentication.tokens import Authenticated, TokenError
from tiphys.apiserver.authorization import Decision, Verdict
from tiphys.apiserver.bodies import read_object
from tiphys.apiserver.call import Call, User
from tiphys.apiserver.requests import RequestInfo
from tiphys.apiserver.responses import statement
from tiphys.apiserver.subresources.review_validation import (
    access_problems,
    local_access_problems,
    self_access_problems,
)
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupKind
from tiphys.machinery.selectors.fields import escape_value
from tiphys.net.http import Response


async def _read(call: Call) -> Object:
    """The question, after admission has seen it: webhooks may refuse or change even these."""
    review = read_object(call, call.row.gvk, schema_of(call.row))
    review.setdefault("metadata", {})
    await call.server.writes.review(call, CREATE, review, kind=call.row.gvk)
    return review


async def token_review(call: Call) -> Response:
    review = await _read(call)
    spec = review.get("spec") or {}
    token = spec.get("token")
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    audiences = tuple(spec.get("audiences") or ())
    try:
        found = call.server.token_readers.identify(token, audiences or call.server.signer.audiences)
        if not isinstance(found, Authenticated):
            found = await found
    except TokenError as error:
        review["status"] = {"user": {}, "error": str(error)}
        return statement(call, review, 201)
    review["status"] = {"authenticated": True, "user": found.user.to_dict()}
    if found.audiences:
        review["status"]["audiences"] = list(found.audiences)
    return statement(call, review, 201)


async def self_review(call: Call) -> Response:
    review = await _read(call)
    review["status"] = {"userInfo": call.user.to_dict()}
    return statement(call, review, 201)


async def access_review(call: Call) -> Response:
    review = await _read(call)
    _check(review, access_problems(review))
    return await _answer(call, review, _user(review))


async def local_access_review(call: Call) -> Response:
    review = await _read(call)
    metadata, namespace = review["metadata"], call.info.namespace
    if metadata.setdefault("namespace", namespace) != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    _check(review, local_access_problems(review))
    return await _answer(call, review, _user(review))


async def self_access_review(call: Call) -> Response:
    review = await _read(call)
    _check(review, self_access_problems(review))
    return await _answer(call, review, call.user)


def _check(review: Object, problems: list[errors.FieldError]) -> None:
    if problems:
        raise errors.invalid(GroupKind("authorization.k8s.io", review["kind"]), "", problems)


def _user(review: Object) -> User:
    spec = review.get("spec") or {}
    return User(
        spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), spec.get("extra") or {}
    )


async def _answer(call: Call, review: Object, user: User) -> Response:
    decision = call.server.authorizer.authorize(user, _info(review.get("spec") or {}))
    if not isinstance(decision, Decision):
        decision = await decision
    status: Object = {"allowed": decision.allowed}
    if decision.verdict is Verdict.DENY:
        status["denied"] = True
    if decision.reason:
        status["reason"] = decision.reason
    review["status"] = status
    return statement(call, review, 201)


def _info(spec: dict[str, Any]) -> RequestInfo:
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return RequestInfo(path.get("path", ""), path.get("verb", ""))
    wanted = spec.get("resourceAttributes") or {}
    info = RequestInfo(
        "",
        wanted.get("verb", ""),
        True,
        wanted.get("group", ""),
        wanted.get("version", ""),
        wanted.get("namespace", ""),
        wanted.get("resource", ""),
        wanted.get("subresource", ""),
        wanted.get("name", ""),
    )
    info.field_selector = _field_selector(wanted.get("fieldSelector") or {})
    info.label_selector = _label_selector(wanted.get("labelSelector") or {})
    return info


def _field_selector(selector: dict[str, Any]) -> str:
    """As a request would have it. What cannot be said there narrows nothing, which is the safe side."""
    if selector.get("rawSelector"):
        return str(selector["rawSelector"])
    terms = []
    for each in selector.get("requirements") or ():
        values = each.get("values") or []
        if len(values) == 1 and each.get("operator") in ("In", "NotIn"):
            sign = "=" if each["operator"] == "In" else "!="
            terms.append(f"{each['key']}{sign}{escape_value(values[0])}")
    return ",".join(terms)


def _label_selector(selector: dict[str, Any]) -> str:
    if selector.get("rawSelector"):
        return str(selector["rawSelector"])
    return ",".join(
        _LABEL_TERMS[each["operator"]](each["key"], ",".join(each.get("values") or ()))
        for each in selector.get("requirements") or ()
        if each.get("operator") in _LABEL_TERMS
    )


_LABEL_TERMS: dict[str, Callable[[str, str], str]] = {
    "In": lambda key, values: f"{key} in ({values})",
    "NotIn": lambda key, values: f"{key} notin ({values})",
    "Exists": lambda key, values: key,
    "DoesNotExist": lambda key, values: f"!{key}",
}


async def self_rules_review(call: Call) -> Response:
    """What the user may do in a namespace, as far as the authorizers can write it down."""
    review = await _read(call)
    namespace = (review.get("spec") or {}).get("namespace", "")
    if not namespace:
        raise errors.bad_request("no namespace on request")
    found = call.server.authorizer.rules(call.user, namespace)
    status: Object = {
        "resourceRules": [_shown(rule, _RESOURCE_RULE) for rule in found.rules if rule.get("resources")],
        "nonResourceRules": [_shown(rule, _PATH_RULE) for rule in found.rules if rule.get("nonResourceURLs")],
        "incomplete": found.incomplete,
    }
    if found.error:
        status["evaluationError"] = found.error
    review["status"] = status
    return statement(call, review, 201)


_RESOURCE_RULE = ("verbs", "apiGroups", "resources", "resourceNames")
_PATH_RULE = ("verbs", "nonResourceURLs")


def _shown(rule: Object, fields: tuple[str, ...]) -> Object:
    return {name: rule[name] for name in fields if rule.get(name)}
