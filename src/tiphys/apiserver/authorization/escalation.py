"""Nobody gives away what they do not have: who writes roles must hold their rules, who writes bindings the role's.

Those who may `escalate` roles or `bind` a role are exempt. As upstream, it is asked after admission has changed the object and
before it is checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable

from tiphys.api.resource import Object
from tiphys.apiserver.authorization.chain import MASTERS
from tiphys.apiserver.authorization.interface import Rule
from tiphys.apiserver.authorization.rbac import GROUP, joined
from tiphys.apiserver.authorization.rules import EVERYTHING, compact, describe, quoted, uncovered
from tiphys.apiserver.call import Call
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupResource

_FOR_COLLECTION = ("ownerReferences", "finalizers")


async def check_escalation(call: Call, new: Object, old: Object | None) -> None:
    """Raises 403 when the user would hand on more than they have, 404 when a binding names no role."""
    if MASTERS in call.user.groups or (old is not None and _only_for_collection(new, old)):
        return
    check = _CHECKS.get(call.row.plural)
    if check is not None and call.row.group == GROUP:
        await check(call, new, old)


def _only_for_collection(new: Object, old: Object) -> bool:
    """Whether only that has changed which the garbage collector changes."""

    def rest(obj: Object) -> Object:
        metadata = {name: value for name, value in obj["metadata"].items() if name not in _FOR_COLLECTION}
        metadata.pop("managedFields", None)
        metadata.pop("resourceVersion", None)
        return {**obj, "metadata": metadata}

    return rest(new) == rest(old)


async def _role(call: Call, new: Object, old: Object | None) -> None:
    metadata = new["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    if await _may(call, "escalate", call.row.plural, namespace, name):
        return
    rules = new.get("rules") or []
    if old is not None and old.get("rules") == new.get("rules") and _aggregation(new) == _aggregation(old):
        return
    _confirm(call, name, namespace, rules)
    if _aggregation(new) or (old is not None and _aggregation(old)):
        missing = uncovered(call.server.rbac.rules(call.user, "").rules, EVERYTHING)
        if missing:
            raise _forbidden(call, name, "must have cluster-admin privileges to use the aggregationRule")


def _aggregation(role: Object) -> object:
    return role.get("aggregationRule")


async def _binding(call: Call, new: Object, old: Object | None) -> None:
    metadata, reference = new["metadata"], new["roleRef"]
    namespace = metadata.get("namespace", "")
    if old is not None and new.get("subjects") == old.get("subjects") and reference == old["roleRef"]:
        return
    plural = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
    if await _may(call, "bind", plural, namespace, reference.get("name", "")):
        return
    rules = call.server.rbac.role_rules(reference, namespace)
    if rules is None:
        kind = reference.get("kind", "").lower()
        raise errors.not_found(GroupResource(GROUP, kind), reference.get("name", ""))
    _confirm(call, metadata["name"], namespace, rules)


async def _may(call: Call, verb: str, plural: str, namespace: str, name: str) -> bool:
    info = RequestInfo("", verb, True, GROUP, "*", namespace, plural, "", name)
    decision = call.server.authorizer.authorize(call.user, info)
    if isawaitable(decision):
        decision = await decision
    return decision.allowed


def _confirm(call: Call, name: str, namespace: str, rules: Sequence[Rule]) -> None:
    held = call.server.rbac.rules(call.user, namespace)
    missing = uncovered(held.rules, rules)
    if not missing:
        return
    user = call.user
    listed = "\n".join(sorted({describe(rule) for rule in compact(missing)}))
    cause = (
        f"user {quoted((user.name,))} (groups=[{quoted(user.groups)}]) "
        f"is attempting to grant RBAC permissions not currently held:\n{listed}"
    )
    if held.error:
        cause += f"; resolution errors: {joined((held.error,))}"
    raise _forbidden(call, name, cause)


def _forbidden(call: Call, name: str, cause: str) -> errors.StatusError:
    return errors.forbidden(call.row.group_resource, name, cause)


_CHECKS: dict[str, Callable[[Call, Object, Object | None], Awaitable[None]]] = {
    "roles": _role,
    "clusterroles": _role,
    "rolebindings": _binding,
    "clusterrolebindings": _binding,
}
