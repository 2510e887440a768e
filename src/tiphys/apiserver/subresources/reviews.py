"""Reviews: questions about identities and permissions; nothing is stored."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object
from tiphys.api.types import schema_of
from tiphys.apiserver.authorization import allowed
from tiphys.apiserver.bodies import read_object
from tiphys.apiserver.call import Call, User
from tiphys.apiserver.requests import RequestInfo
from tiphys.apiserver.responses import json_response
from tiphys.apiserver.service_accounts import TokenError
from tiphys.machinery import errors
from tiphys.net.http import Response


def _read(call: Call) -> Object:
    review = read_object(call, call.row.gvk, schema_of(call.row))
    review.setdefault("metadata", {})
    return review


def token_review(call: Call) -> Response:
    review = _read(call)
    spec = review.get("spec") or {}
    token = spec.get("token")
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    audiences = tuple(spec.get("audiences") or ())
    try:
        user, common = call.server.tokens.user(token, audiences or call.server.signer.audiences)
    except TokenError as error:
        review["status"] = {"user": {}, "error": str(error)}
        return json_response(review, 201)
    review["status"] = {"authenticated": True, "user": user.to_dict(), "audiences": common}
    return json_response(review, 201)


def self_review(call: Call) -> Response:
    review = _read(call)
    review["status"] = {"userInfo": call.user.to_dict()}
    return json_response(review, 201)


def access_review(call: Call) -> Response:
    review = _read(call)
    spec = review.get("spec") or {}
    user = User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""))
    return _answer(review, user)


def local_access_review(call: Call) -> Response:
    review = _read(call)
    asked = ((review.get("spec") or {}).get("resourceAttributes") or {}).get("namespace")
    if asked != call.info.namespace:
        raise errors.bad_request(
            f"spec.resourceAttributes.namespace must match namespace: {call.info.namespace}"
        )
    spec = review["spec"]
    return _answer(review, User(spec.get("user", ""), tuple(spec.get("groups") or ())))


def self_access_review(call: Call) -> Response:
    return _answer(_read(call), call.user)


def _answer(review: Object, user: User) -> Response:
    spec: dict[str, Any] = review.get("spec") or {}
    yes = allowed(user, _info(spec))
    review["status"] = {"allowed": yes} if yes else {"allowed": False, "reason": ""}
    if not yes:
        del review["status"]["reason"]
    return json_response(review, 201)


def _info(spec: dict[str, Any]) -> RequestInfo:
    path = spec.get("nonResourceAttributes")
    if path:
        return RequestInfo(path.get("path", ""), path.get("verb", ""))
    wanted = spec.get("resourceAttributes")
    if not wanted:
        raise errors.bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )
    return RequestInfo(
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


def self_rules_review(call: Call) -> Response:
    """What the user may do in a namespace, as far as the table of `authorization.py` can be written as rules."""
    review = _read(call)
    everything = "system:masters" in call.user.groups or "system:nodes" in call.user.groups
    rules: list[Object] = []
    paths: list[Object] = [
        {
            "verbs": ["get"],
            "nonResourceURLs": [
                "/livez",
                "/readyz",
                "/healthz",
                "/version",
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/openapi",
                "/openapi/*",
            ],
        }
    ]
    if everything:
        rules.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        paths.append({"verbs": ["*"], "nonResourceURLs": ["*"]})
    elif "system:serviceaccounts" in call.user.groups:
        rules.append({"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"]})
    review["status"] = {"resourceRules": rules, "nonResourceRules": paths, "incomplete": False}
    return json_response(review, 201)
