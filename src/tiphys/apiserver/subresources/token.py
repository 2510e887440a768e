"""serviceaccounts/token: a new token for a service account (TokenRequest)."""

from __future__ import annotations

from datetime import datetime, timedelta

from tiphys.api.resource import Object
from tiphys.api.types import schema_named
from tiphys.apiserver.admission.attributes import CREATE
from tiphys.apiserver.bodies import read_object
from tiphys.apiserver.call import Call
from tiphys.apiserver.registry.metadata import random_uid
from tiphys.apiserver.responses import statement
from tiphys.apiserver.service_accounts import Bound, Lifetime, make_claims
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupKind, GroupResource, GroupVersionKind
from tiphys.machinery.meta import format_time
from tiphys.net.http import Response

_REQUEST = GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest")
DEFAULT_SECONDS = 3600
SHORTEST_SECONDS = 600
LONGEST_SECONDS = 1 << 32
WARN_ONLY_SECONDS = 3607
EXTENDED_SECONDS = 365 * 24 * 3600
_PLURALS = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


async def create_token(call: Call) -> Response:
    request = read_object(call, _REQUEST, schema_named("authentication/v1.TokenRequest"))
    namespace, name = call.info.namespace, call.info.name
    account = call.server.writes.find(call.row, namespace, name).object
    spec = request.setdefault("spec", {})
    await call.server.writes.review(call, CREATE, request, kind=_REQUEST)
    seconds = spec.get("expirationSeconds") or DEFAULT_SECONDS
    _check_seconds(seconds)
    audiences = spec.get("audiences") or list(call.server.signer.audiences)
    longest = int(call.server.settings.service_account_max_token_seconds)
    if longest and seconds > longest:
        seconds = longest
    bound, node = _bound(call, namespace, name, spec.get("boundObjectRef"))
    now = call.server.clock.now()
    identifier = random_uid()
    claims = make_claims(
        call.server.signer,
        account,
        audiences,
        _lifetime(call, now, seconds, bound, audiences),
        bound=[each for each in (bound, node) if each is not None],
        identifier=identifier,
    )
    call.annotate("authentication.kubernetes.io/issued-credential-id", f"JTI={identifier}")
    spec["audiences"], spec["expirationSeconds"] = audiences, seconds
    expires = format_time(now + timedelta(seconds=seconds))
    request["metadata"] = {"name": name, "namespace": namespace, "creationTimestamp": format_time(now)}
    request["status"] = {"token": call.server.signer.sign(claims), "expirationTimestamp": expires}
    return statement(call, request, 201)


def _lifetime(call: Call, now: datetime, seconds: int, bound: Bound | None, audiences: list[str]) -> Lifetime:
    """A pod's token for this server lives on for a year, for clients that read their token only once; what is used
    after the time that was asked for shows in the audit log."""
    is_pods_own = seconds == WARN_ONLY_SECONDS and bound is not None and bound.kind == "Pod"
    is_for_us = set(audiences) <= set(call.server.signer.audiences)
    if not (call.server.settings.service_account_extend_tokens and is_pods_own and is_for_us):
        return Lifetime(now, seconds)
    return Lifetime(now, EXTENDED_SECONDS, seconds)


def _check_seconds(seconds: int) -> None:
    path = errors.Path("spec").child("expirationSeconds")
    if seconds < SHORTEST_SECONDS:
        found = errors.FieldError.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > LONGEST_SECONDS:
        found = errors.FieldError.invalid(
            path, seconds, "may not specify a duration larger than 2^32 seconds"
        )
    else:
        return
    raise errors.invalid(GroupKind("authentication.k8s.io", "TokenRequest"), "", [found])


def _bound(
    call: Call, namespace: str, account: str, reference: Object | None
) -> tuple[Bound | None, Bound | None]:
    """What the token is bound to, and the node of the pod that it is bound to."""
    if not reference:
        return None, None
    kind, name, uid = reference.get("kind", ""), reference.get("name", ""), reference.get("uid", "")
    plural = _PLURALS.get(kind)
    if plural is None:
        gvk = f"{reference.get('apiVersion', '')}, Kind={kind}"
        raise errors.bad_request(
            f"cannot bind token for serviceaccount {account!r} to object type {gvk}".replace("'", '"')
        )
    record = call.server.writes.cache("", plural).get("" if kind == "Node" else namespace, name)
    if record is None:
        raise errors.not_found(GroupResource("", plural), name)
    found = record.object["metadata"]["uid"]
    if uid and uid != found:
        cause = f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        raise errors.conflict(GroupResource("", plural), name, cause)
    if kind != "Pod":
        return Bound(kind, name, found), None
    pod = record.object
    if pod["spec"].get("serviceAccountName") != account:
        raise errors.bad_request(
            f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
        )
    return Bound(kind, name, found), _node(call, pod["spec"].get("nodeName"))


def _node(call: Call, name: str | None) -> Bound | None:
    if not name:
        return None
    record = call.server.writes.cache("", "nodes").get("", name)
    return Bound("Node", name, record.object["metadata"]["uid"]) if record else None
