"""May they? One small table until role-based access control takes its place.

Administrators may do everything; nodes and the control plane's own components what they need to run; service accounts may
read; everybody may see whether the server lives and what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tiphys.apiserver.call import Call, User
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupResource

READ = frozenset({"get", "list", "watch"})
OPEN_PATHS = ("/livez", "/readyz", "/healthz", "/version")
_DISCOVERY = ("/api", "/apis", "/openapi")
_SELF_REVIEWS = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"})


@dataclass(frozen=True, slots=True)
class Rule:
    """Members of the group may do what `allows` says yes to."""

    group: str
    allows: Callable[[User, RequestInfo], bool]


def _everything(user: User, info: RequestInfo) -> bool:
    del user, info
    return True


def _own_business(user: User, info: RequestInfo) -> bool:
    """What every authenticated user may do: look around, and ask about themselves."""
    del user
    if not info.is_resource:
        return info.verb in ("get", "head") and info.path.startswith((*OPEN_PATHS, *_DISCOVERY))
    return info.resource in _SELF_REVIEWS and info.verb == "create"


def _health(user: User, info: RequestInfo) -> bool:
    del user
    return not info.is_resource and info.verb in ("get", "head") and _below(info.path, OPEN_PATHS)


def _below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def _reading(user: User, info: RequestInfo) -> bool:
    """Service accounts read what is no secret of others."""
    if (
        not info.is_resource
        or info.verb not in READ
        or info.subresource in ("exec", "attach", "portforward", "proxy")
    ):
        return False
    return info.resource != "secrets" or info.namespace == _namespace_of(user)


def _namespace_of(user: User) -> str:
    parts = user.name.split(":")
    return parts[2] if len(parts) == 4 and parts[:2] == ["system", "serviceaccount"] else ""


RULES = (
    Rule("system:masters", _everything),
    Rule("system:nodes", _everything),
    Rule("system:authenticated", _own_business),
    Rule("system:authenticated", _health),
    Rule("system:unauthenticated", _health),
    Rule("system:serviceaccounts", _reading),
)


def allowed(user: User, info: RequestInfo) -> bool:
    return any(rule.group in user.groups and rule.allows(user, info) for rule in RULES)


def authorize_create(call: Call) -> None:
    """Raises 403 unless the caller of an update may make the object that is missing, too."""
    info = replace(call.info, verb="create")
    if not allowed(call.user, info):
        raise _refused(call.user, info)


def authorize(call: Call) -> None:
    """Raises 403 in upstream's words, or 401 for somebody who showed no credentials at all."""
    if not allowed(call.user, call.info):
        raise _refused(call.user, call.info)


def _refused(user: User, info: RequestInfo) -> errors.StatusError:
    if not info.is_resource:
        return errors.forbidden_path(user.name, info.verb, info.path)
    resource = GroupResource(info.group, info.resource)
    return errors.forbidden_resource(
        user.name, info.verb, resource, subresource=info.subresource, namespace=info.namespace, name=info.name
    )
