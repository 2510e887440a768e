"""`authorizer`: expressions ask whether somebody may do something (apiserver `pkg/cel/library/authz.go`).

    authorizer.group("apps").resource("deployments").namespace("shop").check("create").allowed()
    authorizer.serviceAccount("shop", "robot").path("/healthz").check("get").reason()

Pure declarations. Who answers is the caller's affair: an `Authorizer` holds a function from a Question to an Answer. What that
function raises ends the evaluation, so a caller who must ask elsewhere may raise something of their own, and evaluate again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tiphys.machinery import names
from tiphys.machinery.cel.charges import AUTHORIZATION_CHECK, SELECTOR, fixed
from tiphys.machinery.cel.declarations import function
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.types import opaque
from tiphys.machinery.frozen import frozen


@frozen
class Question:
    """`account` is (namespace, name) of a service account; None: who sent the request. `path` is set for paths only.

    Selectors stand as they were written; one that cannot be parsed narrows nothing.
    """

    account: tuple[str, str] | None
    verb: str = ""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


@frozen
class Answer:
    """A decision. `error` is "" unless the question could not be decided."""

    allowed: bool
    reason: str = ""
    error: str = ""


Ask = Callable[[Question], Answer]


@frozen
class Authorizer:
    ask: Ask
    account: tuple[str, str] | None = None


@frozen
class _Check:
    ask: Ask
    question: Question


class PathCheck(_Check):
    __slots__ = ()


class GroupCheck(_Check):
    __slots__ = ()


class ResourceCheck(_Check):
    __slots__ = ()


def _path(authorizer: Authorizer, path: str) -> PathCheck:
    if not path.strip():
        raise CelRuntimeError("path must not be empty")
    return PathCheck(authorizer.ask, Question(authorizer.account, path=path))


def _group(authorizer: Authorizer, group: str) -> GroupCheck:
    return GroupCheck(authorizer.ask, Question(authorizer.account, group=group))


def _service_account(authorizer: Authorizer, namespace: str, name: str) -> Authorizer:
    if names.dns1123_subdomain(name):
        raise CelRuntimeError("Invalid service account name")
    if names.dns1123_label(namespace):
        raise CelRuntimeError("Invalid service account namespace")
    return Authorizer(authorizer.ask, (namespace, name))


def _resource(check: GroupCheck, resource: str) -> ResourceCheck:
    if not resource.strip():
        raise CelRuntimeError("resource must not be empty")
    return ResourceCheck(check.ask, replace(check.question, resource=resource))


def _narrowed(field: str) -> Callable[[ResourceCheck, str], ResourceCheck]:
    def narrow(check: ResourceCheck, value: str) -> ResourceCheck:
        changes: dict[str, Any] = {field: value}
        return ResourceCheck(check.ask, replace(check.question, **changes))

    return narrow


def _decide(check: _Check, verb: str) -> Answer:
    return check.ask(replace(check.question, verb=verb))


AUTHORIZER_TYPE = opaque("kubernetes.authorization.Authorizer", Authorizer)
PATH_CHECK_TYPE = opaque("kubernetes.authorization.PathCheck", PathCheck)
GROUP_CHECK_TYPE = opaque("kubernetes.authorization.GroupCheck", GroupCheck)
RESOURCE_CHECK_TYPE = opaque("kubernetes.authorization.ResourceCheck", ResourceCheck)
DECISION_TYPE = opaque("kubernetes.authorization.Decision", Answer)
_TYPES = {
    "Authorizer": AUTHORIZER_TYPE,
    "PathCheck": PATH_CHECK_TYPE,
    "GroupCheck": GROUP_CHECK_TYPE,
    "ResourceCheck": RESOURCE_CHECK_TYPE,
    "Decision": DECISION_TYPE,
}

AUTHORIZER = Library(
    "kubernetes.authz",
    tuple(
        function(signature, implementation, charge, known=_TYPES)
        for signature, implementation, charge in (
            ("Authorizer.path(string) -> PathCheck", _path, fixed(1)),
            ("Authorizer.group(string) -> GroupCheck", _group, fixed(1)),
            ("Authorizer.serviceAccount(string, string) -> Authorizer", _service_account, fixed(1)),
            ("GroupCheck.resource(string) -> ResourceCheck", _resource, fixed(1)),
            ("ResourceCheck.subresource(string) -> ResourceCheck", _narrowed("subresource"), fixed(1)),
            ("ResourceCheck.namespace(string) -> ResourceCheck", _narrowed("namespace"), fixed(1)),
            ("ResourceCheck.name(string) -> ResourceCheck", _narrowed("name"), fixed(1)),
            ("ResourceCheck.fieldSelector(string) -> ResourceCheck", _narrowed("field_selector"), SELECTOR),
            ("ResourceCheck.labelSelector(string) -> ResourceCheck", _narrowed("label_selector"), SELECTOR),
            ("PathCheck.check(string) -> Decision", _decide, AUTHORIZATION_CHECK),
            ("ResourceCheck.check(string) -> Decision", _decide, AUTHORIZATION_CHECK),
            ("Decision.allowed() -> bool", lambda answer: answer.allowed, fixed(1)),
            ("Decision.reason() -> string", lambda answer: answer.reason, fixed(1)),
            ("Decision.errored() -> bool", lambda answer: bool(answer.error), fixed(1)),
            ("Decision.error() -> string", lambda answer: answer.error, fixed(1)),
        )
    ),
    {str(each): each for each in _TYPES.values()},
)
